//! Beacons where the kernel does not tell that one went out: a waiter looks again, after a pause, whether the ticket before
//! its own is still there and its owner alive.

use std::ffi::{CStr, CString};
use std::io;

use super::{Dir, Light, News, Source};

/// A file of which tickets are links; it says nothing by itself.
pub(crate) struct Beacon(());

impl Beacon {
    pub fn put_out(&self, _news: News) {}
}

/// There is none: [`Dir::watch_beacon`] always fails.
pub(crate) enum BeaconWatch {}

impl BeaconWatch {
    pub fn light(&self) -> Light {
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
    pub fn light_beacon<'a>(&self, names: &'a [CString]) -> io::Result<(&'a CStr, Beacon)> {
        let name = names.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.touch(name)?;
        Ok((name, Beacon(())))
    }

    pub fn watch_beacon(&self, _name: &CStr) -> io::Result<BeaconWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes somebody else's beacon.
    pub fn discard_beacon(&self, name: &CStr) {
        let _ = self.unlink(name);
    }
}
