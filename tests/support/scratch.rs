//! Folders that vanish when the test is over, also when it fails.

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{utimensat, AtFlags, Timespec, Timestamps, CWD};

/// A folder of its own, empty, that everybody may enter.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// On the filesystem that we build on, which is usually ext4, xfs, btrfs or overlayfs.
    pub fn new() -> Scratch {
        Scratch::inside(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// On tmpfs. Here every user can reach it, which is not sure of the folder that we build in.
    pub fn shm() -> Scratch {
        Scratch::inside(Path::new("/dev/shm"))
    }

    /// On a disk, as a rule, and where every user can reach it (hier(7)).
    pub fn public() -> Scratch {
        Scratch::inside(Path::new("/var/tmp"))
    }

    fn inside(parent: &Path) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("lockfolder-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // a killed predecessor's with our PID
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        Scratch { path }
    }

    /// The lock folder that most tests use: not there yet.
    pub fn folder(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The same, made with this mode.
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

/// The names in a folder, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What of a folder is a bid: the paths, sorted.
pub fn bids_in(folder: &Path) -> Vec<PathBuf> {
    let names = listing(folder).into_iter().filter(|name| name.ends_with(".json"));
    names.map(|name| folder.join(name)).collect()
}

/// When it was last modified, Unix seconds. A link itself, not what it leads to.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Whatever the umask.
pub fn set_mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}
