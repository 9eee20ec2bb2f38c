//! Memory for what is read.

use std::io;

use rustix::io::Errno;

/// Room for so many bytes. Where there is none, that is an error of the system; a plain `Vec` would end the program.
pub(super) fn zeros(length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
    bytes.resize(length, 0);
    Ok(bytes)
}
