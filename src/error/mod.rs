//! The reason for a failure: a kind to branch on, a sentence for a person, and the rival that was in the way.
//!
//! All of it is plain data, and it uses nothing else of the crate: an error that a program keeps holds no descriptor
//! open.

mod text;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kinds of failure. The first three are outcomes to expect, the rest are errors. (`Busy` is a mistake of the program only
/// if another thread is locking the same handle; then [`Error::holder`] is `None`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another claimant holds the lock or bids for it, or another thread's lock call on this handle is in progress.
    Busy,
    /// The time to wait is over.
    Timeout,
    /// The wait was cancelled.
    Cancelled,
    /// A bad argument.
    Invalid,
    /// This handle does not hold the lock.
    NotHeld,
    /// This handle holds the lock already. Also after the bid was lost, until an unlock has reported it.
    AlreadyHeld,
    /// The lock was held, and the bid is gone: somebody deleted it. Others may have held the lock meanwhile.
    Lost,
    /// The handle belongs to the parent process.
    Forked,
    /// The system refused; see [`Error::raw_os_error`].
    Io,
    /// The wrong users have access. A private folder was asked for, and the folder, or what the library keeps in it, has
    /// another owner, or group or others can write to it. Or, from [`Guard::fence`](crate::Guard::fence), whatever the
    /// options: a user who can't delete others' files in the folder could delete tokens.
    Unsafe,
    /// This filesystem or system can't guarantee that only one process holds the lock. Or the call has no meaning where the
    /// lock is, as on etcd.
    Unsupported,
    /// An internal error in the library.
    Internal,
}

/// The state of a bid: what is known of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BidState {
    /// The owner is this handle.
    Own,
    /// The owner is alive.
    Live,
    /// The owner is provably gone.
    Stale,
    /// The owner can't be judged from here: it is on another host or in another container, or we may not read the bid. It
    /// counts as live.
    Unknown,
    /// The file is named like a bid but is cut off, or is not a bid. It counts as live.
    Malformed,
}

/// How far a lock reaches: which processes it keeps apart. The filesystem of the folder decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// All processes of this host, in all its containers. Only this host writes to the filesystem.
    Host,
    /// As [`Host`](Reach::Host), if all of them use the folder through this same overlay.
    Overlay,
    /// All processes of all hosts that mount the filesystem. A holder has a lease.
    Hosts,
    /// Only what the caller vouched for, with [`OpenOptions::trust_filesystem`](crate::OpenOptions::trust_filesystem).
    Vouched,
}

/// The bid that was in the way, and what it says about its owner. Its [`Display`](std::fmt::Display) is a sentence for a person.
/// Any user of the folder may have written any characters into `host` and `command`: escape them before you print them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The bid's file name in the lock folder.
    pub name: OsString,
    /// The owner's PID, in its own PID namespace. `None` if the bid can't be read.
    pub pid: Option<u32>,
    /// The owner's command name. `None` if the bid does not say.
    pub command: Option<String>,
    /// The owner's host name. `None` if the bid does not say.
    pub host: Option<String>,
    /// The state of the bid.
    pub state: BidState,
    /// The reason why no owner can be read from it.
    pub(crate) unread: Option<Unread>,
}

/// The reason why a bid names no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// We may not read it, or can't read it now.
    Denied,
    /// Its owner may be writing it.
    CutOff(&'static str),
    /// It is somebody else's file.
    Foreign(&'static str),
    /// Another program made it, which does not say who it is.
    #[cfg(feature = "etcd")]
    Mute,
}

/// The reason for a failure.
///
/// Its [`Display`](std::fmt::Display) is a sentence that a person can act on: it names the folder, the file, and the PID,
/// command and host of the holder. The sentence is composed only when somebody reads it. An error is plain data: it can be
/// cloned, kept and sent to other threads, and it holds nothing of the folder open.
///
/// ```
/// use lockfolder::{ErrorKind, LockFolder};
/// # let path = std::env::temp_dir().join(format!("lockfolder-doc-error-{}", std::process::id()));
/// let (ours, theirs) = (LockFolder::open(&path)?, LockFolder::open(&path)?);
/// let guard = theirs.lock()?;
/// let error = ours.try_lock().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Busy);
/// assert_eq!(error.holder().unwrap().pid, Some(std::process::id()));
/// # drop((ours, theirs, guard));
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), lockfolder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    reason: Reason,
    /// What a person can do against it.
    advice: Option<&'static str>,
    left_behind: Option<PathBuf>,
}

/// In what way a rival keeps us out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It and we do not tolerate each other.
    Alone,
    /// It has the last one of so many places.
    Places(u32),
    /// It keeps out a claimant that waits, and that claimant comes before us.
    ForAnother,
}

#[derive(Clone, Debug)]
enum Reason {
    Text(String),
    Fixed(&'static str),
    /// `doing` reads like "publish the bid": "cannot publish the bid <path>: <the system's text>".
    System {
        doing: &'static str,
        path: PathBuf,
        /// Shared, because it can't be cloned.
        source: Arc<io::Error>,
    },
    Busy {
        folder: Arc<Path>,
        holder: Arc<Holder>,
        why: Taken,
    },
    Handle {
        folder: Arc<Path>,
        what: &'static str,
    },
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self::from_reason(kind, Reason::Text(text.into()))
    }

