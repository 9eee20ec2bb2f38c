//! Opening: paths of every kind, flags, and filesystems that can't carry the lock.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{both, encode, listing, namespaces_or_skip, root_or_skip, Kind, Puppet, Scratch, NOBODY};
use rustix::io::Errno;

const NO_CREATE: u32 = 1;
const PRIVATE: u32 = 2;
const TRUST: u32 = 4;

both!(
    a_missing_folder_is_made_one_level_deep,
    a_missing_folder_is_not_made_with_no_create,
    a_path_to_something_else_than_a_folder_is_refused,
    a_relative_path_is_resolved_when_it_is_opened,
    the_message_gives_advice_below_a_folder_that_can_not_be_searched,
    a_path_is_bytes,
    a_path_through_a_link_leads_to_the_target_folder,
    a_private_folder_is_ours_and_only_we_can_write_to_it,
    a_folder_that_replaced_a_private_one_is_checked_again,
    an_unsupported_filesystem_is_refused_with_the_reason,
    trust_changes_nothing_on_a_known_filesystem,
    a_local_folder_is_not_opened_again_for_a_listing,
    a_process_that_can_not_identify_itself_gets_no_handle,
    a_failed_open_says_why_to_its_thread,
);

#[track_caller]
fn opens(puppet: &mut Puppet, flags: u32, folder: &Path) {
    let answer = puppet.try_open(0, flags, folder);
    assert_eq!(answer, "LF_OK", "{}", puppet.why_not_opened());
    puppet.must("lock 0");
    puppet.must("unlock 0");
    puppet.must("close 0");
}

