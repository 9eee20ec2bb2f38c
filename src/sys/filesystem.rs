//! What the lock must know about a filesystem.

use std::fmt;

/// Whether a claimant locks its claim, as a proof that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A filesystem without such locks is an error.
    Needed,
    /// It does without, if the filesystem has no such locks.
    Tried,
    /// It does not ask for a lock. A server may forget locks or keep those of a dead host, and a lock on SMB keeps others from
    /// reading the file. The lease decides there.
    None,
}

/// The promises of a filesystem on which this lock can rely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // other systems use only some of these
pub(crate) enum Filesystem {
    /// Only this kernel writes to it. Listings through a kept descriptor are fresh, locks on files prove life, and a bid of
    /// another boot is stale. A file keeps its number, and all its names have that number. A listing comes in pieces, and each
    /// piece except the last fills the buffer, unless a signal comes. So a piece that leaves room is the last one, and a glance sees all
    /// names, as a rule.
    Local,
    /// The same as [`Filesystem::Local`], as far as the name of its type tells. We do not know how it numbers and lists its files.
    LocalByName,
    /// The same as [`Filesystem::Local`], but it shows the files of other filesystems, and processes can reach those files
    /// directly too. A lock that is taken through the overlay is not seen on the other filesystem, nor the other way round.
    Overlay,
    /// Other hosts can write to it too.
    Shared(Shared),
    /// The caller vouches for it (`LF_OPEN_TRUST_FILESYSTEM`). We rely only on a listing opened anew.
    Trusted,
}

/// A filesystem that other hosts can write to. Real clients showed that a listing opened anew after a link of one's own
/// has each bid that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux says how a filesystem is mounted
pub(crate) enum Shared {
    Nfs3,
    Nfs4,
    GlusterFs,
}

impl Filesystem {
    /// Whether only this kernel writes to it.
    pub fn is_local(self) -> bool {
        !self.is_shared() && self != Filesystem::Trusted
    }

    /// Whether other hosts may hold the lock.
    pub fn is_shared(self) -> bool {
        matches!(self, Filesystem::Shared(_))
    }

    pub fn is_overlay(self) -> bool {
        self == Filesystem::Overlay
    }

    /// Whether a changed file number proves that the file is another one.
    pub fn has_stable_numbers(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    /// Whether it certainly has hard links.
    pub fn has_links(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    pub fn lists_in_full_pieces(self) -> bool {
        matches!(self, Filesystem::Local | Filesystem::Overlay)
    }

    pub fn proof(self) -> Proof {
        match self {
            _ if self.is_shared() => Proof::None,
            _ if self.locks_prove_death() => Proof::Needed,
            _ => Proof::Tried,
        }
    }

    /// Whether a free advisory lock proves that its owner is gone. A server that is started again forgets the locks of live
    /// owners (seen with GlusterFS).
    pub fn locks_prove_death(self) -> bool {
        self.is_local()
    }
}

/// Why a filesystem is refused, and what the user can do. Its text ends the sentence "the lock folder is on …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The type of the filesystem.
    kind: String,
    mount_point: Option<String>,
    why: String,
    way_out: String,
}

impl Refusal {
    /// Refuses a filesystem about which we know only its type.
    pub fn unknown(kind: &str) -> Refusal {
        Refusal::unfit(kind, UNTRIED, &vouch_if(ALONE))
    }

    /// Refuses a filesystem that may hide a bid, or keep claimants waiting.
    pub fn unfit(kind: &str, reason: &str, way_out: &str) -> Refusal {
        Refusal::new(kind, &format!("on which this lock is not known to work: {reason}"), way_out)
    }

    pub fn new(kind: &str, why: &str, way_out: &str) -> Refusal {
        Refusal { kind: kind.to_owned(), mount_point: None, why: why.to_owned(), way_out: way_out.to_owned() }
    }

    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux shows us the mount
    pub fn at(self, mount_point: &str) -> Refusal {
        Refusal { mount_point: Some(mount_point.to_owned()), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A user can choose the type of a FUSE filesystem, and where it is mounted. The message may be shown on a terminal.
        write!(f, "a filesystem ({})", self.kind.escape_debug())?;
        if let Some(at) = &self.mount_point {
            write!(f, " mounted at {}", at.escape_debug())?;
        }
        write!(f, " {}. {}", self.why.escape_debug(), self.way_out)
    }
}

pub(super) const UNTRIED: &str = "nobody has tried it yet";

/// When a caller can vouch for a filesystem that nobody has tried.
pub(super) const ALONE: &str = "all claimants use this one mount, or its caches are off";

pub(super) fn vouch_if(condition: &str) -> String {
    format!("If {condition}, pass LF_OPEN_TRUST_FILESYSTEM")
}
