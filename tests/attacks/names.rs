//! Other users write where a name is expected: in the tail of the line, and as names of tickets, claims and beacons. None of that is
//! used as a path. A file whose name is not exactly in the form of our names is not ours to delete. Root waits in folders that another
//! user may write to.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{both, listing, root_or_skip, set_mode, wait_until, Bid, Kind, Puppet, Scratch, NOBODY};

both!(
    a_path_in_the_tail_leads_root_nowhere,
    what_is_not_named_as_a_ticket_is_stays_in_the_queue,
    what_is_no_file_is_no_ticket_whatever_its_name,
    what_is_not_named_as_ours_is_stays_in_the_hidden_folder,
);

/// Each has the length of a ticket's name, and is relative to the queue.
const PATHS: [&str; 4] = [
    "../../../secret/0123456789abcdef",
    "../../../secret/+123456789abcdef",
    "../../../secret/0123456789ABCDEF",
    "../../../secret/file-with-a-name",
];

/// A process of another user that makes the tail, writes to it, and keeps it open. It lives until it is dropped.
struct Liar(Child);

impl Liar {
    fn start(hidden: &Path, hint: &str) -> Liar {
        let user = NOBODY.to_string();
        let script = "mkfifo tail && exec 3<>tail && printf %s \"$1\" >&3 && echo ready && read -r _";
        let mut child = Command::new("setpriv")
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh", "-c", script, "sh", hint])
            .current_dir(hidden)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).expect("the user may write there");
        Liar(child)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.0.stdin.take().unwrap().write_all(b"\n");
        let _ = self.0.wait();
    }
}

fn in_line(folder: &Path) -> usize {
    fs::read_dir(folder.join(".lockfolder/queue")).map_or(0, Iterator::count)
}

fn a_path_in_the_tail_leads_root_nowhere(kind: Kind) {
    if !root_or_skip("root in a folder that others may write to") {
        return;
    }
    for mode in [0o777, 0o1777, 0o2770, 0o3777] {
        let scratch = Scratch::shm();
        let secret = scratch.join("secret");
        fs::create_dir(&secret).unwrap();
        set_mode(&secret, 0o700);
        let folder = scratch.folder_with_mode(mode);
        chown(&folder, Some(0), Some(NOBODY)).unwrap();
        set_mode(&folder, mode); // after the change of the group, which clears bits of the mode
        let mut puppets: Vec<_> = (0..3).map(|_| Puppet::at(kind, &folder)).collect();
        for path in PATHS {
            let precious = secret.join(path.rsplit_once('/').unwrap().1);
            fs::write(&precious, "precious").unwrap();
            puppets[0].must("lock 0");
            puppets[1].tell("wait 0 -1");
            wait_until(|| in_line(&folder) == 1);
            let liar = Liar::start(&folder.join(".lockfolder"), path);
            puppets[2].tell("wait 0 -1");
            wait_until(|| in_line(&folder) == 2);
            puppets[0].must("unlock 0");
            for waiter in &mut puppets[1..] {
                assert_eq!(waiter.hear(), "LF_OK");
                waiter.must("unlock 0");
            }
            drop(liar);
            assert!(precious.exists(), "{path} led root outside, in a folder of mode {mode:o}");
        }
    }
}

fn forge(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let dead = Bid::of(std::process::id()).with("START", 1);
    let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    paths.iter().for_each(|path| dead.write(path));
    paths
}

