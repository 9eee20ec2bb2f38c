//! Whatever has the name of a bid in the folder: no claimant hangs or crashes, and none gets the lock wrongly.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{bid_name, both, listing, root_or_skip, set_time, wait_until, Bid, Kind, Puppet, Scratch};
use rustix::fs::{mknodat, FileType, Mode, CWD};

both!(
    a_bid_with_bad_content_counts_as_live,
    an_entry_that_is_no_regular_file_counts_as_live,
    text_from_a_bid_is_escaped_in_a_message,
    a_cut_off_bid_is_stale_when_its_grace_is_over,
    a_file_that_is_no_bid_is_never_deleted,
    a_cut_off_bid_younger_than_the_grace_counts_as_live,
    a_cut_off_bid_older_than_this_boot_is_stale,
    a_cut_off_bid_with_an_absurd_time_counts_as_live,
    a_cut_off_bid_of_the_future_is_stale_when_it_was_seen_for_the_grace,
    a_bid_that_may_not_be_read_counts_as_live,
    a_bid_that_cannot_be_opened_now_counts_as_live,
    a_stale_bid_that_cannot_be_deleted_is_passed_over,
    a_thousand_stale_bids_are_reaped_by_one_lock,
);

/// What a Python peer may have written when we look: nothing, or the beginning of an object.
fn cut_off() -> Vec<Vec<u8>> {
    let mut contents: Vec<Vec<u8>> =
        ["", "\0", "{", "{\"PID\"", "{\"PID\": 1,", "{\n  \"PID\": 1"].map(|text| text.as_bytes().to_vec()).to_vec();
    // The whole bid of a dead process, cut off at every place.
    let whole = serde_json::to_vec(&Bid::of(std::process::id()).with("START", 1).0).unwrap();
    contents.extend((0..whole.len()).step_by(7).map(|length| whole[..length].to_vec()));
    contents.push([&whole[..whole.len() - 1], &[b' '; 2000]].concat());
    contents.push(vec![0; 203]); // as a power cut leaves it
    contents
}

/// Content that is no bid and can't become one.
fn foreign() -> Vec<Vec<u8>> {
    let pid = std::process::id();
    let mut contents: Vec<Vec<u8>> = [
        " ",
        "\n",
        " {",
        "}",
        "[",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{}",
        "[1, 2]",
        "\0{}",
        "\u{feff}{\"PID\": 1}",
        r#"{"PID": }"#,
        r#"{"pid": 1}"#,
        r#"{"PID": null}"#,
        r#"{"PID": 0}"#,
        r#"{"PID": -1}"#,
        r#"{"PID": 4294967296}"#,
        r#"{"PID": 4294967297}"#,
        r#"{"PID": 99999999999999999999999}"#,
        r#"{"PID": 1e400}"#,
        r#"{"PID": NaN}"#,
        r#"{"PID": true}"#,
        r#"{"PID": [1]}"#,
        r#"{"PID": {"PID": 1}}"#,
        r#"[{"PID": 1}]"#,
        r#"{'PID': 1}"#,
        "{\"PID\": 1,}",
        "{\"CREATED\": 1700000000}",
        r#"{"name": "app", "version": "1.0.0"}"#,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    contents.push(format!("{{\"PID\": \"{pid}\"}}").into_bytes());
    contents.push(format!("{{\"PID\": {pid}.5}}").into_bytes());
    contents.push(format!("{{\"PID\": {pid}}} x").into_bytes());
    contents.push([b"{\"PID\": 1, \"HOST\": \"\xff\xfe\"}".as_slice()].concat());
    // The whole bid of a dead process, and the beginning of one. Both go on past 4 KiB.
    let whole = serde_json::to_vec(&Bid::of(pid).with("START", 1).0).unwrap();
    contents.push([whole.as_slice(), &[b' '; 4096]].concat());
    contents.push([&whole[..whole.len() - 1], &[b' '; 4096]].concat());
    contents.push(b"[".repeat(4096));
    contents.push(b"{\"PID\":".repeat(500));
    contents
}

#[track_caller]
fn counts_as_live(puppet: &mut Puppet, what: &str, state: &str) {
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY", "{what}");
    assert_eq!(puppet.must("reap 0").number(), 0, "{what}");
    assert_eq!(puppet.must("in_use 0").number(), 1, "{what}");
    assert_eq!(puppet.bids(0).iter().map(|bid| bid.state).collect::<Vec<_>>(), [state], "{what}");
}

fn a_bid_with_bad_content_counts_as_live(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let path = scratch.folder().join(bid_name("bad"));
    for content in [cut_off(), foreign()].concat() {
        fs::write(&path, &content).unwrap();
        counts_as_live(&mut puppet, &String::from_utf8_lossy(&content), "MALFORMED");
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        let why = puppet.why(0);
        assert!(
            why.contains(&bid_name("bad")) && why.contains("delete it"),
            "the message must name the file and say what to do: {why}"
        );
    }
    // 1 GiB that takes no room on the disk.
    File::create(&path).unwrap().set_len(1 << 30).unwrap();
    counts_as_live(&mut puppet, "1 GiB", "MALFORMED");
    fs::remove_file(&path).unwrap();
    puppet.must("lock 0");
}

type Make = (&'static str, fn(&Path));

/// Each entry makes something at a path. The scratch folder has `stale`, the bid of a dead process, as a target for
/// links.
const IRREGULAR: &[Make] = &[
    ("a FIFO", |path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a folder with something in it", |path| fs::create_dir_all(path.join(bid_name("x"))).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a link to a stale bid", |path| symlink("../stale", path).unwrap()),
    ("a dangling link", |path| symlink("nothing", path).unwrap()),
    ("a link to itself", |path| symlink(bid_name("x"), path).unwrap()),
    ("a link to a FIFO", |path| symlink("../fifo", path).unwrap()),
    ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
];

const DEVICE: Make = ("a device", |path| {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 5)).unwrap();
});