#[track_caller]
fn fails(puppet: &mut Puppet, flags: u32, folder: &Path, errno: Errno) {
    assert_eq!(puppet.try_open(0, flags, folder), "LF_ERR_IO", "{}", folder.display());
    assert_eq!(puppet.ask("code -").number(), errno.raw_os_error() as u64);
    let why = puppet.why_not_opened();
    assert!(why.contains(&*folder.to_string_lossy()) && why.contains("(os error"), "{why}");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn a_missing_folder_is_made_one_level_deep(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    puppet.must("umask 027");
    fails(&mut puppet, 0, &scratch.join("a/b"), Errno::NOENT);
    let why = puppet.why_not_opened();
    assert!(why.contains("the folder above it is missing"), "{why}");
    assert_eq!(listing(&scratch), Vec::<String>::new());
    opens(&mut puppet, 0, &scratch.join("a"));
    assert_eq!(mode_of(&scratch.join("a")), 0o750);
    opens(&mut puppet, 0, &scratch.join("a/b"));
    opens(&mut puppet, 0, &scratch.join("a/c/"));
    opens(&mut puppet, PRIVATE, &scratch.join("p"));
    assert_eq!(mode_of(&scratch.join("p")), 0o700);
    // Two puppets make the folder at once, and both succeed.
    let mut puppets: Vec<_> = (0..4).map(|_| Puppet::new(kind)).collect();
    for round in 0..20 {
        let path = encode(scratch.join(format!("race{round}")));
        puppets.iter_mut().for_each(|puppet| puppet.tell(&format!("open 0 0 {path}")));
        puppets.iter_mut().for_each(|puppet| assert_eq!(puppet.hear(), "LF_OK"));
    }
}

fn a_missing_folder_is_not_made_with_no_create(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    fails(&mut puppet, NO_CREATE, &scratch.folder(), Errno::NOENT);
    assert!(!scratch.folder().exists());
    fs::create_dir(scratch.folder()).unwrap();
    opens(&mut puppet, NO_CREATE, &scratch.folder());
}

fn a_path_to_something_else_than_a_folder_is_refused(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    fs::write(scratch.join("file"), "").unwrap();
    symlink("nothing", scratch.join("dangling")).unwrap();
    symlink("loop", scratch.join("loop")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scratch.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    fails(&mut puppet, 0, &scratch.join("file"), Errno::NOTDIR);
    fails(&mut puppet, 0, &scratch.join("fifo"), Errno::NOTDIR);
    fails(&mut puppet, 0, &scratch.join("file/x"), Errno::NOTDIR);
    fails(&mut puppet, 0, &scratch.join("loop"), Errno::LOOP);
    fails(&mut puppet, 0, &scratch.join("x".repeat(256)), Errno::NAMETOOLONG);
    let before = puppet.sleeps();
    assert_eq!(puppet.try_open(0, 0, &scratch.join("dangling")), "LF_ERR_IO");
    assert!(puppet.sleeps() - before < 20, "it waits for a folder that nobody makes");
    assert!(!scratch.join("nothing").exists());
    assert_eq!(puppet.try_open(0, 0, "".as_ref()), "LF_ERR_INVALID");
}

fn a_relative_path_is_resolved_when_it_is_opened(kind: Kind) {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("here")).unwrap();
    fs::create_dir_all(scratch.join("there/lock")).unwrap();
    let mut puppet = Puppet::new(kind);
    let on_linux = ["/proc/self/cwd/lock", "/proc/self/cwd/lock", "/proc/thread-self/cwd/../here/lock"];
    let on_linux = on_linux.into_iter().filter(|_| cfg!(target_os = "linux")); // the first one makes the folder
    for path in on_linux.chain(["lock", "./lock", "../here/lock", "lock/", "lock/."]) {
        puppet.must(&format!("cd {}", encode(scratch.join("here"))));
        puppet.open(0, Path::new(path));
        puppet.must(&format!("cd {}", encode(scratch.join("there"))));
        puppet.must("lock 0");
        assert_eq!(listing(&scratch.join("here/lock")).len(), 2, "{path}");
        let mut other = Puppet::at(kind, &scratch.join("here/lock"));
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        puppet.must("unlock 0");
        puppet.must("close 0");
    }
    assert_eq!(listing(&scratch.join("there/lock")), Vec::<String>::new());
}

/// The working folder stays usable below a folder that was closed to this user later. A path through that folder does
/// not.
fn the_message_gives_advice_below_a_folder_that_can_not_be_searched(kind: Kind) {
    if !root_or_skip("a user that may not search") {
        return;
    }
    let scratch = Scratch::new();
    let (closed, inside) = (scratch.join("closed"), scratch.join("closed/inside"));
    fs::create_dir_all(inside.join("there")).unwrap();
    for path in [&inside, &inside.join("there")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut puppet = Puppet::new(kind);
    puppet.must(&format!("cd {}", encode(&inside)));
    puppet.must(&format!("become {NOBODY}"));
    for (flags, path) in [(0, "new"), (0, "there"), (NO_CREATE, "there")] {
        for path in [PathBuf::from(path), inside.join(path)] {
            assert_eq!(puppet.try_open(0, flags, &path), "LF_ERR_IO");
            let why = puppet.why_not_opened();
            let says = ["may not search", "a relative path becomes an absolute one", closed.to_str().unwrap()];
            assert!(says.iter().all(|text| why.contains(text)), "{why}");
        }
    }
    // A refusal for another reason does not get this advice.
    let other = scratch.join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(puppet.try_open(0, 0, &other), "LF_ERR_IO");
    assert!(!puppet.why_not_opened().contains("search"), "{}", puppet.why_not_opened());
}

fn a_path_is_bytes(kind: Kind) {
    let scratch = Scratch::new();
    let (mut a, mut b) = (Puppet::new(kind), Puppet::new(kind));
    for name in
        [&b"\xff\xfe\x80"[..], b"a b", b"a\nb", b"%s%n", "ä\u{202e}é".as_bytes(), b"-rf", b"\x1b[31m", b".hidden"]
    {
        let folder = scratch.join(OsStr::from_bytes(name));
        a.open(0, &folder);
        b.open(0, &folder);
        a.must("lock 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        assert!(b.why(0).contains("lock folder"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        a.must("close 0");
        b.must("close 0");
    }
}

fn a_path_through_a_link_leads_to_the_target_folder(kind: Kind) {
    let scratch = Scratch::new();
    let (first, second, link) = (scratch.join("first"), scratch.join("second"), scratch.join("link"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    symlink("first", &link).unwrap();
    let (mut a, mut b) = (Puppet::at(kind, &link), Puppet::at(kind, &first));
    a.must("lock 0");
    assert_eq!(b.ask("lock 0"), "LF_BUSY");
    // The link now leads elsewhere. A holder stays in its folder, and the next lock is in the new one.
    fs::remove_file(&link).unwrap();
    symlink("second", &link).unwrap();
    assert_eq!(a.ask("holds 0"), "LF_ERR_LOST", "a puppet that opens the path finds another folder");
    a.ask("unlock 0");
    b.must("lock 0");
    a.must("lock 0");
    assert_eq!(Puppet::at(kind, &second).ask("lock 0"), "LF_BUSY");
}

fn a_private_folder_is_ours_and_only_we_can_write_to_it(kind: Kind) {
    let scratch = Scratch::shm();
    let mut puppet = Puppet::new(kind);
    fs::create_dir(scratch.folder()).unwrap();
    for (mode, private) in [
        (0o700, true),
        (0o755, true),
        (0o750, true),
        (0o1755, true),
        (0o775, false),
        (0o720, false),
        (0o702, false),
        (0o777, false),
        (0o1777, false),
    ] {
        fs::set_permissions(scratch.folder(), fs::Permissions::from_mode(mode)).unwrap();
        opens(&mut puppet, 0, &scratch.folder());
        if private {
            opens(&mut puppet, PRIVATE, &scratch.folder());
        } else {
            assert_eq!(puppet.try_open(0, PRIVATE, &scratch.folder()), "LF_ERR_UNSAFE", "{mode:o}");
            let why = puppet.why_not_opened();
            assert!(why.contains(&format!("{mode:04o}")) && why.contains(scratch.folder().to_str().unwrap()), "{why}");
        }
    }
    if root_or_skip("folders of other users") {
        fs::set_permissions(scratch.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(scratch.folder(), Some(NOBODY), None).unwrap();
        assert_eq!(puppet.try_open(0, PRIVATE, &scratch.folder()), "LF_ERR_UNSAFE");
        puppet.must(&format!("become {NOBODY}"));
        assert_eq!(puppet.try_open(0, PRIVATE, &scratch.folder()), "LF_OK");
    }
}

fn a_folder_that_replaced_a_private_one_is_checked_again(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    assert_eq!(puppet.try_open(0, PRIVATE, &scratch.folder()), "LF_OK");
    fs::rename(scratch.folder(), scratch.join("first")).unwrap();
    fs::create_dir(scratch.folder()).unwrap();
    fs::set_permissions(scratch.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    for call in ["lock 0", "wait 0 -1", "in_use 0", "reap 0", "bids 0"] {
        assert_eq!(puppet.ask(call), "LF_ERR_UNSAFE", "{call}");
    }
    assert_eq!(listing(&scratch.folder()), Vec::<String>::new());
}

fn an_unsupported_filesystem_is_refused_with_the_reason(kind: Kind) {
    let mut puppet = Puppet::new(kind);
    for (path, filesystem, at) in [
        ("/proc", "proc", "/proc"),
        ("/proc/self", "proc", "/proc"),
        ("/sys", "sysfs", "/sys"),
        ("/dev/pts", "devpts", "/dev/pts"),
    ] {
        let path = PathBuf::from(path);
        for flags in [0, NO_CREATE] {
            assert_eq!(puppet.try_open(0, flags, &path), "LF_ERR_UNSUPPORTED", "{}", path.display());
            let why = puppet.why_not_opened();
            let which = format!("is on a filesystem ({filesystem}) mounted at {at} ");
            let parts = [path.to_str().unwrap(), &which, "not known to work", "LF_OPEN_TRUST_FILESYSTEM"];
            parts.iter().for_each(|part| assert!(why.contains(part), "{part:?} is not in {why:?}"));
        }
        // With trust, the open succeeds; the filesystem then refuses the bid.
        assert_eq!(puppet.try_open(0, TRUST | NO_CREATE, &path), "LF_OK");
        assert_eq!(puppet.ask("lock 0"), "LF_ERR_IO");
        puppet.must("close 0");
    }
}

fn trust_changes_nothing_on_a_known_filesystem(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (mut a, mut b) = (Puppet::new(kind), Puppet::at(kind, &scratch.folder()));
        assert_eq!(a.try_open(0, TRUST, &scratch.folder()), "LF_OK");
        a.must("lock 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        a.must("fence 0");
        a.must("unlock 0");
        b.must("lock 0");
        assert_eq!(a.ask("lock 0"), "LF_BUSY");
        b.kill();
        a.must("lock 0");
    }
}

/// A process may list a folder that it has open, even if it may not open the folder any more.
fn a_local_folder_is_not_opened_again_for_a_listing(kind: Kind) {
    if !root_or_skip("another user") {
        return;
    }
    let scratch = Scratch::shm();
    scratch.folder_with_mode(0o777);
    let mut puppet = crate::support::nobody(kind);
    puppet.open(0, &scratch.folder());
    puppet.must("lock 0");
    puppet.must("unlock 0");
    for folder in [scratch.folder(), scratch.folder().join(".lockfolder")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o333)).unwrap();
    }
    puppet.must("lock 0");
    puppet.must("fence 0");
    puppet.must("unlock 0");
}

/// Other claimants could not judge the bids of this process.
fn a_process_that_can_not_identify_itself_gets_no_handle(kind: Kind) {
    if !namespaces_or_skip("a process without /proc") {
        return;
    }
    let scratch = Scratch::shm();
    let hide = "mount -t tmpfs tmpfs /proc && exec \"$@\"";
    let mut puppet = Puppet::behind(&["unshare", "--mount", "sh", "-c", hide, "sh"], kind);
    assert_eq!(puppet.try_open(0, 0, &scratch.folder()), "LF_ERR_UNSUPPORTED");
    assert!(puppet.why_not_opened().contains("/proc"), "{}", puppet.why_not_opened());
}

fn a_failed_open_says_why_to_its_thread(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::new(kind);
    puppet.open(1, &scratch.folder());
    fails(&mut puppet, NO_CREATE, &scratch.join("first"), Errno::NOENT);
    if kind == Kind::C {
        // Another thread has had no error yet, and keeps its own errors.
        puppet.must("start 1 error -");
        assert_eq!(puppet.must("join 1").text(), "");
        puppet.must(&format!("start 1 open 9 {NO_CREATE} {}", encode(scratch.join("second"))));
        assert_eq!(puppet.ask("join 1"), "LF_ERR_IO");
    }
    assert!(puppet.why_not_opened().contains("first"));
    // Errors of a handle do not change the thread's message.
    assert_eq!(puppet.ask("unlock 1"), "LF_ERR_NOT_HELD");
    assert!(puppet.why_not_opened().contains("first"));
}
