use std::ffi::{c_char, c_int};
use std::ptr;

use super::convert::{lf_folder, with_failure};

/// Gives the reason for the last failure on this handle, as a sentence for people.
///
/// It names what a person needs to act: the folder, the file, the PID, command and host of the holder, the system's
/// own error text. It is UTF-8. A failure is any other status than `LF_OK` and `LF_PENDING`. A call that succeeds, or
/// is pending, does not clear the reason. If nothing has failed yet, the text is empty. With NULL for the handle: the
/// reason for this thread's last failed `lf_open`.
///
/// It copies like snprintf: at most `size` bytes, always terminated, and returns the length of the whole text without
/// its NUL. `buffer` may be NULL if `size` is 0. The reason belongs to the handle, not to the thread.
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

/// Gives the system's error code of the last failure on this handle.
///
/// It is the `errno` (on Windows the `GetLastError` value) behind the text of `lf_error_message`, or 0 if there is
/// none. With NULL for the handle: that of this thread's last failed `lf_open`.
#[no_mangle]
pub unsafe extern "C" fn lf_error_code(folder: *const lf_folder) -> c_int {
    // SAFETY: by the caller's promise.
    unsafe { with_failure(folder, |error| error.and_then(|error| error.raw_os_error()).unwrap_or(0)) }
}
