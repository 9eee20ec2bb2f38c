//! What others write where a name is expected (in the tail of the line, and as names of tickets, claims and beacons) is no path, and
//! what is not named exactly as our files are is not ours to delete. Root waits in folders that another user may write to.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::{both, listing, root_or_skip, set_mode, wait_until, Bid, Kind, Puppet, Scratch, NOBODY};

both!(
    a_path_in_the_tail_leads_root_nowhere,
    what_is_not_named_as_a_ticket_is_stays_in_the_queue,
    what_is_not_named_as_ours_is_stays_in_the_hidden_folder,
);

/// As long as a ticket's name, and relative to the queue.
const PATHS: [&str; 4] = [
    "../../../secret/0123456789abcdef",
    "../../../secret/+123456789abcdef",
    "../../../secret/0123456789ABCDEF",
    "../../../secret/file-with-a-name",
];

/// A process of another user that makes the tail, writes to it, and keeps it open: until it is dropped.
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
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).expect("it may write there");
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
        set_mode(&folder, mode); // which a change of the group takes bits from
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

/// They sort before every ticket, or behind, and nobody takes them for one, waits for one, or deletes one.
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
    // The dead one's ticket is taken away by the first, so both have looked.
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

fn what_is_not_named_as_ours_is_stays_in_the_hidden_folder(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, hidden) = (scratch.folder(), scratch.folder().join(".lockfolder"));
    let mut puppet = Puppet::at(kind, &folder);
    puppet.must("lock 0");
    let ours = forge(&hidden, &["0123456789abcdef.json", "0123456789abcdef.beacon-1", "fedcba9876543210.beacon-2"]);
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
    // One comes and sweeps too.
    Puppet::at(kind, &folder).must("lock 0");
    assert!(!ours.iter().any(|ours| ours.exists()), "{:?}", listing(&hidden));
    assert!(others.iter().all(|other| other.exists()), "{:?}", listing(&hidden));
}
