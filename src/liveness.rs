//! Who is alive. A rival's bid may be deleted only when its owner is provably gone; everything else counts as live.
//!
//! | the bid | decides |
//! | --- | --- |
//! | our boot, our PID namespace | the process with its PID and start time |
//! | our boot, another PID namespace | the lock that the kernel keeps on the bid while its owner lives |
//! | another boot | that lock too; without one, and on a local filesystem, the boot is over |
//! | a Python peer's: PID and CREATED alone | the process with its PID and start time, to 2 s |

use crate::bid::Bid;
use crate::sys::{self, Exit, Filesystem, Identity, ProcessState, Small, Source};

/// What is known of a bid's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    /// Provably gone.
    Stale,
    /// It can't be judged from here: another host or container. Counts as live.
    Unknown,
    /// It is cut off, or no bid at all, so it has no owner to judge. Counts as live.
    Malformed,
}

/// How to ask again whether an owner that was alive still is, in one system call.
pub(crate) enum Pulse {
    Process(Exit),
    Lock(Small),
    None,
}

impl Pulse {
    /// Whether the owner still lives. `None`: not known, the bid is to be judged anew.
    pub fn beats(&self) -> Option<bool> {
        match self {
            Pulse::Process(exit) => Some(!exit.happened()),
            Pulse::Lock(file) => file.is_locked().ok().filter(|locked| *locked),
            Pulse::None => None,
        }
    }

    /// What wakes a sleeper when the owner dies, where the kernel tells.
    pub fn source(&self) -> Option<Source<'_>> {
        match self {
            Pulse::Process(exit) => Some(exit.source()),
            Pulse::Lock(_) | Pulse::None => None,
        }
    }
}

/// Judges the owner of a bid. `file` is the bid, open.
pub(crate) fn judge(bid: &Bid, file: Small, me: &Identity, on: Filesystem) -> (Verdict, Pulse) {
    let this_boot = bid.boot.is_none() || bid.boot == me.boot;
    let this_namespace = bid.pidns.is_none() || bid.pidns == me.pidns;
    if this_boot && this_namespace {
        let (verdict, pulse) = judge_by_pid(bid, me, on);
        // One of ours that doesn't say its namespace is from where that can't be seen, so its PID may not count here.
        let is_sure = verdict != Verdict::Stale || bid.boot.is_none() || bid.pidns.is_some();
        if is_sure {
            return (verdict, pulse);
        }
    }
    match file.is_locked() {
        Ok(true) => (Verdict::Live, Pulse::Lock(file)),
        // Some containers are given a boot ID of their own (systemd-nspawn(1)), so even a bid of "another boot" is
        // only gone when its lock is.
        Ok(false) if on.is_local() || this_boot && on.locks_prove_death() => (Verdict::Stale, Pulse::None),
        _ => (Verdict::Unknown, Pulse::None),
    }
}

fn judge_by_pid(bid: &Bid, me: &Identity, on: Filesystem) -> (Verdict, Pulse) {
    // First the descriptor, then the look: so what we watch is what we saw.
    let exit = Exit::of(bid.pid);
    let state = sys::process(me, bid.pid, bid.start, bid.created);
    // Whoever had the PID has exited, even where more can't be seen of it.
    let state = if exit.as_ref().is_some_and(Exit::happened) { ProcessState::Gone } else { state };
    match state {
        ProcessState::Runs | ProcessState::Exists => (Verdict::Live, exit.map_or(Pulse::None, Pulse::Process)),
        // A bid that doesn't say where its PID counts may be from another host, if others can write here.
        ProcessState::Gone | ProcessState::Replaced if bid.boot.is_none() && !on.is_local() => {
            (Verdict::Unknown, Pulse::None)
        }
        ProcessState::Gone | ProcessState::Replaced => (Verdict::Stale, Pulse::None),
    }
}

