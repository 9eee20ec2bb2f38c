//! The reason for a failure: a kind to branch on, a sentence for a person, and the rival that was in the way.
//!
//! All of it is plain data, and this file uses nothing else of the crate: an error that a program keeps holds no descriptor
//! open.

use std::ffi::OsString;
use std::fmt;
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
    /// This filesystem or system can't guarantee that only one process holds the lock.
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

/// The bid that was in the way, and what it says about its owner. Its [`Display`](fmt::Display) is a sentence for a person.
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
/// Its [`Display`](fmt::Display) is a sentence that a person can act on: it names the folder, the file, and the PID,
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

    pub(crate) fn busy(folder: &Arc<Path>, holder: &Arc<Holder>) -> Self {
        let reason = Reason::Busy { folder: Arc::clone(folder), holder: Arc::clone(holder) };
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

/// Text that others wrote is escaped, because it may be shown on a terminal.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_string_lossy();
        let name = name.escape_debug();
        match self.unread {
            Some(Unread::Denied) => {
                return write!(
                    f,
                    "the bid {name} can't be judged: we may not read it, or can't read it now. It counts as live"
                );
            }
            Some(Unread::CutOff(why)) => {
                return write!(
                    f,
                    "the bid {name} can't be judged: {why}, so its owner may be writing it. It counts as live until the \
                     grace of lf_set_malformed_grace is over. If nobody is writing it, delete it"
                );
            }
            Some(Unread::Foreign(why)) => {
                return write!(
                    f,
                    "the file {name} is in the way: it has the name of a bid, but {why}. It counts as live, and we never \
                     delete it. Move it away, or delete it if nobody needs it"
                );
            }
            #[cfg(feature = "etcd")]
            Some(Unread::Mute) => {
                return write!(
                    f,
                    "the key {name} does not say whose it is: another program made it, such as `etcdctl lock`. It is there \
                     until that program ends, or its lease does"
                );
            }
            None => write!(f, "the bid {name}")?,
        }
        if let Some(pid) = self.pid {
            write!(f, " of PID {pid}")?;
        }
        if let Some(command) = &self.command {
            write!(f, " ({})", command.escape_debug())?;
        }
        if let Some(host) = &self.host {
            write!(f, " on host {}", host.escape_debug())?;
        }
        f.write_str(match self.state {
            BidState::Own => " is ours",
            BidState::Live => " is live",
            BidState::Stale => " is stale",
            BidState::Unknown => " can't be judged from here (another host or container), so it counts as live",
            BidState::Malformed => " is malformed",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Timeout => f.write_str("the time to wait is over: ")?,
            ErrorKind::Cancelled => f.write_str("the wait was cancelled: ")?,
            ErrorKind::Internal => f.write_str("an internal error in lockfolder, please report it: ")?,
            _ => {}
        }
        match &self.reason {
            Reason::Text(text) => f.write_str(text)?,
            Reason::Fixed(text) => f.write_str(text)?,
            Reason::System { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display())?,
            Reason::Handle { folder, what } => write!(f, "this handle on the lock folder {} {what}", folder.display())?,
            Reason::Busy { folder, holder } => write!(f, "the lock folder {} is busy: {holder}", folder.display())?,
        }
        if let Some(advice) = self.advice {
            write!(f, " ({advice})")?;
        }
        match &self.left_behind {
            None => Ok(()),
            Some(bid) => write!(
                f,
                "; our bid {} could not be deleted and remains. The next call on this handle tries again. \
                 The bid counts as stale after this process has ended",
                bid.display()
            ),
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
