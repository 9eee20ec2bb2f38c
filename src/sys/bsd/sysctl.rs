//! Values that a kernel fills in: sysctl(3).

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;

/// A type that a kernel may fill in.
///
/// # Safety
/// Every content must be a valid value: numbers, bytes, and pointers that are never followed.
pub(super) unsafe trait Plain: Sized {}

// SAFETY: numbers.
unsafe impl Plain for libc::timeval {}
// SAFETY: bytes.
unsafe impl Plain for [libc::c_char; 64] {}

/// Reads the value with these numbers. `None`: the kernel has no such value, or it has another size.
#[allow(dead_code)] // macOS does not use this
pub(super) fn sysctl<T: Plain>(name: &[libc::c_int]) -> io::Result<Option<T>> {
    let (mut name, exactly) = (name.to_vec(), size_of::<T>());
    let length = name.len() as libc::c_uint;
    filled(exactly, |value, size| {
        // SAFETY: `length` is the number of numbers, and `value` has room for `size` bytes.
        unsafe { libc::sysctl(name.as_mut_ptr(), length, value, size, std::ptr::null_mut(), 0) }
    })
}

/// Reads the value with this name. A value that is shorter than the type, such as a text, has zeros at its end.
pub(super) fn sysctl_by_name<T: Plain>(name: &CStr) -> io::Result<Option<T>> {
    filled(1, |value, size| {
        // SAFETY: `name` is a C string, and `value` has room for `size` bytes.
        unsafe { libc::sysctlbyname(name.as_ptr(), value, size, std::ptr::null_mut(), 0) }
    })
}

/// `call` gets the address and the size of a buffer, and sets the size to the number of bytes that it filled in. That number must be at
/// least `least`.
fn filled<T: Plain>(
    least: usize,
    call: impl FnOnce(*mut std::ffi::c_void, &mut usize) -> libc::c_int,
) -> io::Result<Option<T>> {
    let (mut value, mut size) = (MaybeUninit::<T>::zeroed(), size_of::<T>());
    if call(value.as_mut_ptr().cast(), &mut size) != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: the value was zeroed and then filled in, and every content is valid (`Plain`).
    Ok((least..=size_of::<T>()).contains(&size).then(|| unsafe { value.assume_init() }))
}

/// Converts a text that the kernel filled in.
pub(super) fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