fn irregular() -> Vec<Make> {
    let root = root_or_skip("a device node");
    IRREGULAR.iter().copied().chain(root.then_some(DEVICE)).collect()
}

fn each_irregular(kind: Kind, mut test: impl FnMut(&mut Puppet, &str, &Path)) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let stale = Bid::of(std::process::id()).with("START", 1);
    stale.write(&scratch.join("stale"));
    (IRREGULAR[0].1)(&scratch.join("fifo"));
    let path = scratch.folder().join(bid_name("x"));
    for (what, make) in irregular() {
        make(&path);
        test(&mut puppet, what, &path);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    assert!(scratch.join("stale").exists() && scratch.join("fifo").exists());
    puppet.must("lock 0");
}

fn an_entry_that_is_no_regular_file_counts_as_live(kind: Kind) {
    each_irregular(kind, |puppet, what, path| {
        counts_as_live(puppet, what, "MALFORMED");
        assert!(path.symlink_metadata().is_ok(), "{what}");
    });
}

fn text_from_a_bid_is_escaped_in_a_message(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let odd = "\x1b[31m\n\x07\u{9b}";
    Bid::of(std::process::id()).with("COMMAND", odd).with("HOST", odd).post(&scratch.folder());
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
    let why = puppet.why(0);
    assert!(!why.contains(char::is_control) && why.matches("[31m").count() == 2, "{why:?}");
}

fn age(path: &Path, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    set_time(path, since.as_secs() as i64);
}

fn a_minute_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(60)
}

fn a_cut_off_bid_is_stale_when_its_grace_is_over(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let path = scratch.folder().join(bid_name("bad"));
    for content in cut_off() {
        fs::write(&path, content).unwrap();
        age(&path, a_minute_ago());
        counts_as_live(&mut puppet, "a cut-off bid without a grace", "MALFORMED");
        puppet.must("grace 0 30000");
        assert_eq!(puppet.bids(0)[0].state, "STALE");
        assert_eq!(puppet.must("in_use 0").number(), 0);
        puppet.must("lock 0");
        assert!(!path.exists());
        puppet.must("unlock 0");
        puppet.must("grace 0 0");
    }
    // A complete bid is not judged by the grace.
    puppet.must("grace 0 30000");
    Bid::of(std::process::id()).write(&path);
    age(&path, a_minute_ago());
    counts_as_live(&mut puppet, "a good bid", "LIVE");
}

