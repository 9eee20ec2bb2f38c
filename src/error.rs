//! Why a call did not do what it was asked to: a kind to branch on, and a sentence for a person.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::survey::Rival;

/// The kinds of failure. The first three are outcomes to expect, the rest are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another claimant holds the lock or is bidding for it, or another thread is locking this handle.
    Busy,
    /// The time given for waiting is over.
    Timeout,
    /// The wait was cancelled.
    Cancelled,
    /// A bad argument.
    Invalid,
    /// The lock is not held by this handle.
    NotHeld,
    /// The lock is held by this handle already.
    AlreadyHeld,
    /// The lock was held, and its bid is gone: somebody deleted it.
    Lost,
    /// The handle belongs to the parent process.
    Forked,
    /// The system refused; see [`Error::code`].
    Io,
    /// A private folder was asked for, and others can write to this one.
    Unsafe,
    /// This filesystem or system can't carry the lock's promise.
    Unsupported,
    /// A bug of this library, caught.
    Internal,
}

/// What went wrong. Cheap to make: the sentence is composed only when somebody reads it.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    code: i32,
    reason: Reason,
    /// What a person can do about it.
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
        source: String,
    },
    Rival {
        folder: Arc<Path>,
        rival: Arc<Rival>,
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

    /// The handle on this folder `what`. Composed when it is read, so that even a forked child may make it.
    pub(crate) fn misuse(kind: ErrorKind, folder: &Arc<Path>, what: &'static str) -> Self {
        Self::from_reason(kind, Reason::Handle { folder: Arc::clone(folder), what })
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let reason = Reason::System { doing, path: path.into(), source: source.to_string() };
        Self { code: source.raw_os_error().unwrap_or(0), ..Self::from_reason(ErrorKind::Io, reason) }
    }

    pub(crate) fn busy(folder: &Arc<Path>, rival: &Arc<Rival>) -> Self {
        let reason = Reason::Rival { folder: Arc::clone(folder), rival: Arc::clone(rival) };
        Self::from_reason(ErrorKind::Busy, reason)
    }

    fn from_reason(kind: ErrorKind, reason: Reason) -> Self {
        Self { kind, code: 0, reason, advice: None, left_behind: None }
    }

    /// The same story with another outcome: what kept us waiting is why the time ran out.
    pub(crate) fn into_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds what it means and what can be done about it, where the system's own text does not say.
    pub(crate) fn advising(mut self, advice: Option<&'static str>) -> Self {
        self.advice = advice;
        self
    }

    /// Adds that a bid of ours could not be deleted, and so stays in the folder.
    pub(crate) fn leaving(mut self, bid: PathBuf) -> Self {
        self.left_behind = Some(bid);
        self
    }

    /// What to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error number (`errno`) behind it, or 0.
    pub fn code(&self) -> i32 {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Timeout => f.write_str("the time to wait is over: ")?,
            ErrorKind::Cancelled => f.write_str("the wait was cancelled: ")?,
            ErrorKind::Internal => f.write_str("a bug in lockfolder, please report it: ")?,
            _ => {}
        }
        match &self.reason {
            Reason::Text(text) => f.write_str(text)?,
            Reason::Fixed(text) => f.write_str(text)?,
            Reason::System { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display())?,
            Reason::Handle { folder, what } => write!(f, "this handle on the lock folder {} {what}", folder.display())?,
            Reason::Rival { folder, rival } => {
                write!(f, "the lock folder {} is busy: {rival}", folder.display())?;
            }
        }
        if let Some(advice) = self.advice {
            write!(f, " ({advice})")?;
        }
        match &self.left_behind {
            None => Ok(()),
            Some(bid) => write!(
                f,
                "; our bid {} could not be deleted and remains: the next call on this handle tries again, \
                 and it counts as stale once this process has ended",
                bid.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_with_its_outcome_and_says_why() {
        for (kind, beginning) in [
            (ErrorKind::Timeout, "the time to wait is over: "),
            (ErrorKind::Cancelled, "the wait was cancelled: "),
            (ErrorKind::Internal, "a bug in lockfolder, please report it: "),
            (ErrorKind::Busy, ""),
        ] {
            assert_eq!(Error::fixed(kind, "why").to_string(), format!("{beginning}why"));
        }
        let error = Error::io("open", "x", io::Error::from_raw_os_error(2)).into_kind(ErrorKind::Unsupported);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, 2));
        assert!(error.to_string().starts_with("cannot open x: "));
        assert_eq!(Error::io("open", "x", io::Error::other("odd")).code(), 0);
        let odd = || Error::io("open", "x", io::Error::other("odd"));
        assert_eq!(odd().advising(Some("close it")).to_string(), "cannot open x: odd (close it)");
        assert_eq!(odd().advising(None).to_string(), odd().to_string());
    }
}
