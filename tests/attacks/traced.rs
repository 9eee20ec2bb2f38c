//! A test looks at every path that the library names to the system. The folder has a trap in each place where the library can
//! read a name. No call names anything outside. strace(1) records the calls, so the record comes from the kernel.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{both, listing, skip, wait_until, Bid, Kind, Puppet, Scratch};
use rustix::fs::{mknodat, FileType, Mode, CWD};

both!(
    no_call_names_what_is_outside_of_a_hostile_folder,
    a_token_is_durable_where_the_folder_is_and_not_where_a_link_to_it_is,
);

/// The targets of swaps and of links: one of each kind of thing, all outside.
struct Outside(PathBuf);

impl Outside {
    fn beside(scratch: &Scratch) -> Outside {
        let path = scratch.join("outside");
        fs::create_dir_all(path.join("folder")).unwrap();
        Bid::of(std::process::id()).with("START", 1).write(&path.join("file"));
        mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        Outside(path)
    }

    fn is_as_it_was(&self) {
        assert_eq!(listing(&self.0), ["fifo", "file", "folder"]);
        assert_eq!(listing(&self.0.join("folder")).len(), 0);
    }

    /// Links to each of these, under names that begin with `name` and end with `suffix`.
    fn trap(&self, folder: &Path, names: &[&str]) {
        for (name, target) in names.iter().zip(["file", "fifo", "folder", "nothing"].iter().cycle()) {
            symlink(self.0.join(target), folder.join(name)).unwrap();
        }
    }
}

const TICKETS: [&str; 6] = [
    "000000000000000100000000000000a1",
    "000000000000000200000000000000a2",
    "000000000000000300000000000000a3",
    "000000000000000400000000000000ff",
    "ffffffffffffffff00000000000000a4",
    "0000000000000001+0000000000000a1",
];

/// A claimant that is no trap stands in line.
fn is_waited_for(queue: &Path) -> bool {
    fs::read_dir(queue).is_ok_and(|mut tickets| {
        tickets.any(|ticket| ticket.is_ok_and(|ticket| !TICKETS.iter().any(|trap| ticket.file_name() == *trap)))
    })
}

/// Sets traps under every name that the library reads from a file or a folder, except the sub-folder and the queue themselves.
fn set_traps(folder: &Path, outside: &Outside) {
    let hidden = folder.join(".lockfolder");
    let queue = hidden.join("queue");
    fs::create_dir_all(&queue).unwrap();
    // Hidden new sub-folders, claims, beacons, tokens, tickets; and the same with names that are nearly right.
    outside.trap(folder, &[".lockfolder-0123456789abcdef", ".lockfolder-0123456789abcde0", ".lockfolder-x"]);
    outside.trap(
        &hidden,
        &[
            "00000000000000a1.json",
            "00000000000000a2.json",
            "00000000000000a3.json",
            "00000000000000a4.json",
            "00000000000000b1.beacon-1",
            "00000000000000b2.beacon-1",
            "00000000000000b1.beacon-2",
            "fence-3",
            "fence-4",
            "fence-005",
            "fence-+6",
            "queue-0123456789abcdef",
            "tail",
        ],
    );
    outside.trap(&queue, &TICKETS);
}

/// The paths in a line of strace: each name, and the open folder that it is relative to.
fn named(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(">, \"") {
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        let folder = before.rfind('<').map_or("", |open| &before[open + 1..]);
        let name = after.split('"').next().unwrap();
        found.push((folder.to_owned(), name.to_owned()));
        rest = &after[name.len()..];
    }
    found
}

/// True if a call may name this path: a name in the lock folder or below, the lock folder itself, or a file of `/proc`.
fn is_inside(folder: &Path, (dir, name): &(String, String)) -> bool {
    let is_leaf = !name.contains('/') && name != "..";
    let dir_is_ours = Path::new(dir.trim_end_matches(" (deleted)")).starts_with(folder);
    let path = Path::new(name);
    if path.is_absolute() {
        // The root tells whether this process has another root now (chroot).
        return path == folder || path == Path::new("/") || Some(path) == folder.parent() || path.starts_with("/proc");
    }
    // What a token needs is made durable in the folder above, too.
    let is_above = name == ".." && Path::new(dir) == folder;
    is_leaf && dir_is_ours || is_above || dir.starts_with("/proc")
}