/// These names sort before every ticket, or after all. No claimant takes one for a ticket, waits for one, or deletes one.
fn what_is_not_named_as_a_ticket_is_stays_in_the_queue(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, queue) = (scratch.folder(), scratch.folder().join(".lockfolder/queue"));
    let mut puppets: Vec<_> = (0..3).map(|_| Puppet::at(kind, &folder)).collect();
    puppets[0].must("lock 0");
    fs::create_dir(&queue).unwrap();
    let others = forge(
        &queue,
        &[
            "0000000000000001+000000000000001",
            "+0000000000000010000000000000001",
            "00000000000000010000000000000AAA",
            "0000000000000001000000000000000g",
            "000000000000000100000000000000001",
            "0000000000000001000000000000001",
            "fffffffffffffffFfffffffffffffff0",
        ],
    );
    let dead = queue.join("00000000000000010000000000000001");
    fs::write(&dead, "").unwrap();
    for waiter in &mut puppets[1..] {
        waiter.tell("wait 0 -1");
    }
    // The first claimant deletes the dead one's ticket, so both claimants have looked.
    wait_until(|| !dead.exists() && in_line(&folder) == others.len() + 2);
    assert!(others.iter().all(|other| other.exists()), "{:?}", listing(&queue));
    puppets[0].must("unlock 0");
    let mut waiting: Vec<_> = puppets[1..].iter_mut().collect();
    while !waiting.is_empty() {
        wait_until(|| waiting.iter().any(|waiter| waiter.has_answered()));
        let next = waiting.iter().position(|waiter| waiter.has_answered()).unwrap();
        let waiter = waiting.remove(next);
        assert_eq!(waiter.hear(), "LF_OK");
        waiter.must("unlock 0");
    }
    puppets[0].must("reap 0");
    assert!(others.iter().all(|other| other.exists()), "{:?}", listing(&queue));
}

/// A folder, a link, a socket or a device can't be a ticket, so its name is no place in line: a claimant takes a free lock at once, leaves
/// no ticket of its own, and these things stay.
fn what_is_no_file_is_no_ticket_whatever_its_name(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, hidden) = (scratch.folder(), scratch.folder().join(".lockfolder"));
    let [mut stranger, mut puppet] = [(); 2].map(|()| Puppet::at(kind, &folder));
    stranger.must("lock 0");
    stranger.must("unlock 0");
    let mut claims = listing(&hidden).into_iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    let live = claims.next_back().expect("the stranger's");
    fs::create_dir(hidden.join("queue")).unwrap();
    let mut others = Vec::new();
    for (arrival, claim) in ["0000000000000001", &live].into_iter().enumerate() {
        let at = |n: u64| hidden.join(format!("queue/{:016x}{claim}", (arrival as u64) << 8 | n));
        fs::create_dir(at(1)).unwrap();
        std::os::unix::fs::symlink("nowhere", at(2)).unwrap();
        std::os::unix::fs::symlink(format!("../{live}.json"), at(3)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at(4)).unwrap());
        others.extend([1, 2, 3, 4].map(at));
        if rustix::process::geteuid().is_root() {
            let (mode, null) = (rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3));
            let made = rustix::fs::mknodat(rustix::fs::CWD, at(5), rustix::fs::FileType::CharacterDevice, mode, null);
            made.unwrap();
            others.push(at(5));
        }
    }
    for _ in 0..2 {
        puppet.must("wait 0 -1");
        puppet.must("unlock 0");
        puppet.must("lock 0");
        puppet.must("unlock 0");
    }
    puppet.must("reap 0");
    assert_eq!(listing(&hidden.join("queue")).len(), others.len());
    assert!(others.iter().all(|other| other.symlink_metadata().is_ok()), "{:?}", listing(&hidden.join("queue")));
}

fn what_is_not_named_as_ours_is_stays_in_the_hidden_folder(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, hidden) = (scratch.folder(), scratch.folder().join(".lockfolder"));
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    let mut ours = forge(&hidden, &["0123456789abcdef.json"]);
    for beacon in ["0123456789abcdef.beacon-1", "fedcba9876543210.beacon-2"] {
        ours.push(hidden.join(beacon));
        fs::write(&ours[ours.len() - 1], "").unwrap();
    }
    let others = forge(
        &hidden,
        &[
            "package.json",
            "+123456789abcdef.json",
            "0123456789ABCDEF.json",
            "0123456789abcdef0.json",
            "123456789abcdef.json",
            "0123456789abcdef.JSON",
            "+123456789abcdef.beacon-1",
            "0123456789ABCDEF.beacon-2",
            "0123456789abcdef.beacon-3",
            "notes.beacon-1",
            "fence-+7",
            "fence-007",
        ],
    );
    assert_eq!(puppet.must("fence 0").number(), 1);
    assert_eq!(puppet.must("fence 0").number(), 2);
    puppet.must("unlock 0");
    puppet.must("reap 0");
    // One more claimant sweeps too.
    Puppet::at(kind, &folder).must("lock 0");
    assert!(!ours.iter().any(|ours| ours.exists()), "{:?}", listing(&hidden));
    assert!(others.iter().all(|other| other.exists()), "{:?}", listing(&hidden));
}
