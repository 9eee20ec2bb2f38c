//! Folders that are deleted when the test ends, also when it fails.

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{utimensat, AtFlags, Timespec, Timestamps, CWD};

/// A folder of its own, empty, that every user may enter.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// On the filesystem of the build folder, which is usually ext4, xfs, btrfs or overlayfs. A clone may be in a home that other
    /// users can't enter. Then it is a public place, since tests change their user.
    pub fn new() -> Scratch {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
        if all_may_enter(built) {
            Scratch::inside(built)
        } else {
            Scratch::public()
        }
    }

    /// On a disk as well. The mark in the lock folder says that other hosts use it too, as on the server of an export.
    pub fn marked() -> Scratch {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.folder().join(".lockfolder")).unwrap();
        std::fs::write(scratch.folder().join(".lockfolder/shared"), "").unwrap();
        scratch
    }

    /// On tmpfs. Every user can reach it there, which is not certain for the build folder.
    pub fn shm() -> Scratch {
        Scratch::inside(Path::new("/dev/shm"))
    }

    /// Usually on a disk, in a place that every user can reach (hier(7)).
    pub fn public() -> Scratch {
        Scratch::inside(Path::new("/var/tmp"))
    }

    fn inside(parent: &Path) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("lockfolder-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // left by a killed process that had our PID
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        Scratch { path }
    }

    /// The lock folder that most tests use. It does not exist yet.
    pub fn folder(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The same folder, made with this mode.
    pub fn folder_with_mode(&self, bits: u32) -> PathBuf {
        std::fs::create_dir(self.folder()).unwrap();
        set_mode(&self.folder(), bits);
        self.folder()
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} remains: {e}", self.path.display());
        }
    }
}

/// True if every user can reach this folder: each folder above it can be searched by all.
fn all_may_enter(folder: &Path) -> bool {
    folder.ancestors().all(|above| std::fs::metadata(above).is_ok_and(|about| about.permissions().mode() & 0o001 != 0))
}

#[test]
fn a_scratch_folder_is_where_every_user_can_go() {
    let scratch = Scratch::new();
    assert!(all_may_enter(&scratch), "{}", scratch.path.display());
    let inner = scratch.join("home/clone/target");
    std::fs::create_dir_all(&inner).unwrap();
    set_mode(&scratch.join("home"), 0o700);
    assert!(!all_may_enter(&inner));
}

/// The names in a folder, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The paths of the bids in a folder, sorted.
pub fn bids_in(folder: &Path) -> Vec<PathBuf> {
    let names = listing(folder).into_iter().filter(|name| name.ends_with(".json"));
    names.map(|name| folder.join(name)).collect()
}

/// The time of the last modification, in Unix seconds. For a link, that of the link itself and not of its
/// target.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Sets the mode, whatever the umask is.
pub fn set_mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}
