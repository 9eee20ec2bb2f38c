//! Who stands in the line.

use std::fs;
use std::path::Path;

use crate::support::{state_of, wait_until, Kind, Puppet};

/// The tickets in line, in its order.
pub fn line(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = match fs::read_dir(folder.join(".lockfolder/queue")) {
        Ok(entries) => entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect(),
        Err(_) => Vec::new(), // there is none (any more)
    };
    names.sort();
    names
}

/// Joins the line, and returns when it sleeps there: so it has left its name in the tail, too.
pub fn joined(mut waiter: Puppet, folder: &Path) -> Puppet {
    let before = line(folder).len();
    waiter.tell("wait 0 -1");
    wait_until(|| line(folder).len() == before + 1);
    wait_until(|| state_of(waiter.pid()) == Some('S'));
    waiter
}

/// A holder that came when there was no line, and some in line behind it.
pub fn holder_and_waiters(kind: Kind, folder: &Path, count: usize) -> (Puppet, Vec<Puppet>) {
    let mut holder = Puppet::at(kind, folder);
    holder.must("lock 0");
    let waiters = (0..count).map(|_| joined(Puppet::at(kind, folder), folder)).collect();
    (holder, waiters)
}
