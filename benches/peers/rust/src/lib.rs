//! Locks of Rust for the harness, which is written in C: the table of `subject.h`, in Rust.

use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use lockfolder::{ErrorKind, Guard, LockFolder};
use parking_lot::lock_api::RawMutex as _;

const HELD: c_int = 0;
const BUSY: c_int = 1;
const FAILED: c_int = -1;

trait Lock: Sized {
    fn open(folder: &Path) -> Option<Self>;
    fn try_lock(&mut self) -> c_int;
    fn wait(&mut self) -> c_int;
    fn unlock(&mut self) -> c_int;
}

fn status(result: io::Result<()>) -> c_int {
    match result {
        Ok(()) => HELD,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => BUSY,
        Err(_) => FAILED,
    }
}

// ---- fd-lock ----

struct FdLock {
    /// Borrows from `lock`, which never moves; dropped before it.
    guard: Option<fd_lock::RwLockWriteGuard<'static, File>>,
    lock: *mut fd_lock::RwLock<File>,
}

impl FdLock {
    fn lock(&mut self) -> &'static mut fd_lock::RwLock<File> {
        assert!(self.guard.is_none());
        // SAFETY: `open` leaks the lock, and it is freed after the guard. No other reference is alive.
        unsafe { &mut *self.lock }
    }
}

impl Lock for FdLock {
    fn open(folder: &Path) -> Option<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("file")).ok()?;
        Some(FdLock { guard: None, lock: Box::into_raw(Box::new(fd_lock::RwLock::new(file))) })
    }

    fn try_lock(&mut self) -> c_int {
        status(self.lock().try_write().map(|guard| self.guard = Some(guard)))
    }

    fn wait(&mut self) -> c_int {
        status(self.lock().write().map(|guard| self.guard = Some(guard)))
    }

    fn unlock(&mut self) -> c_int {
        self.guard.take().map_or(FAILED, |_| HELD)
    }
}

impl Drop for FdLock {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: the pointer is from `Box::into_raw` in `open`, and the guard is gone.
        drop(unsafe { Box::from_raw(self.lock) });
    }
}

// ---- fslock ----

struct FsLock(fslock::LockFile);

impl Lock for FsLock {
    fn open(folder: &Path) -> Option<Self> {
        fslock::LockFile::open(&folder.join("file")).ok().map(FsLock)
    }

    fn try_lock(&mut self) -> c_int {
        match self.0.try_lock() {
            Ok(true) => HELD,
            Ok(false) => BUSY,
            Err(_) => FAILED,
        }
    }

    fn wait(&mut self) -> c_int {
        status(self.0.lock())
    }

    fn unlock(&mut self) -> c_int {
        status(self.0.unlock())
    }
}

// ---- ours, without the C interface ----

struct Ours {
    folder: LockFolder,
    guard: Option<Guard>,
}

impl Ours {
    fn keep(&mut self, locked: lockfolder::Result<Guard>) -> c_int {
        match locked {
            Ok(guard) => {
                self.guard = Some(guard);
                HELD
            }
            Err(e) if e.kind() == ErrorKind::Busy => BUSY,
            Err(_) => FAILED,
        }
    }
}

impl Lock for Ours {
    fn open(folder: &Path) -> Option<Self> {
        LockFolder::open(folder).ok().map(|folder| Ours { folder, guard: None })
    }

    fn try_lock(&mut self) -> c_int {
        let locked = self.folder.try_lock();
        self.keep(locked)
    }

    fn wait(&mut self) -> c_int {
        let locked = self.folder.lock();
        self.keep(locked)
    }

    fn unlock(&mut self) -> c_int {
        match self.guard.take().map(Guard::unlock) {
            Some(Ok(())) => HELD,
            _ => FAILED,
        }
    }
}

// ---- parking_lot, between threads ----

static MUTEX: parking_lot::RawMutex = parking_lot::RawMutex::INIT;

struct ParkingLot;

impl Lock for ParkingLot {
    fn open(_: &Path) -> Option<Self> {
        Some(ParkingLot)
    }

    fn try_lock(&mut self) -> c_int {
        if MUTEX.try_lock() { HELD } else { BUSY }
    }

    fn wait(&mut self) -> c_int {
        MUTEX.lock();
        HELD
    }

    fn unlock(&mut self) -> c_int {
        // SAFETY: the harness unlocks only what it has locked.
        unsafe { MUTEX.unlock() };
        HELD
    }
}

// ---- the table ----

extern "C" fn open<L: Lock>(folder: *const c_char) -> *mut c_void {
    // SAFETY: the harness gives a C string.
    let folder = PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(folder) }.to_bytes()));
    L::open(&folder).map_or(ptr::null_mut(), |lock| Box::into_raw(Box::new(lock)).cast())
}

extern "C" fn try_lock<L: Lock>(lock: *mut c_void) -> c_int {
    // SAFETY: the harness gives what `open` gave.
    unsafe { &mut *lock.cast::<L>() }.try_lock()
}

extern "C" fn wait<L: Lock>(lock: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe { &mut *lock.cast::<L>() }.wait()
}

extern "C" fn unlock<L: Lock>(lock: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe { &mut *lock.cast::<L>() }.unlock()
}

extern "C" fn close<L: Lock>(lock: *mut c_void) {
    // SAFETY: as above. This is the last use of the pointer.
    drop(unsafe { Box::from_raw(lock.cast::<L>()) });
}

type Act = extern "C" fn(*mut c_void) -> c_int;

#[repr(C)]
pub struct Subject {
    name: *const c_char,
    open: Option<extern "C" fn(*const c_char) -> *mut c_void>,
    try_lock: Option<Act>,
    wait: Option<Act>,
    unlock: Option<Act>,
    close: Option<extern "C" fn(*mut c_void)>,
}

// SAFETY: constants.
unsafe impl Sync for Subject {}

const fn subject<L: Lock>(name: &'static CStr) -> Subject {
    Subject {
        name: name.as_ptr(),
        open: Some(open::<L>),
        try_lock: Some(try_lock::<L>),
        wait: Some(wait::<L>),
        unlock: Some(unlock::<L>),
        close: Some(close::<L>),
    }
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static subjects: [Subject; 5] = [
    subject::<FdLock>(c"fd-lock"),
    subject::<FsLock>(c"fslock"),
    subject::<Ours>(c"ours-rust"),
    subject::<ParkingLot>(c"parking_lot"),
    Subject { name: ptr::null(), open: None, try_lock: None, wait: None, unlock: None, close: None },
];
