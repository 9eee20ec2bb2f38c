//! Two folders change places all the time, which no sensible deployment does.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{bids_in, Scratch};
use lockfolder::{ErrorKind, LockFolder};
use rustix::fs::{renameat_with, RenameFlags, CWD};

/// A claimant looks at, posts to and deletes from one and the same folder, whatever is at the path meanwhile. No bid
/// therefore stays, although both claimants live on.
#[test]
fn no_bid_stays_in_either_of_two_folders_that_change_places() {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let (here, there) = (scratch.folder(), scratch.folder().with_file_name("other"));
        fs::create_dir(&there).unwrap();
        let folders = [0, 1].map(|_| LockFolder::open(&here).unwrap());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    renameat_with(CWD, &here, CWD, &there, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let claimants = folders.each_ref().map(|folder| {
                scope.spawn(move || {
                    for i in 0..2000 {
                        let tried = match i % 4 {
                            0 => folder.lock_timeout(Duration::from_secs(60)),
                            _ => folder.try_lock(),
                        };
                        match tried {
                            Ok(guard) => guard.unlock().unwrap(),
                            Err(e) => assert_eq!((e.kind(), i % 4 > 0), (ErrorKind::Busy, true), "{e}"),
                        }
                    }
                })
            });
            let ended = claimants.map(|claimant| claimant.join());
            is_over.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
        for folder in [&here, &there] {
            assert_eq!(bids_in(folder), Vec::<PathBuf>::new());
        }
    }
}
