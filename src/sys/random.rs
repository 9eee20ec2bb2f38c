//! Random numbers, and names that nobody can guess.

use std::ffi::{CStr, CString};
use std::io;

#[cfg(target_os = "linux")]
use super::linux_fs::fill_random;

/// Fills a buffer from the system's generator, which is safe across fork and in clones of a machine.
#[cfg(not(target_os = "linux"))]
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    Ok(getrandom::fill(buffer)?)
}

/// A temporary name for a new file or folder. Nobody can guess it.
pub(crate) fn staged_name(name: &CStr) -> io::Result<CString> {
    let mut random = [0; 8];
    fill_random(&mut random)?;
    let random = format!("-{:016x}", u64::from_ne_bytes(random));
    Ok(CString::new([name.to_bytes(), random.as_bytes()].concat()).expect("no NUL was added"))
}
