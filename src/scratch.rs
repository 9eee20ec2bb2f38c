//! For the unit tests: folders that vanish when the test is over, also when it fails.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::api::OpenOptions;
use crate::folder::Folder;
use crate::protocol::Session;

/// A folder of its own, empty.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::inside(&std::env::temp_dir())
    }

    pub fn inside(folder: &std::path::Path) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("lockfolder-unit-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // a killed predecessor's with our PID
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// One more claimant on it, as a lock folder.
    pub fn claimant(&self) -> Session<Folder> {
        Session::new(self.folder())
    }

    /// The same without what it holds: the place alone.
    pub fn folder(&self) -> Folder {
        Folder::open(self, OpenOptions::default().of_folder).unwrap()
    }
}

/// Proves that the owner of this file, which is open for writing, lives: until the result is dropped.
#[cfg(unix)]
pub(crate) fn proven(file: std::fs::File) -> std::fs::File {
    use std::os::fd::AsFd;
    assert!(crate::sys::take_lock(file.as_fd()).unwrap());
    file
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The name of a bid made by hand, from a word of 6 letters at most. Names sort as their words do, and before all of ours.
pub(crate) fn bid_name(word: &str) -> String {
    assert!(word.len() <= 6);
    let digits: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("00000000-0000-4000-8000-{digits:0<12}.json")
}
