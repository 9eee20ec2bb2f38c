//! How Windows tells a thread that something happened: each source is a handle, and one call waits for all of them.

use std::ffi::CStr;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::Storage::FileSystem::{
    FindCloseChangeNotification, FindFirstChangeNotificationW, FindNextChangeNotification, FILE_NOTIFY_CHANGE_FILE_NAME,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, SetEvent, WaitForMultipleObjects, WaitForSingleObject, INFINITE,
};

use super::folder::Dir;
use super::{done, wide};
use crate::sys::contract::Source;
use crate::sys::{doze, SpareWatch};

/// Wakes a thread that waits.
pub(crate) struct Waker {
    event: OwnedHandle,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        // SAFETY: the call returns a new handle of ours, or NULL. The event resets itself when it has woken a thread.
        unsafe {
            let event = CreateEventW(ptr::null(), 0, 0, ptr::null());
            done(i32::from(!event.is_null()))?;
            Ok(Waker { event: OwnedHandle::from_raw_handle(event) })
        }
    }

    pub fn ring(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.event.as_raw_handle()) };
    }

    /// It wakes one sleeper for each ring.
    #[cfg(feature = "etcd")]
    pub fn source(&self) -> Source<'_> {
        use std::os::windows::io::AsHandle;
        self.event.as_handle()
    }

    /// From now on it does not ring.
    pub fn silence(&self) {
        self.sleep(&[], Duration::ZERO);
    }

    /// Sleeps until the bell rings, another source wakes the thread, or the time is over. Silences the bell if the bell woke the thread.
    /// True: the first source woke the thread.
    pub fn sleep(&self, others: &[Option<Source<'_>>], time: Duration) -> bool {
        let mut handles = vec![self.event.as_raw_handle()];
        handles.extend(others.iter().flatten().map(AsRawHandle::as_raw_handle));
        // The time is rounded up. Otherwise the waiter would spin during the last fraction of a millisecond.
        let millis = time.as_nanos().div_ceil(1_000_000);
        let millis = u32::try_from(millis).unwrap_or(INFINITE);
        // SAFETY: all handles are open, and the count is right.
        let woken_by = unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, millis) };
        if woken_by == WAIT_FAILED {
            doze(time); // an immediate return would make a waiter spin
        }
        others.first().is_some_and(Option::is_some) && woken_by == WAIT_OBJECT_0 + 1
    }
}

/// Tells when a name appears in a folder or leaves it.
pub(crate) struct FolderWatch {
    notification: HANDLE,
}

// SAFETY: any thread may wait for a handle, ask for the next notification, or close it.
unsafe impl Send for FolderWatch {}
// SAFETY: the same.
unsafe impl Sync for FolderWatch {}

impl FolderWatch {
    pub fn new(dir: &Dir, _spare: &SpareWatch) -> io::Result<FolderWatch> {
        let path = wide(dir.path());
        // SAFETY: the string is terminated.
        let notification = unsafe { FindFirstChangeNotificationW(path.as_ptr(), 0, FILE_NOTIFY_CHANGE_FILE_NAME) };
        match notification {
            INVALID_HANDLE_VALUE => Err(io::Error::last_os_error()),
            notification => Ok(FolderWatch { notification }),
        }
    }

    /// Forgets all events so far. From now on only new events wake a sleeper. (An event during this call may wake it once more.)
    pub fn reset(&self) {
        // SAFETY: the handle is open.
        unsafe {
            if WaitForSingleObject(self.notification, 0) == WAIT_OBJECT_0 {
                FindNextChangeNotification(self.notification);
            }
        }
    }

    /// The system tells no names here, so every event may matter.
    pub fn has_news(&self, _matters: impl Fn(&CStr) -> bool) -> bool {
        true
    }

    pub fn source(&self) -> Source<'_> {
        // SAFETY: the handle is open until this value is dropped.
        unsafe { BorrowedHandle::borrow_raw(self.notification) }
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and it is not used any more.
        unsafe { FindCloseChangeNotification(self.notification) };
    }
}