/// This holds at any age and with any grace: the name may be a bid's by chance, and the file may be somebody's work.
fn a_file_that_is_no_bid_is_never_deleted(kind: Kind) {
    let old = [0, 1_000_000_000, crate::support::boot_time() as i64 - 1];
    let stays = |puppet: &mut Puppet, what: &str, path: &Path| {
        for seconds in old {
            set_time(path, seconds);
            for grace in [0, 1] {
                puppet.must(&format!("grace 0 {grace}"));
                counts_as_live(puppet, what, "MALFORMED");
            }
        }
        assert!(path.symlink_metadata().is_ok(), "{what}");
        let why = puppet.ask("wait 0 0");
        assert_eq!(why, "LF_TIMEOUT");
        let (why, name) = (puppet.why(0), path.file_name().unwrap().to_str().unwrap());
        assert!(why.contains(name) && why.contains("Move it away"), "{what}: {why}");
    };
    each_irregular(kind, stays);
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        let path = scratch.folder().join(bid_name("bad"));
        for content in foreign() {
            fs::write(&path, &content).unwrap();
            stays(&mut puppet, &String::from_utf8_lossy(&content), &path);
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}

fn a_cut_off_bid_younger_than_the_grace_counts_as_live(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let path = scratch.folder().join(bid_name("bad"));
    for grace in [3_600_000_u32, u32::MAX] {
        puppet.must(&format!("grace 0 {grace}"));
        for time in [SystemTime::now(), a_minute_ago(), SystemTime::now() + Duration::from_secs(86400)] {
            fs::write(&path, "").unwrap();
            age(&path, time);
            counts_as_live(&mut puppet, "young", "MALFORMED");
        }
    }
}

fn a_cut_off_bid_older_than_this_boot_is_stale(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        let path = scratch.folder().join(bid_name("bad"));
        for seconds in [0, 1_000_000_000, crate::support::boot_time() as i64 - 1] {
            fs::write(&path, "{").unwrap();
            set_time(&path, seconds);
            assert_eq!(puppet.bids(0)[0].state, "STALE");
            puppet.must("lock 0");
            puppet.must("unlock 0");
            assert!(!path.exists());
        }
        fs::write(&path, "{").unwrap();
        set_time(&path, crate::support::boot_time() as i64 + 1);
        counts_as_live(&mut puppet, "of this boot", "MALFORMED");
    }
}

/// Somebody set its time or the clock. The grace then counts from when a handle first saw the bid.
fn a_cut_off_bid_of_the_future_is_stale_when_it_was_seen_for_the_grace(kind: Kind) {
    let scratch = Scratch::shm();
    let mut puppets = [Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder())];
    let path = scratch.folder().join(bid_name("bad"));
    fs::write(&path, "{").unwrap();
    age(&path, SystemTime::now() + Duration::from_secs(86_400));
    let [first, second] = &mut puppets;
    first.must("grace 0 300");
    second.must("grace 0 1000000");
    wait_until(|| {
        assert_eq!(second.must("in_use 0").number(), 1);
        first.must("in_use 0").number() == 0
    });
    assert_eq!(second.ask("lock 0"), "LF_BUSY");
    first.must("lock 0");
    assert!(!path.exists());
}

/// tmpfs keeps any time.
fn a_cut_off_bid_with_an_absurd_time_counts_as_live(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        puppet.must("grace 0 1000000");
        let path = scratch.folder().join(bid_name("bad"));
        for seconds in [i64::MAX, i64::MAX / 1000 + 1, i64::MAX / 900, 1 << 62, 1 << 54] {
            fs::write(&path, "{").unwrap();
            set_time(&path, seconds);
            counts_as_live(&mut puppet, &format!("modified at {seconds}"), "MALFORMED");
            assert_eq!(puppet.bids(0)[0].age_ms, 0);
        }
        set_time(&path, i64::MIN);
        puppet.must("lock 0");
    }
}

