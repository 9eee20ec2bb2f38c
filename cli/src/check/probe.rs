//! Two mounts of one folder: does each see at once what the other one has changed?
//!
//! The lock needs that: a claimant links its bid, and then lists the folder. If of two claimants neither sees the bid of the other one,
//! both hold. So this tries the same: a link by one mount, and a listing by the other one, right after it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Report;

const ROUNDS: usize = 200;
/// Two paths that do not show each other's files for so long lead to two folders.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Seen {
    /// The number of rounds, and in how many of them the listing lacked the new name, or still had the old one.
    rounds: usize,
    missed: usize,
    lingering: usize,
}

pub(super) fn probe(one: &Path, other: &Path) -> io::Result<Seen> {
    let name = format!(".lockfolder-check-{}", std::process::id());
    let path = one.join(&name);
    File::create_new(&path)?;
    let _file = Temporary(path); // only now, because a file that was there before is not ours
    let began = Instant::now();
    while !lists(other, &name)? {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("they lead to two folders"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let mut seen = Seen { rounds: ROUNDS, missed: 0, lingering: 0 };
    for round in 0..ROUNDS {
        // In turn the one and the other mount is the one that changes.
        let (here, there) = if round % 2 == 0 { (one, other) } else { (other, one) };
        let new = format!("{name}-{round}");
        let path = here.join(&new);
        let _ = lists(there, &new)?; // fills its caches
        fs::hard_link(here.join(&name), &path)?;
        let link = Temporary(path);
        seen.missed += usize::from(!lists(there, &new)?);
        drop(link);
        seen.lingering += usize::from(lists(there, &new)?);
    }
    Ok(seen)
}

/// Whether a listing of the folder, opened anew, has the name.
fn lists(folder: &Path, name: &str) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file that is deleted in the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Seen {
    pub fn report(&self, report: &mut Report) {
        let rounds = self.rounds;
        match (self.missed, self.lingering) {
            (0, 0) => report.fact(
                "two mounts",
                format_args!(
                    "in {rounds} of {rounds} rounds each saw at once what the other one had linked. That is no proof: it shows no fault"
                ),
            ),
            (0, lingering) => report.hint(format_args!(
                "in {lingering} of {rounds} rounds a deleted name was still there for the other mount: locks are passed on late"
            )),
            (missed, _) => report.problem(format_args!(
                "in {missed} of {rounds} rounds one mount did not see what the other one had linked: two can hold the lock at once. \
                 Use one mount for all, or switch off its caches"
            )),
        }
    }
}