fn no_call_names_what_is_outside_of_a_hostile_folder(kind: Kind) {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace: not to be had");
    }
    let scratch = Scratch::shm();
    let (folder, trace) = (scratch.folder(), scratch.join("trace"));
    fs::create_dir(&folder).unwrap();
    let outside = Outside::beside(&scratch);
    set_traps(&folder, &outside);
    let strace = ["strace", "-f", "-y", "-qq", "-e", "trace=%file", "-o", trace.to_str().unwrap()];
    let mut puppet = Puppet::behind(&strace, kind);
    let mut holder = Puppet::at(kind, &folder);
    // From here on, the library makes every call.
    let before = fs::read_to_string(&trace).unwrap().lines().count();
    puppet.open(0, &folder);
    for round in 0..3 {
        puppet.must("lock 0");
        puppet.must("fence 0");
        puppet.must("holds 0");
        puppet.must("unlock 0");
        holder.must("lock 0");
        puppet.tell("wait 0 -1");
        wait_until(|| is_waited_for(&folder.join(".lockfolder/queue")));
        holder.must("unlock 0");
        assert_eq!(puppet.hear(), "LF_OK");
        puppet.must("unlock 0");
        puppet.must("in_use 0");
        puppet.must("bids 0");
        puppet.must("reap 0");
        if round == 0 {
            // The same once more where the sub-folder must be made, and links are in the place of it and of the queue.
            fs::remove_dir_all(folder.join(".lockfolder")).unwrap();
            symlink(outside.0.join("folder"), folder.join(".lockfolder")).unwrap();
            for command in ["lock 0", "wait 0 50"] {
                assert_ne!(puppet.ask(command), "LF_OK");
            }
            puppet.must("reap 0");
            fs::remove_file(folder.join(".lockfolder")).unwrap();
            fs::create_dir(folder.join(".lockfolder")).unwrap();
            symlink(outside.0.join("folder"), folder.join(".lockfolder/queue")).unwrap();
            puppet.must("wait 0 -1");
            puppet.must("unlock 0");
            fs::remove_file(folder.join(".lockfolder/queue")).unwrap();
        }
    }
    puppet.must("close 0");
    drop(puppet);
    let calls = fs::read_to_string(&trace).unwrap();
    let calls: Vec<_> = calls.lines().skip(before).collect();
    let all: Vec<_> = calls.iter().flat_map(|line| named(line).into_iter().map(move |named| (*line, named))).collect();
    let inside = all.iter().filter(|(_, named)| named.0.starts_with(folder.to_str().unwrap())).count();
    assert!(inside > 100, "too few recorded calls: {inside}");
    let bad: Vec<_> = all.iter().filter(|(_, named)| !is_inside(&folder, named)).map(|(line, _)| line).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    outside.is_as_it_was();
}

/// A path that ends in a link: the part before its last name is not the place of the folder.
fn a_token_is_durable_where_the_folder_is_and_not_where_a_link_to_it_is(kind: Kind) {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace: not to be had");
    }
    let scratch = Scratch::shm();
    let (real, links, trace) = (scratch.join("real"), scratch.join("links"), scratch.join("trace"));
    fs::create_dir_all(real.join("lock")).unwrap();
    fs::create_dir(&links).unwrap();
    symlink(real.join("lock"), links.join("lock")).unwrap();
    let strace = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync", "-o", trace.to_str().unwrap()];
    let mut puppet = Puppet::behind(&strace, kind);
    puppet.open(0, &links.join("lock"));
    puppet.must("lock 0");
    puppet.must("fence 0");
    puppet.must("close 0");
    drop(puppet);
    let calls = fs::read_to_string(&trace).unwrap();
    let synced = |folder: &Path| calls.contains(&format!("<{}>", folder.display()));
    assert!(synced(&real.join("lock")) && synced(&real) && !synced(&links), "{calls}");
}
