//! Beacons where the kernel does not tell that one went out: a waiter looks again, after a pause, whether the ticket before
//! its own is still there and its owner alive.

use std::ffi::{CStr, CString};
use std::io;

use super::{Dir, Light, Source};

/// A file of which tickets are links; it says nothing by itself.
pub(crate) struct Beacon(());

impl Beacon {
    pub fn put_out(&self) {}
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

impl Dir {
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
