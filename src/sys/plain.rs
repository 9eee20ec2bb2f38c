//! Tells which names in a folder lead to a plain file (a regular file or a FIFO) and not to something else (a folder, a link, a socket,
//! a device). If the listing tells the kind (`d_type`, readdir(3)), no further system call is needed.

use std::ffi::CStr;
use std::io;

use rustix::fs::FileType;

use super::calls::leaf;
use super::contract::System;
use super::files::Files;
use super::{Dir, Leaf, Sight};

fn is_plain(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Fifo)
}

impl Dir {
    /// What has this name. An error of the look is never taken for a missing name.
    pub fn sight(&self, name: &CStr) -> Sight {
        match leaf(name).map_err(io::Error::from).and_then(|name| System::fixed_within(self.fd(), name)) {
            Ok(Some(known)) if is_plain(known.kind) => Sight::Plain,
            Ok(Some(_)) => Sight::Other,
            Ok(None) => Sight::Missing,
            Err(_) => Sight::Hidden,
        }
    }

    /// What kind of file has this name, and how long it is.
    pub fn leaf_at(&self, name: &CStr) -> io::Result<Leaf> {
        let stat = self.look_at(name)?;
        Ok(stat.map_or(Leaf::Other, |stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => Leaf::Fifo,
            FileType::RegularFile => Leaf::File { size: stat.st_size as u64 },
            _ => Leaf::Other,
        }))
    }

    /// Names the plain files among the entries whose names `parse` accepts. See [`Dir::list`].
    pub fn list_plain<T>(&self, parse: impl Fn(&CStr) -> Option<T>, mut each: impl FnMut(T)) -> io::Result<()> {
        let note = |name: &CStr, _, kind| {
            let Some(parsed) = parse(name) else { return };
            let is_plain = match kind {
                FileType::Unknown => self.sight(name) == Sight::Plain,
                kind => is_plain(kind),
            };
            if is_plain {
                each(parsed);
            }
        };
        System::kinds(self.fd(), false, || (), note)
    }
}
