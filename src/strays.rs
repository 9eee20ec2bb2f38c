//! Bids that outlive their handle: neither the unlock nor the close could delete them (the folder was closed to us, the disk was
//! read-only). Their process lives, so to all others they are live bids. So each later lock of this process tries again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use crate::bid::Guid;
use crate::sys::{process_mark, Dir, ProcessMark};

struct Stray {
    folder: Dir,
    bid: Guid,
    of: ProcessMark,
}

static STRAYS: Mutex<Vec<Stray>> = Mutex::new(Vec::new());
/// Spares the common case the mutex.
static ANY: AtomicBool = AtomicBool::new(false);

/// Each keeps its folder open, so there is a bound.
const MOST: usize = 64;

/// Remembers a bid whose handle is about to go.
pub(crate) fn remember(folder: &Dir, bid: Guid) {
    // Not `lock`: in a forked child it may be held for ever by a thread that was not forked.
    if let (Ok(mut strays), Ok(folder)) = (STRAYS.try_lock(), folder.duplicate()) {
        if strays.len() < MOST {
            strays.push(Stray { folder, bid, of: process_mark() });
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
        strays.retain(|stray| {
            stray.of == process_mark() && stray.folder.unlink(stray.bid.as_c_str()).is_err_and(is_left)
        });
        ANY.store(!strays.is_empty(), Ordering::Release);
    }
}

fn is_left(error: std::io::Error) -> bool {
    error.kind() != std::io::ErrorKind::NotFound
}
