//! The claimants in the line.

use std::fs;
use std::path::Path;

use crate::support::{state_of, wait_until, Kind, Puppet};

/// The tickets in line, in their order.
pub fn line(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = match fs::read_dir(folder.join(".lockfolder/queue")) {
        Ok(entries) => entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect(),
        Err(_) => Vec::new(), // there is no line, or no longer
    };
    names.sort();
    names
}

/// Makes a puppet join the line, and returns when the puppet sleeps there. By then it has also left its ticket in the
/// tail.
pub fn joined(mut waiter: Puppet, folder: &Path) -> Puppet {
    let before = line(folder).len();
    waiter.tell("wait 0 -1");
    wait_until(|| line(folder).len() == before + 1);
    wait_until(|| state_of(waiter.pid()) == Some('S'));
    waiter
}

/// A holder that came when there was no line, and waiters in line behind it.
pub fn holder_and_waiters(kind: Kind, folder: &Path, count: usize) -> (Puppet, Vec<Puppet>) {
    let mut holder = Puppet::at(kind, folder);
    holder.must("lock 0");
    let waiters = (0..count).map(|_| joined(Puppet::at(kind, folder), folder)).collect();
    (holder, waiters)
}
