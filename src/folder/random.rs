//! Random bits: names that nobody has used, and chances to be out of step with others.

use std::io;

use crate::owner::bid::BidName;
use crate::sys;

/// Random bits, fetched for many names at once. Safe across fork, for a child never uses its parent's handles.
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

    /// A name that nobody has used or will use.
    pub fn name(&mut self) -> io::Result<BidName> {
        Ok(BidName::new(sys::unix_nanos(), self.number()?.to_ne_bytes()))
    }
}
