//! Bids that outlive their handle: neither the unlock nor the close could delete them (the folder was closed to us, the disk was
//! read-only). Their process lives, so to all others they are live bids. So each later lock of this process tries again.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bid::Guid;
use crate::sys::{process_mark, Dir, FileId, ProcessMark};

struct Stray {
    path: Arc<Path>,
    folder: FileId,
    bid: Guid,
    of: ProcessMark,
}

impl Stray {
    /// True: it is gone. Where another folder is at the path now, or none, it may come back with its own.
    fn is_deleted(&self) -> bool {
        let Ok(folder) = Dir::open(&self.path) else { return false };
        // By its name, which nobody has used before or will use: a filesystem that was mounted again may have another number.
        match folder.unlink(self.bid.as_c_str()) {
            Ok(()) => true,
            Err(e) => e.kind() == io::ErrorKind::NotFound && folder.stat().is_ok_and(|stat| stat.id == self.folder),
        }
    }
}

static STRAYS: Mutex<Vec<Stray>> = Mutex::new(Vec::new());
/// Spares the common case the mutex.
static ANY: AtomicBool = AtomicBool::new(false);

/// A bound, for a program that goes on in spite of all the errors.
const MOST: usize = 64;

/// Remembers a bid in this folder, whose handle is about to go.
pub(crate) fn remember(path: &Arc<Path>, folder: FileId, bid: Guid) {
    let mut stray = Some(Stray { path: Arc::clone(path), folder, bid, of: process_mark() });
    with(|strays| strays.extend(stray.take().filter(|_| strays.len() < MOST)));
}

/// Another thread has the list for a moment only. In a forked child it may be taken for ever, by a thread that was not forked;
/// so this does not wait for ever.
fn with(change: impl FnOnce(&mut Vec<Stray>)) {
    for _ in 0..100 {
        if let Ok(mut strays) = STRAYS.try_lock() {
            change(&mut strays);
            return ANY.store(!strays.is_empty(), Ordering::Release);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Tries again to delete what is left.
pub(crate) fn delete() {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let mut left = Vec::new();
    with(|strays| left.append(strays));
    // A forked child has a copy of its parent's, which are not its to delete.
    left.retain(|stray| stray.of == process_mark() && !stray.is_deleted());
    if !left.is_empty() {
        with(|strays| strays.append(&mut left));
    }
}
