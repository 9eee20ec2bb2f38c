//! When this handle first saw a bid that is cut off. The bid's own time can be anything, also in the future.

use std::cell::RefCell;
use std::ffi::CString;
use std::time::Duration;

use crate::owner::rival::Entry;
use crate::sys;

/// So many bids are remembered. Others can make any number of them, and a bid that is not remembered counts as live.
const MOST: usize = 64;

#[derive(Default)]
pub(crate) struct Sightings(RefCell<Vec<Sighting>>);

struct Sighting {
    name: CString,
    /// The number of the file, and when it was last modified: another file, or another content, is seen for the first time.
    file: (u64, i64),
    first: Duration,
    last: Duration,
}

impl Sightings {
    /// For how many milliseconds we have seen this bid as it is now. (This clock counts on in another time namespace. To ask it costs a
    /// look at `/proc`, and such bids are rare.)
    pub fn since(&self, (name, _): &Entry, file: (u64, i64)) -> u128 {
        let (mut all, now) = (self.0.borrow_mut(), sys::since_boot());
        if let Some(known) = all.iter_mut().find(|known| known.name == *name) {
            if known.file != file {
                (known.file, known.first) = (file, now);
            }
            known.last = now;
            return now.saturating_sub(known.first).as_millis();
        }
        if all.len() == MOST {
            // The one that we have not seen for the longest time may be gone.
            let oldest = (0..MOST).min_by_key(|&at| all[at].last).unwrap_or(0);
            all.swap_remove(oldest);
        }
        all.push(Sighting { name: name.clone(), file, first: now, last: now });
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bid(number: usize) -> Entry {
        (CString::new(number.to_string()).unwrap(), 0)
    }

    #[test]
    fn a_sighting_begins_anew_with_another_file_or_content() {
        let seen = Sightings::default();
        let age = || seen.0.borrow_mut().iter_mut().for_each(|known| known.first -= Duration::from_secs(60));
        for file in [(7, 1), (7, 2), (8, 2)] {
            assert!(seen.since(&bid(1), file) < 60_000);
            age();
            assert!(seen.since(&bid(1), file) >= 60_000);
        }
    }

    #[test]
    fn no_more_than_some_are_remembered() {
        let seen = Sightings::default();
        for number in 0..10 * MOST {
            seen.since(&bid(number), (0, 0));
        }
        assert_eq!(seen.0.borrow().len(), MOST);
        assert!(seen.0.borrow().iter().any(|known| known.name == bid(10 * MOST - 1).0));
    }
}
