//! Random bits for fresh names and for jitter.

use std::io;

use crate::owner::bid::BidName;
use crate::slots::Slots;
use crate::sys;

/// Random bits, fetched for many names at once. This is safe across fork, because a child never uses the handles of its
/// parent.
#[derive(Default)]
pub(crate) struct Randomness {
    pool: [u64; 32],
    left: usize,
}

impl Randomness {
    pub fn number(&mut self) -> io::Result<u64> {
        if self.left == 0 {
            let mut bytes = [0; 32 * 8];
            sys::fill_random(&mut bytes)?;
            for (number, bytes) in self.pool.iter_mut().zip(bytes.chunks_exact(8)) {
                *number = u64::from_ne_bytes(bytes.try_into().expect("chunks of 8"));
            }
            self.left = self.pool.len();
        }
        self.left -= 1;
        Ok(self.pool[self.left])
    }

    /// A name that was never used before and will never be used again.
    pub fn name(&mut self, slots: Slots) -> io::Result<BidName> {
        Ok(BidName::new(sys::unix_nanos(), self.number()?.to_ne_bytes(), slots))
    }
}