    pub(crate) fn fixed(kind: ErrorKind, text: &'static str) -> Self {
        Self::from_reason(kind, Reason::Fixed(text))
    }

    /// "This handle on the lock folder … `what`". The text is composed when somebody reads it, so even a forked child may
    /// make such an error.
    pub(crate) fn misuse(kind: ErrorKind, folder: &Arc<Path>, what: &'static str) -> Self {
        Self::from_reason(kind, Reason::Handle { folder: Arc::clone(folder), what })
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::from_reason(ErrorKind::Io, Reason::System { doing, path: path.into(), source: Arc::new(source) })
    }

    pub(crate) fn busy(folder: &Arc<Path>, holder: &Arc<Holder>, why: Taken) -> Self {
        let reason = Reason::Busy { folder: Arc::clone(folder), holder: Arc::clone(holder), why };
        Self::from_reason(ErrorKind::Busy, reason)
    }

    fn from_reason(kind: ErrorKind, reason: Reason) -> Self {
        Self { kind, reason, advice: None, left_behind: None }
    }

    /// The same reason with another kind: the rival that kept us waiting is the reason for the time-out too.
    pub(crate) fn into_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds what it means and what a person can do, if the system's own text does not say it.
    pub(crate) fn advising(mut self, advice: Option<&'static str>) -> Self {
        self.advice = advice;
        self
    }

    /// Adds that a bid of ours could not be deleted and stays in the folder.
    pub(crate) fn leaving(mut self, bid: PathBuf) -> Self {
        self.left_behind = Some(bid);
        self
    }

    /// The system's error.
    pub(crate) fn io_error(&self) -> Option<&io::Error> {
        match &self.reason {
            Reason::System { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The kind of failure, to branch on.
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// let error = LockFolder::open("").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Invalid);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error number (`errno`; on Windows the `GetLastError` value), if a system call failed.
    /// [`source`](std::error::Error::source) gives the whole [`io::Error`].
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// use lockfolder::LockFolder;
    /// let error = LockFolder::options().create(false).open("/there/is/no/such/folder").unwrap_err();
    /// # #[cfg(unix)]
    /// assert_eq!(error.raw_os_error(), Some(2)); // ENOENT
    /// let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
    /// assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }

    /// The claimant that was in the way, if there was one: it held the lock or bid for it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-holder-{}", std::process::id()));
    /// let (ours, theirs) = (LockFolder::open(&path)?, LockFolder::open(&path)?);
    /// let guard = theirs.lock()?;
    /// let error = ours.lock_timeout(Duration::from_millis(10)).unwrap_err();
    /// if let Some(holder) = error.holder() {
    ///     println!("PID {:?} ({:?}) on {:?} has it", holder.pid, holder.command, holder.host);
    /// }
    /// # assert_eq!(error.holder().unwrap().pid, Some(std::process::id()));
    /// # drop((ours, theirs, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.reason {
            Reason::Busy { holder, .. } => Some(holder),
            _ => None,
        }
    }
}

impl std::error::Error for Error {
    /// The [`io::Error`] of the system call that failed, if one did.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_path_reaches_the_terminal_raw() {
        let path = PathBuf::from("/tmp/\u{1b}]0;owned\u{7}/é\n\u{9b}x");
        let io = Error::io("open", &*path, io::Error::from_raw_os_error(2)).leaving(path.clone());
        let text = Error::new(ErrorKind::Busy, format!("held: {}", path.display()));
        for error in [io, text, Error::misuse(ErrorKind::NotHeld, &path.as_path().into(), "holds nothing")] {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            assert!(message.contains("/tmp/\\u{1b}]0;owned\\u{7}/é\\n\\u{9b}x"), "{message}");
        }
    }

    #[test]
    fn a_message_begins_with_its_outcome_and_says_why() {
        for (kind, beginning) in [
            (ErrorKind::Timeout, "the time to wait is over: "),
            (ErrorKind::Cancelled, "the wait was cancelled: "),
            (ErrorKind::Internal, "an internal error in lockfolder, please report it: "),
            (ErrorKind::Busy, ""),
        ] {
            assert_eq!(Error::fixed(kind, "why").to_string(), format!("{beginning}why"));
        }
        let error = Error::io("open", "x", io::Error::from_raw_os_error(2)).into_kind(ErrorKind::Unsupported);
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Unsupported, Some(2)));
        assert!(error.to_string().starts_with("cannot open x: "));
        assert_eq!(Error::io("open", "x", io::Error::other("odd")).raw_os_error(), None);
        let odd = || Error::io("open", "x", io::Error::other("odd"));
        assert_eq!(odd().advising(Some("close it")).to_string(), "cannot open x: odd (close it)");
        assert_eq!(odd().advising(None).to_string(), odd().to_string());
    }
}
