//! Thread cancellation by POSIX, which no call of ours takes part in.

/// While it lives, `pthread_cancel` does not end this thread: a request stays pending, and takes effect at the caller's next
/// cancellation point. Many functions of the C library are such points (pthreads(7)), and what then unwinds the stack can't
/// pass through Rust. No system call.
///
/// Where the caller made cancellation asynchronous, it may have come before this, and it comes again at the end of this:
/// pthread_setcanceltype(3) says that such a thread may call next to nothing.
pub(crate) struct Uncancellable {
    #[cfg(unix)]
    before: std::ffi::c_int,
}

#[cfg(unix)]
extern "C" {
    /// pthread_setcancelstate(3). glibc and musl change a field of the thread's own, so a signal handler may call it too
    /// (POSIX.1-2024 has it among the async-signal-safe functions).
    fn pthread_setcancelstate(state: std::ffi::c_int, before: *mut std::ffi::c_int) -> std::ffi::c_int;
}

/// `pthread.h`: Darwin counts the other way round.
#[cfg(unix)]
const PTHREAD_CANCEL_DISABLE: std::ffi::c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

impl Uncancellable {
    pub fn new() -> Uncancellable {
        #[cfg(unix)]
        {
            let mut before = PTHREAD_CANCEL_DISABLE;
            // SAFETY: a state that pthread.h knows, and a valid place for the one before.
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
        // SAFETY: the state that this thread had, and a valid place (not every system takes NULL).
        unsafe { pthread_setcancelstate(self.before, &mut ours) };
    }
}
