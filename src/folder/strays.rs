//! Strays: bids that should have been deleted but could not be, because we had no access to the folder or the disk was
//! read-only. Their process is alive, so other claimants see them as live bids. While the handle of a stray is open,
//! each call on the handle tries again to delete the stray. A stray that outlives its handle is kept here, and each
//! later lock of this process in the same folder tries again. A lock of another folder does not even look there: if a
//! filesystem has died there, each look would wait for it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::owner::bid::BidName;
use crate::sys::{process_mark, Dir, FileId, Pile, ProcessMark};

/// A bid of a handle that does not hold the lock. The bid is in the folder, or may be.
#[derive(Clone, Copy)]
pub(crate) struct Stray {
    pub bid: BidName,
    /// Identifies the bid's file, if the bid is the file that we prepared.
    pub file: Option<FileId>,
}

struct Orphan {
    path: Arc<Path>,
    folder: FileId,
    bid: BidName,
    of: ProcessMark,
}

impl Orphan {
    fn is_of(&self, path: &Path, folder: FileId) -> bool {
        *self.path == *path || self.folder == folder
    }

    /// True: the bid is gone. If another folder or none is at the path now, the bid's folder may come back, and the bid
    /// with it. `dir` is the folder `id`, which is open.
    fn is_deleted(&self, dir: &Dir, id: FileId) -> bool {
        // We go by the bid's name, which is never used again. The folder's number may differ after the filesystem was
        // mounted again.
        let is_gone_from = |folder: &Dir, id: FileId| match folder.unlink(self.bid.as_c_str()) {
            Ok(()) => true,
            Err(e) => e.kind() == io::ErrorKind::NotFound && id == self.folder,
        };
        if id == self.folder {
            return is_gone_from(dir, id);
        }
        let Ok(folder) = Dir::open(&self.path) else { return false };
        folder.stat().is_ok_and(|stat| is_gone_from(&folder, stat.id))
    }
}

static ORPHANS: Pile<Orphan> = Pile::new();

/// How many are tried in one call. The next calls try the others.
const TRIED_AT_ONCE: usize = 64;

/// Remembers a bid in this folder when its handle is about to be closed.
pub(crate) fn remember(path: &Arc<Path>, folder: FileId, bid: BidName) {
    ORPHANS.put(Orphan { path: Arc::clone(path), folder, bid, of: process_mark() });
}

/// Tries again to delete the remembered bids of the folder `id`, which is open as `dir`, and of the folders that were at
/// this path before.
pub(crate) fn delete(path: &Path, dir: &Dir, id: FileId) {
    if ORPHANS.is_empty() {
        return;
    }
    let mut all = ORPHANS.take();
    // A forked child has copies of its parent's entries, and must not delete those bids.
    all.retain(|orphan| orphan.of == process_mark());
    let (mut left, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|orphan| orphan.is_of(path, id));
    let later = left.split_off(left.len().min(TRIED_AT_ONCE));
    left.retain(|orphan| !orphan.is_deleted(dir, id));
    // The bids that were not tried now are put on top, so the next call tries them first.
    let kept = others.into_iter().chain(left).chain(later.into_iter().rev());
    kept.for_each(|orphan| ORPHANS.put(orphan));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// Even with very many strays, each call tries some, and none is forgotten. A call in another folder tries none.
    #[test]
    fn no_stray_bid_is_forgotten() {
        let scene = Scratch::new();
        let path: Arc<Path> = scene.join("lock").into();
        std::fs::create_dir(&path).unwrap();
        let folder = Dir::id_at(&path).unwrap();
        let count = 2 * TRIED_AT_ONCE + 10;
        for n in 0..count {
            let bid = BidName::new(n as u64 * 1_000_000, [7; 8], crate::slots::Slots::One);
            std::fs::write(crate::folder::location::join(&path, bid.as_c_str()), "").unwrap();
            remember(&path, folder, bid);
        }
        let left = || std::fs::read_dir(&path).unwrap().count();
        let elsewhere = Scratch::new();
        let other = Dir::open(&elsewhere).unwrap();
        delete(&elsewhere, &other, other.stat().unwrap().id);
        assert_eq!(left(), count, "this lock of another folder looked into this one");
        let dir = Dir::open(&path).unwrap();
        // Other tests of this process may take the pile for a moment.
        for _ in 0..10_000 {
            if left() == 0 {
                return;
            }
            delete(&path, &dir, folder);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} of {count} are left", left());
    }
}
