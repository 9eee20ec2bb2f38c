//! Whether the sender of a signal is done with sending.
//!
//! timeout(1) sends its signal to its child, and then to its whole process group. A service manager sends one to each process of a unit.
//! Between the two there is a moment in which only we have the signal. So we wait until the sender sleeps, has ended, or has used the
//! processor for much longer than two calls of kill(2) take.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a sender may use of the processor before it is taken to be done.
const MUCH: u64 = 20_000_000; // ns
/// After this time for all of them the signals are judged anyway. A sender may hang in the kernel, and a lock that is lost meanwhile can't wait.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Waits until these processes are done with sending. 0 is the kernel, which is.
pub(super) fn settle(senders: &[i32]) {
    let began = Instant::now();
    for sender in senders.iter().filter(|sender| **sender > 0) {
        let used = time_used(*sender);
        let mut pause = Duration::from_micros(100);
        while is_busy(*sender) && began.elapsed() < LIMIT {
            let more = time_used(*sender).zip(used).map(|(now, before)| now.saturating_sub(before));
            if more.is_some_and(|more| more > MUCH) {
                break;
            }
            crate::sleep::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

/// Whether a thread of the process runs, or would run if it got a processor. Where the system does not tell, it is taken to be done.
fn is_busy(pid: i32) -> bool {
    threads(pid).any(|thread| {
        let stat = fs::read(thread.join("stat")).unwrap_or_default();
        // The name of the program stands in parentheses, and may contain some itself.
        let state = stat.iter().rposition(|byte| *byte == b')').and_then(|end| stat.get(end + 2));
        matches!(state, Some(b'R' | b'D'))
    })
}

/// The time for which the process had a processor, in nanoseconds.
fn time_used(pid: i32) -> Option<u64> {
    let of_thread = |thread: PathBuf| {
        let text = fs::read_to_string(thread.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads(pid).map(of_thread).sum()
}

fn threads(pid: i32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}
