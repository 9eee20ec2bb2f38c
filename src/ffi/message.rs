use std::ffi::{c_char, c_int};
use std::ptr;

use super::convert::{lf_folder, with_failure};

/// Why the last call on this handle that did not return `LF_OK` did not, as a sentence that a person can act on: the folder, the
/// file, the PID, command and host of the holder, the system's own error text. UTF-8. NULL for the handle: why this
/// thread's last failed `lf_open` failed. Nothing failed yet: the empty string.
///
/// Copies like snprintf: at most `size` bytes, always terminated, and returns the length of the whole text without its NUL.
/// `buffer` may be NULL if `size` is 0. Bound to the handle, not to the thread.
#[no_mangle]
pub unsafe extern "C" fn lf_error_message(folder: *const lf_folder, buffer: *mut c_char, size: usize) -> usize {
    // SAFETY: by the caller's promise.
    let text = unsafe { with_failure(folder, |error| error.map(|error| error.to_string())) };
    let text = text.unwrap_or_default();
    if !buffer.is_null() && size > 0 {
        let longest = text.len().min(size - 1);
        let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        // SAFETY: `end` is below `size`, so text and NUL fit into what the caller promised.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), end);
            buffer.add(end).write(0);
        }
    }
    text.len()
}

/// The `errno` (on Windows the `GetLastError` value) behind that failure, or 0 if there is none. NULL as in
/// `lf_error_message`.
#[no_mangle]
pub unsafe extern "C" fn lf_error_code(folder: *const lf_folder) -> c_int {
    // SAFETY: by the caller's promise.
    unsafe { with_failure(folder, |error| error.and_then(|error| error.raw_os_error()).unwrap_or(0)) }
}
