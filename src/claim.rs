//! The claim: our bid's file, prepared once per handle in the hidden sub-folder, so that publishing it is one cheap and
//! atomic step, and withdrawing it another. It is kept open and locked while the handle lives: the proof of life.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bid::{Bid, Guid, MAX_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Claimed, Dir, FileId, Filesystem, Identity};

/// The one sub-folder that holds whatever is not a bid.
pub(crate) const HIDDEN: &CStr = c".lockfolder";

/// How a bid is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The claim gets a second name in the lock folder.
    Link,
    /// The claim itself moves there and back: for filesystems without hard links.
    Rename,
}

pub(crate) struct Claim {
    hidden: Dir,
    name: Guid,
    file: Claimed,
    how: How,
    me: Arc<Identity>,
    /// False in a forked child: the files are the parent's.
    ours: bool,
}

impl Claim {
    /// Writes the claim. `name` is fresh.
    pub fn prepare(
        hidden: Dir,
        path: &Path,
        me: Arc<Identity>,
        on: Filesystem,
        mut name: impl FnMut() -> io::Result<Guid>,
    ) -> Result<Claim> {
        let content = content(&me);
        // A sweep can take our file for a leftover in the instant between its creation and its lock; not many times.
        for _ in 0..100 {
            let name = name().map_err(|e| Error::io("make a random name in", path, e))?;
            let made = hidden.claim(name.as_c_str(), content.as_bytes(), on.locks_prove_death());
            let made = made.map_err(|e| Error::io("write the claim", join(path, &name), e))?;
            if let Some(file) = made {
                return Ok(Claim { hidden, name, file, how: How::Link, me, ours: true });
            }
        }
        Err(Error::new(ErrorKind::Io, format!("the claims that we write to {} keep vanishing", path.display())))
    }

    /// The claim says who we are as everybody sees it now.
    pub fn is_current(&self) -> bool {
        !self.me.clock_stepped()
    }

    pub fn hidden(&self) -> &Dir {
        &self.hidden
    }

    pub fn name(&self) -> &Guid {
        &self.name
    }

    /// Which file our bid is, whatever its name.
    pub fn id(&self) -> FileId {
        self.file.id
    }

    /// Puts the bid into the folder, whole, in one atomic step.
    pub fn publish(&mut self, folder: &Dir, bid: &Guid) -> io::Result<()> {
        let claim = self.name.as_c_str();
        if self.how == How::Link {
            match self.hidden.link(claim, folder, bid.as_c_str()) {
                Err(e) if Dir::has_no_links(&e) => self.how = How::Rename,
                done => return done,
            }
        }
        self.hidden.rename(claim, folder, bid.as_c_str())
    }

    /// Takes the bid out of the folder, in one atomic step.
    pub fn withdraw(&self, folder: &Dir, bid: &Guid) -> io::Result<()> {
        match self.how {
            How::Link => folder.unlink(bid.as_c_str()),
            How::Rename => folder.rename(bid.as_c_str(), &self.hidden, self.name.as_c_str()),
        }
    }

    /// In a forked child: forgets the claim without touching the parent's files.
    pub fn abandon(mut self) {
        self.ours = false;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.ours {
            let _ = self.hidden.unlink(self.name.as_c_str());
        }
    }
}

fn content(me: &Identity) -> String {
    // A host name has at most 64 bytes (uname(2)) and a command 15 (proc_pid_comm(5)), so this never gets near the limit.
    let bid = Bid {
        pid: me.pid,
        created: Some(me.created),
        start: me.start,
        boot: me.boot.clone(),
        pidns: me.pidns,
        host: Some(me.host.clone()),
        command: Some(me.command.clone()),
    };
    let content = bid.to_json();
    debug_assert!(content.len() <= MAX_BYTES);
    content
}

/// Opens the hidden sub-folder, and makes it first if it is missing: with the lock folder's mode and group, so that
/// whoever may lock may also use it.
pub(crate) fn open_hidden(folder: &Dir) -> io::Result<Dir> {
    let hidden = match folder.open_dir(HIDDEN) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            folder.make_dir(HIDDEN, 0o777)?;
            folder.open_dir(HIDDEN)?
        }
        other => other?,
    };
    let (model, now) = (folder.stat()?, hidden.stat()?);
    // Also when a claimant died between the two steps. Only its owner can; filesystems without modes refuse.
    if (model.mode, model.group) != (now.mode, now.group) {
        let _ = hidden.adopt(&model);
    }
    Ok(hidden)
}

pub(crate) fn join(path: &Path, name: &Guid) -> PathBuf {
    path.join(name.as_c_str().to_string_lossy().as_ref())
}
