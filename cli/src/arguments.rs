//! The name under which ps(1) shows a process.

use std::ffi::{c_char, CStr};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static WORDS: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Remembers where the system put the arguments of this process: one behind the other.
///
/// # Safety
///
/// `words` has at least `count` pointers to texts that end with NUL.
pub unsafe fn remember(count: usize, words: *mut *mut c_char) {
    if count == 0 {
        return;
    }
    // SAFETY: the caller says so.
    let (first, last) = unsafe { (*words, *words.add(count - 1)) };
    // SAFETY: the same.
    let end = last as usize + unsafe { CStr::from_ptr(last) }.count_bytes();
    WORDS.store(first, Ordering::Relaxed);
    LENGTH.store(end.saturating_sub(first as usize), Ordering::Relaxed);
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux has a witness that hides
/// In a forked child: overwrites the arguments. Async-signal-safe.
pub fn rename(name: &[u8]) {
    let (words, length) = (WORDS.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    if words.is_null() {
        return;
    }
    for at in 0..length {
        // SAFETY: the memory belongs to this process, can be written, and nothing reads it after the start.
        unsafe { words.add(at).write(name.get(at).map_or(0, |byte| *byte as c_char)) };
    }
}
