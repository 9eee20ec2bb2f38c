//! Bids that outlive their handle: neither the unlock nor the close could delete them (the folder was closed to us, the disk was
//! read-only). Their process lives, so to all others they are live bids. So each later lock of this process tries again.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::bid::Guid;
use crate::sys::{process_mark, Dir, FileId, ProcessMark};

struct Stray {
    path: Arc<Path>,
    folder: FileId,
    bid: Guid,
    of: ProcessMark,
}

impl Stray {
    /// True: it is gone, or where it is we can't tell.
    fn is_deleted(&self) -> bool {
        let deleted = Dir::open(&self.path).and_then(|folder| match folder.stat()?.id == self.folder {
            true => folder.unlink(self.bid.as_c_str()),
            false => Ok(()),
        });
        deleted.map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |()| true)
    }
}

static STRAYS: Mutex<Vec<Stray>> = Mutex::new(Vec::new());
/// Spares the common case the mutex.
static ANY: AtomicBool = AtomicBool::new(false);

/// A bound, for a program that goes on in spite of all the errors.
const MOST: usize = 64;

/// Remembers a bid in this folder, whose handle is about to go.
pub(crate) fn remember(path: &Arc<Path>, folder: FileId, bid: Guid) {
    // Not `lock`: in a forked child it may be held for ever by a thread that was not forked.
    if let Ok(mut strays) = STRAYS.try_lock() {
        if strays.len() < MOST {
            strays.push(Stray { path: Arc::clone(path), folder, bid, of: process_mark() });
            ANY.store(true, Ordering::Release);
        }
    }
}

/// Tries again to delete what is left.
pub(crate) fn delete() {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    if let Ok(mut strays) = STRAYS.try_lock() {
        // A forked child has a copy of its parent's, which are not its to delete.
        strays.retain(|stray| stray.of == process_mark() && !stray.is_deleted());
        ANY.store(!strays.is_empty(), Ordering::Release);
    }
}