/// Runs a test in a shared folder with two puppets: one of the user nobody, and one of root.
fn with_nobody(kind: Kind, mode: u32, test: impl FnOnce(&Path, Puppet, Puppet)) {
    if !root_or_skip("bids of other users") {
        return;
    }
    let scratch = Scratch::shm();
    let folder = scratch.folder_with_mode(mode);
    let mut nobody = crate::support::nobody(kind);
    nobody.open(0, &folder);
    test(&folder, nobody, Puppet::at(kind, &folder));
}

fn a_bid_that_may_not_be_read_counts_as_live(kind: Kind) {
    with_nobody(kind, 0o777, |folder, mut nobody, mut root| {
        for bid in [Bid::of(std::process::id()), Bid::of(std::process::id()).with("START", 1)] {
            let path = bid.post(folder);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            age(&path, a_minute_ago());
            nobody.must("grace 0 1");
            counts_as_live(&mut nobody, "unreadable", "UNKNOWN");
            assert!(path.exists());
            fs::remove_file(path).unwrap();
        }
        nobody.must("lock 0");
        assert_eq!(root.ask("lock 0"), "LF_BUSY");
    });
}

/// A lease makes the opens of others fail until it is given back (fcntl(2)).
fn a_bid_that_cannot_be_opened_now_counts_as_live(kind: Kind) {
    extern "C" {
        fn fcntl(fd: i32, command: i32, ...) -> i32;
    }
    const F_SETLEASE: i32 = 1024;
    const F_WRLCK: i32 = 1;
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let path = Bid::of(std::process::id()).post(&scratch.folder());
    let file = File::options().read(true).write(true).open(&path).unwrap();
    // The kernel reports an open by SIGIO, which would end this process. F_SETSIG replaces it by SIGURG, which is
    // ignored.
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: this call takes only numbers.
    assert_eq!(unsafe { fcntl(fd, 10, 23) }, 0);
    // The lease is refused while another process has the file open. A process that another test forks while the bid is
    // written has a copy of that descriptor until its exec.
    // SAFETY: this call takes only numbers.
    wait_until(|| unsafe { fcntl(fd, F_SETLEASE, F_WRLCK) } == 0);
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY", "{}", puppet.why(0));
    assert_eq!(puppet.bids(0)[0].state, "UNKNOWN");
    assert!(path.exists());
    drop(file);
}

fn a_stale_bid_that_cannot_be_deleted_is_passed_over(kind: Kind) {
    with_nobody(kind, 0o1777, |folder, mut nobody, mut root| {
        let stale = Bid::of(std::process::id()).with("START", 1).post(folder);
        assert_eq!(nobody.must("reap 0").number(), 0);
        nobody.must("lock 0");
        assert!(stale.exists());
        nobody.must("holds 0");
        assert_eq!(root.ask("lock 0"), "LF_BUSY");
        assert!(!stale.exists(), "root can");
        nobody.must("unlock 0");
        root.must("lock 0");
        assert_eq!(nobody.ask("lock 0"), "LF_BUSY");
    });
}

fn a_thousand_stale_bids_are_reaped_by_one_lock(kind: Kind) {
    let scratch = Scratch::shm();
    let stale = Bid::of(std::process::id()).with("START", 1);
    (0..1000).for_each(|_| drop(stale.post(&scratch.folder())));
    let mut puppet = Puppet::at(kind, &scratch.folder());
    assert_eq!(puppet.bids(0).len(), 1000);
    puppet.must("lock 0");
    assert_eq!(listing(&scratch.folder()).len(), 2); // our bid, and `.lockfolder`
    puppet.must("unlock 0");
    (0..1000).for_each(|_| drop(stale.post(&scratch.folder())));
    assert_eq!(puppet.must("reap 0").number(), 1000);
}
