//! Buffers for reading.

use std::io;

use rustix::io::Errno;

/// A buffer of `length` zero bytes. If there is no memory, the error is ENOMEM. A plain `Vec` would end the program.
pub(super) fn zeros(length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
    bytes.resize(length, 0);
    Ok(bytes)
}
