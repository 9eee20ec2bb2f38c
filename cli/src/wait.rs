//! `lockfolder wait`: waits until nobody holds the lock, and only looks meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::errors::{explain, say, TROUBLE};
use crate::looking::Looked;

/// The pauses between two looks grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Returns the exit status.
pub fn wait(path: &Path, limit: Option<Duration>) -> i32 {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let in_use = Looked::open(path).and_then(|looked| looked.folder.in_use());
        match in_use {
            Ok(false) => return 0,
            Ok(true) => {}
            Err(error) => {
                say(explain(&error));
                return TROUBLE;
            }
        }
        let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(began.elapsed()));
        if left.is_zero() {
            return 1;
        }
        crate::sleep::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
