//! POSIX thread cancellation. It is switched off during our calls.

/// While this value lives, `pthread_cancel` does not end this thread: a request stays pending, and takes effect at the caller's next
/// cancellation point. Many functions of the C library are such points (pthreads(7)), and the unwinding that a cancellation starts
/// can't pass through Rust. This makes no system call.
///
/// If the caller made cancellation asynchronous, a request can still take effect before this value is made, and when it is dropped.
/// By pthread_setcanceltype(3), such a thread may call almost no function.
pub(crate) struct Uncancellable {
    #[cfg(unix)]
    before: std::ffi::c_int,
}

#[cfg(unix)]
extern "C" {
    /// pthread_setcancelstate(3). glibc and musl change only a field of the thread itself, so a signal handler may call it too
    /// (POSIX.1-2024 lists it among the async-signal-safe functions).
    fn pthread_setcancelstate(state: std::ffi::c_int, before: *mut std::ffi::c_int) -> std::ffi::c_int;
}

/// The value from `pthread.h`. Darwin swaps the two numbers.
#[cfg(unix)]
const PTHREAD_CANCEL_DISABLE: std::ffi::c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

impl Uncancellable {
    pub fn new() -> Uncancellable {
        #[cfg(unix)]
        {
            let mut before = PTHREAD_CANCEL_DISABLE;
            // SAFETY: pthread.h defines this state, and `before` is a valid place for the previous state.
            unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before) };
            Uncancellable { before }
        }
        #[cfg(not(unix))]
        Uncancellable {}
    }
}

#[cfg(unix)]
impl Drop for Uncancellable {
    fn drop(&mut self) {
        let mut ours = 0;
        // SAFETY: this thread had this state before, and `ours` is a valid place (some systems do not accept NULL).
        unsafe { pthread_setcancelstate(self.before, &mut ours) };
    }
}
