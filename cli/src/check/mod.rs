//! `lockfolder check`: what a folder is good for, and why, in plain words.

mod mounts;
mod permissions;
mod probe;

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use lockfolder::{BidState, Reach};

use crate::errors::{explain, say, TROUBLE};
use crate::listing::{people, Listing};
use crate::looking::Looked;
use crate::text::escape;

/// What was found. Each finding is a line.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    /// Something keeps the folder from being used.
    is_bad: bool,
}

impl Report {
    fn fact(&mut self, what: &str, text: impl Display) {
        self.lines.push(format!("{what:<12}{text}"));
    }

    /// Something to do about.
    fn problem(&mut self, text: impl Display) {
        self.fact("problem", text);
        self.is_bad = true;
    }

    fn hint(&mut self, text: impl Display) {
        self.fact("note", text);
    }
}

/// Returns the exit status.
pub fn check(path: &Path, other: Option<&Path>) -> i32 {
    let listing = match Looked::open(path).and_then(|looked| Listing::of(&looked)) {
        Ok(listing) => listing,
        Err(error) => {
            say(explain(&error));
            return TROUBLE;
        }
    };
    let mut report = Report::default();
    report.fact("folder", escape(&listing.path.to_string_lossy()));
    // A lock on an engine has no mount, no other files and no permissions of a folder. That it was listed shows that it can be reached.
    let is_folder = !names_engine(&listing.path);
    if let Some(mount) = mounts::of(&listing.path).filter(|_| is_folder) {
        report.fact("filesystem", mount);
    }
    promises(&listing, &mut report);
    claimants(&listing, &mut report);
    if is_folder {
        other_files(&listing, &mut report);
        permissions::check(&listing.path, &mut report);
    }
    if let Some(other) = other {
        match probe::probe(&listing.path, other) {
            Ok(seen) => seen.report(&mut report),
            Err(error) => report.problem(format_args!("the two paths could not be tried: {error}")),
        }
    }
    let verdict = if report.is_bad { "not good as it is: see the problems above" } else { "good" };
    report.fact("verdict", verdict);
    let text = report.lines.join("\n") + "\n";
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => report.is_bad.into(),
        Err(error) => {
            say(error);
            TROUBLE
        }
    }
}

/// As the library tells it: docs/etcd.md.
fn names_engine(path: &Path) -> bool {
    ["etcd://", "etcds://"].iter().any(|scheme| path.as_os_str().as_encoded_bytes().starts_with(scheme.as_bytes()))
}

fn promises(listing: &Listing, report: &mut Report) {
    if let Some(refusal) = &listing.refusal {
        return report.problem(escape(refusal));
    }
    report.fact(
        "promise",
        match listing.reach {
            Reach::Host => {
                "one at a time of all processes of this host, in all its containers. A holder that dies frees the lock at once"
            }
            Reach::Overlay => {
                "one at a time of all processes that use the folder through this overlay. A process that uses the folder below the \
                 overlay is not kept apart from them"
            }
            Reach::Hosts if names_engine(&listing.path) => {
                "one at a time of all processes that reach this etcd, beside its own locks. A holder has a lease: if it dies, the \
                 others wait for the lease to end, and a holder that can't reach etcd loses the lock"
            }
            Reach::Hosts => {
                "one at a time of all processes of all hosts that mount it. A holder has a lease: if its host dies, the others wait for \
                 the lease to end, and a holder that can't reach the server loses the lock"
            }
            _ => "only what you vouch for",
        },
    );
    let shared = listing.path.join(".lockfolder/shared");
    if listing.reach != Reach::Hosts && shared.symlink_metadata().is_ok_and(|mark| mark.is_file()) {
        report.hint("other hosts use this folder too (.lockfolder/shared is there), so a holder has a lease here too");
    }
}

fn claimants(listing: &Listing, report: &mut Report) {
    let count = |state| listing.bids.iter().filter(|bid| bid.state == state).count();
    let state = if listing.is_in_use() { "in use" } else { "free" };
    match listing.waiters.len() {
        0 => report.fact("lock", state),
        waiting => report.fact("lock", format_args!("{state}, {} in line", people(waiting))),
    }
    match count(BidState::Stale) {
        0 => {}
        stale => report
            .hint(format_args!("{stale} stale: the owners are gone. The next lock deletes them, or `lockfolder reap`")),
    }
    match count(BidState::Unknown) {
        0 => {}
        unknown => report.hint(format_args!(
            "{unknown} can't be judged from here (another host or container, or we may not read them), so they count as live"
        )),
    }
    for bid in listing.bids.iter().filter(|bid| bid.state == BidState::Malformed) {
        report.problem(format_args!(
            "{} is in the way: it has the name of a bid, but it is cut off or is no bid. It counts as live. If nobody is writing it, \
             move it away or delete it",
            escape(&bid.name.to_string_lossy())
        ));
    }
}

fn other_files(listing: &Listing, report: &mut Report) {
    let is_ours = |name: &str| name.starts_with(".lockfolder") || listing.bids.iter().any(|bid| bid.name == name);
    let names = fs::read_dir(&listing.path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    let others: Vec<String> =
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| !is_ours(name)).collect();
    if let Some(first) = others.first() {
        report.hint(format_args!(
            "{} of somebody else, such as {}. They are left alone, and each lock has to read past them",
            if others.len() == 1 { "1 file".to_owned() } else { format!("{} files", others.len()) },
            escape(first)
        ));
    }
}
