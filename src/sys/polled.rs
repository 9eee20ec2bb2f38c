//! Beacons on systems whose kernel does not tell that a beacon went out. There a waiter pauses, and then checks again whether the
//! ticket of its predecessor still exists and whether the owner of that ticket lives.

use std::ffi::{CStr, CString};
use std::io;
use std::time::Duration;

use super::{Dir, FifoState, FileId, News, Source};

/// A file that has tickets as hard links. It tells nothing by itself.
pub(crate) struct HandOffFifo(());

impl HandOffFifo {
    pub fn put_out(&self, _news: News) {}
}

/// A name for one of our beacons.
pub(crate) struct OwnFifo {
    pub name: CString,
}

impl OwnFifo {
    pub fn new(name: CString) -> OwnFifo {
        OwnFifo { name }
    }
}

/// This type has no value, because [`Dir::watch_fifo_of`] gives none.
pub(crate) enum FifoWatch {}

impl FifoWatch {
    pub fn light(&self) -> FifoState {
        match *self {}
    }

    pub fn is_lit(&self) -> bool {
        match *self {}
    }

    pub fn source(&self) -> Source<'_> {
        match *self {}
    }
}

/// This type has no value, because we make no such descriptor on these systems.
pub(crate) enum WaitSet {}

impl WaitSet {
    pub fn new<Bell>(_bell: &Bell) -> io::Result<Option<WaitSet>> {
        Ok(None)
    }

    pub fn watch(&self, _sources: &[Option<Source<'_>>], _time: Duration) {
        match *self {}
    }

    pub fn forget(&self, _sources: &[Option<Source<'_>>]) {
        match *self {}
    }

    pub fn is_ready(&self) -> bool {
        match *self {}
    }

    #[cfg(unix)]
    pub fn source(&self) -> Source<'_> {
        match *self {}
    }

    #[cfg(feature = "capi")]
    pub fn descriptor(&self) -> i32 {
        match *self {}
    }
}

/// This type has no value, because these systems have no such descriptor.
pub(crate) enum Alarm {}

impl Alarm {
    pub fn new() -> io::Result<Option<Alarm>> {
        Ok(None)
    }

    pub fn set(&self, _at: Duration) {
        match *self {}
    }

    pub fn clear(&self) {
        match *self {}
    }

    #[cfg(unix)]
    pub fn source(&self) -> Source<'_> {
        match *self {}
    }

    #[cfg(feature = "capi")]
    pub fn descriptor(&self) -> i32 {
        match *self {}
    }
}

/// It is empty, because a folder watch is not kept for the next wait.
#[derive(Clone, Default)]
pub(crate) struct SpareWatch;

/// This type has no value, because [`Dir::open_tail`] always fails. A waiter that polls reads the whole line each time anyway.
pub(crate) enum Tail {}

impl Tail {
    pub fn take<T: Ord>(&self, _length: usize, _parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        match *self {}
    }

    pub fn leave(&self, _name: &CStr) {
        match *self {}
    }
}

impl Dir {
    pub fn open_tail(&self, _name: &CStr, _known: Option<Tail>) -> io::Result<Tail> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn make_tail(&self, name: &CStr) -> io::Result<Tail> {
        self.open_tail(name, None)
    }

    /// Makes the first of these files, and returns its index.
    pub fn light_fifo(&self, beacons: &mut [OwnFifo]) -> io::Result<(usize, HandOffFifo)> {
        let first = beacons.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.touch(&first.name)?;
        Ok((0, HandOffFifo(())))
    }

    /// Removes a private folder that a dead maker left.
    pub fn remove_stage(&self, name: &CStr) {
        let _ = self.remove_dir(name);
    }

    pub fn fifo_of(&self, _ticket: &CStr, _hidden: &Dir, _beacons: &[CString]) -> Option<FileId> {
        None
    }

    pub fn watch_fifo_of(&self, _ticket: &CStr, _hidden: &Dir, _beacons: &[CString]) -> Option<FifoWatch> {
        None
    }

    /// Removes the ticket of another process.
    pub fn discard_fifo(&self, name: &CStr, _beacon: Option<FileId>) {
        let _ = self.unlink(name);
    }
}
