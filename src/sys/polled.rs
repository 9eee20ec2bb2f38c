//! Beacons where the kernel does not tell that one went out: a waiter looks again, after a pause, whether the ticket before
//! its own is still there and its owner alive.

use std::ffi::{CStr, CString};
use std::io;

use super::{Dir, FifoState, FileId, News, Source};

/// A file of which tickets are links; it says nothing by itself.
pub(crate) struct HandOffFifo(());

impl HandOffFifo {
    pub fn put_out(&self, _news: News) {}
}

/// A name for a beacon of ours.
pub(crate) struct OwnFifo {
    pub name: CString,
}

impl OwnFifo {
    pub fn new(name: CString) -> OwnFifo {
        OwnFifo { name }
    }
}

/// There is none: [`Dir::watch_beacon`] always fails.
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

/// There is none: [`Dir::open_tail`] always fails. Whoever polls reads the line each time anyway.
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
    pub fn open_tail(&self, _name: &CStr) -> io::Result<Tail> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn make_tail(&self, name: &CStr) -> io::Result<Tail> {
        self.open_tail(name)
    }

    /// Makes the first of these files, and says which one that is.
    pub fn light_fifo(&self, beacons: &mut [OwnFifo]) -> io::Result<(usize, HandOffFifo)> {
        let first = beacons.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.touch(&first.name)?;
        Ok((0, HandOffFifo(())))
    }

    /// Removes a folder in which somebody was to make something, and died.
    pub fn remove_stage(&self, name: &CStr) {
        let _ = self.remove_dir(name);
    }

    pub fn fifo_of(&self, _ticket: &CStr, _hidden: &Dir, _beacons: &[CString]) -> Option<FileId> {
        None
    }

    pub fn watch_fifo(&self, _name: &CStr, _beacon: FileId) -> io::Result<FifoWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes somebody else's beacon.
    pub fn discard_fifo(&self, name: &CStr, _beacon: Option<FileId>) {
        let _ = self.unlink(name);
    }
}
