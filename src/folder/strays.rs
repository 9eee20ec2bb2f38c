//! Bids that should have been deleted and could not be: the folder was closed to us, or the disk was read-only. Their process lives, so
//! to all others they are live bids. While their handle is there, each call on it tries again. What outlives its handle is kept
//! here, and each later lock of this process tries again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::owner::bid::BidName;
use crate::sys::{process_mark, Dir, FileId, Pile, ProcessMark};

/// A bid of a handle that is in the folder, or may be, while the handle does not hold the lock.
#[derive(Clone, Copy)]
pub(crate) struct Stray {
    pub bid: BidName,
    /// Which file it is, if it is what we prepared.
    pub file: Option<FileId>,
}

struct Orphan {
    path: Arc<Path>,
    folder: FileId,
    bid: BidName,
    of: ProcessMark,
}

impl Orphan {
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

static ORPHANS: Pile<Orphan> = Pile::new();

/// So many are tried in one call. The others are tried by the next calls.
const TRIED_AT_ONCE: usize = 64;

/// Remembers a bid in this folder, whose handle is about to go.
pub(crate) fn remember(path: &Arc<Path>, folder: FileId, bid: BidName) {
    ORPHANS.put(Orphan { path: Arc::clone(path), folder, bid, of: process_mark() });
}

/// Tries again to delete what is left.
pub(crate) fn delete() {
    if ORPHANS.is_empty() {
        return;
    }
    let mut left = ORPHANS.take();
    // A forked child has a copy of its parent's, which are not its to delete.
    left.retain(|orphan| orphan.of == process_mark());
    let later = left.split_off(left.len().min(TRIED_AT_ONCE));
    left.retain(|orphan| !orphan.is_deleted());
    // What was not tried now lies on top, so it is tried first the next time.
    left.into_iter().chain(later.into_iter().rev()).for_each(|orphan| ORPHANS.put(orphan));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// Also of very many none is forgotten, and each call tries some.
    #[test]
    fn no_stray_bid_is_forgotten() {
        let scene = Scratch::new();
        let path: Arc<Path> = scene.join("lock").into();
        std::fs::create_dir(&path).unwrap();
        let folder = Dir::id_at(&path).unwrap();
        let count = 2 * TRIED_AT_ONCE + 10;
        for n in 0..count {
            let bid = BidName::new(n as u64, [7; 8]);
            std::fs::write(crate::folder::location::join(&path, bid.as_c_str()), "").unwrap();
            remember(&path, folder, bid);
        }
        let left = || std::fs::read_dir(&path).unwrap().count();
        // Other tests of this process take the pile now and then, for a moment.
        for _ in 0..10_000 {
            if left() == 0 {
                return;
            }
            delete();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} of {count} are left", left());
    }
}