/// Whether a bid that is cut off, last modified at `modified` (Unix milliseconds), has been there for too long: longer than the
/// caller's grace, or since before this boot, where nobody but this machine writes.
pub(crate) fn is_abandoned(modified: i64, grace_ms: u32, me: &Identity, on: Filesystem) -> bool {
    let now = (sys::unix_nanos() / 1_000_000) as i64;
    let over = grace_ms > 0 && now.saturating_sub(modified) >= i64::from(grace_ms);
    over || on.is_local() && me.booted().is_ok_and(|boot| modified < boot * 1000)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::Filesystem::{Coherent, Local, Trusted};
    use super::Verdict::{Live, Stale, Unknown};
    use super::*;
    use crate::scratch::{proven, Scratch};
    use crate::sys::{Dir, Opened};

    /// A bid, open. The second file is its owner's, who may lock it.
    fn file() -> (Small, std::fs::File) {
        let folder = Scratch::new();
        let owners = std::fs::File::create(folder.join("bid.json")).unwrap();
        let Opened::File(small) = Dir::open(&folder).unwrap().open_small(c"bid.json").unwrap() else { panic!() };
        (small, owners)
    }

    fn of_us(me: &Identity) -> Bid {
        let (created, start) = (Some(me.created), me.start);
        Bid { pid: me.pid, created, start, boot: me.boot.clone(), pidns: me.pidns, ..Bid::default() }
    }

    #[test]
    fn each_row_of_the_table_on_each_filesystem() {
        let me = Identity::current().unwrap();
        let alive = of_us(&me);
        let dead = Bid { pid: 1 << 22, ..alive.clone() }; // the largest PID that Linux can give is below
        let another_start = Bid { start: me.start.map(|start| start + 1), ..alive.clone() };
        let python = |bid: &Bid| Bid { start: None, boot: None, pidns: None, ..bid.clone() };
        let (no_boot, no_namespace) =
            (|bid: &Bid| Bid { boot: None, ..bid.clone() }, |bid: &Bid| Bid { pidns: None, ..bid.clone() });
        let elsewhere = |bid: &Bid| Bid { pidns: Some(7), ..bid.clone() };
        let before = |bid: &Bid| Bid { boot: Some("another".into()), ..bid.clone() };
        // The verdict on a local, a coherent and a trusted filesystem: unlocked, and locked.
        let rows = [
            ("alive", alive.clone(), [Live; 3], [Live; 3]),
            ("dead", dead.clone(), [Stale; 3], [Stale; 3]),
            ("its PID is another's now", another_start, [Stale; 3], [Stale; 3]),
            ("of Python, alive", python(&alive), [Live; 3], [Live; 3]),
            ("of Python, dead", python(&dead), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("says no boot, alive", no_boot(&alive), [Live; 3], [Live; 3]),
            ("says no boot, dead", no_boot(&dead), [Stale, Unknown, Unknown], [Stale, Unknown, Unknown]),
            ("says no namespace, alive", no_namespace(&alive), [Live; 3], [Live; 3]),
            ("says no namespace, dead", no_namespace(&dead), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, alive here", elsewhere(&alive), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, dead here", elsewhere(&dead), [Stale, Stale, Unknown], [Live; 3]),
            ("of another namespace, says no boot", no_boot(&elsewhere(&dead)), [Stale, Stale, Unknown], [Live; 3]),
            ("of another boot", before(&alive), [Stale, Unknown, Unknown], [Live; 3]),
            ("of another boot, says no namespace", before(&no_namespace(&dead)), [Stale, Unknown, Unknown], [Live; 3]),
            ("of another boot and namespace", before(&elsewhere(&dead)), [Stale, Unknown, Unknown], [Live; 3]),
        ];
        for (what, bid, unlocked, locked) in rows {
            for (is_locked, verdicts) in [(false, unlocked), (true, locked)] {
                for (on, expected) in [Local, Coherent, Trusted].into_iter().zip(verdicts) {
                    let (small, owners) = file();
                    let _owner = if is_locked { proven(owners) } else { owners };
                    let (verdict, pulse) = judge(&bid, small, &me, on);
                    assert_eq!(verdict, expected, "{what}, {on:?}, locked: {is_locked}");
                    assert_eq!(pulse.beats(), (verdict == Live).then_some(true), "{what}");
                }
            }
        }
    }

    /// The pulse of a process is felt until it has exited, and its end wakes a sleeper.
    #[test]
    fn the_pulse_of_a_process() {
        let me = Identity::current().unwrap();
        let cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn();
        let mut cat = cat.unwrap();
        let bid = Bid { pid: cat.id(), ..Bid::default() };
        let (_, pulse) = judge(&bid, file().0, &me, Local);
        let is_ready = || {
            let source = pulse.source().expect("the kernel tells");
            let mut sources = [rustix::event::PollFd::new(&source, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut sources, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        };
        let alive = (pulse.beats(), is_ready());
        cat.kill().unwrap();
        cat.wait().unwrap();
        assert_eq!(alive, (Some(true), false));
        assert_eq!((pulse.beats(), is_ready()), (Some(false), true));
    }

    /// The pulse of a lock is felt while it is held. Then the bid is to be judged anew; no sleeper is woken.
    #[test]
    fn the_pulse_of_a_lock() {
        let me = Identity::current().unwrap();
        let (small, owners) = file();
        let owners = proven(owners);
        let (_, pulse) = judge(&Bid { pidns: Some(7), ..of_us(&me) }, small, &me, Local);
        assert_eq!(pulse.beats(), Some(true));
        assert!(pulse.source().is_none());
        drop(owners);
        assert_eq!(pulse.beats(), None);
    }

    #[test]
    fn a_cut_off_bid_is_abandoned_after_its_grace_or_when_it_is_older_than_this_boot() {
        let me = Identity::current().unwrap();
        let now = (sys::unix_nanos() / 1_000_000) as i64;
        let boot = me.booted().unwrap() * 1000;
        for on in [Local, Coherent, Trusted] {
            let abandoned = |modified, grace_ms| is_abandoned(modified, grace_ms, &me, on);
            assert!(!abandoned(now, 0) && !abandoned(now - 10, 0), "no grace was given: never");
            assert!(abandoned(now - 1000, 1000) && abandoned(now - 1000, 1) && abandoned(i64::MIN, u32::MAX));
            assert!(!abandoned(now, 3_600_000) && !abandoned(now + 86_400_000, 1) && !abandoned(i64::MAX, 1));
            assert!(!abandoned(boot, 0), "of this boot");
            assert_eq!(abandoned(boot - 1, 0), on == Local, "elsewhere another machine may have written it");
        }
    }
}
