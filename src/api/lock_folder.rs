//! The handle that everybody uses: [`LockFolder`], which any thread may call.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::api::handle::Handle;
use crate::api::options::OpenOptions;
use crate::api::snapshot::BidInfo;
use crate::error::Result;
#[cfg(doc)]
use crate::error::{Error, ErrorKind};

/// One claimant on one lock folder.
///
/// Any thread may call any method at any time. Two handles exclude each other, in one process too: threads that should
/// exclude each other open a handle each. Locking a handle that holds is [`ErrorKind::AlreadyHeld`]; while another thread locks
/// the same handle, it is [`ErrorKind::Busy`]. In a forked child every method fails with [`ErrorKind::Forked`], and dropping
/// the handle or its guard leaves the folder alone.
///
/// The lock belongs to the [`Guard`](crate::Guard): a handle that is dropped before its guard lets it keep the lock.
///
/// ```
/// use lockfolder::LockFolder;
/// # let path = std::env::temp_dir().join(format!("lockfolder-doc-handle-{}", std::process::id()));
/// let folder = LockFolder::open(&path)?;
/// {
///     let _guard = folder.lock()?;
///     // ... work that nobody else may do meanwhile ...
/// }
/// # drop(folder);
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), lockfolder::Error>(())
/// ```
pub struct LockFolder {
    handle: Arc<Handle>,
}

impl LockFolder {
    /// Opens a lock folder, and makes it if it is missing (one level). Locks nothing. A relative path is resolved here and now;
    /// each lock then uses the folder that is at the resolved path at that time.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-open-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// assert!(path.is_dir());
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<LockFolder> {
        OpenOptions::new().open(path)
    }

    /// Options to open a lock folder in another way. The same as [`OpenOptions::new`], without the import.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-optional-{}", std::process::id()));
    /// # std::fs::create_dir(&path).unwrap();
    /// let folder = LockFolder::options().create(false).open(&path)?;
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// The folder's path, absolute.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-path-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// assert_eq!(folder.path(), path);
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Makes a wait in progress on this handle fail with [`ErrorKind::Cancelled`]; without one it does nothing, and a later wait
    /// is not affected. Async-signal-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`].
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-cancel-{}", std::process::id()));
    /// let (ours, theirs) = (LockFolder::open(&path)?, LockFolder::open(&path)?);
    /// let guard = theirs.lock()?;
    /// std::thread::scope(|scope| {
    ///     let waiter = scope.spawn(|| ours.lock().map(drop));
    ///     while !waiter.is_finished() {
    ///         ours.cancel().unwrap(); // the first ones may come before the wait has begun
    ///     }
    ///     assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    /// });
    /// # drop((ours, theirs, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn cancel(&self) -> Result<()> {
        self.handle.cancel()
    }

    /// Succeeds if the handle holds the lock, by whichever [`Guard`](crate::Guard), and the bid is still in the folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotHeld`], or those of [`Guard::holds`](crate::Guard::holds).
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-held-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// assert_eq!(folder.holds().unwrap_err().kind(), ErrorKind::NotHeld);
    /// let guard = folder.lock()?;
    /// folder.holds()?;
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn holds(&self) -> Result<()> {
        self.handle.enter()?.holds()
    }

    /// Whether any other claimant's bid is there that is not stale. Changes nothing in the folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`], [`ErrorKind::Forked`]; [`ErrorKind::Unsafe`] or [`ErrorKind::Unsupported`] if another folder is at
    /// the path than before.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-use-{}", std::process::id()));
    /// let (ours, theirs) = (LockFolder::open(&path)?, LockFolder::open(&path)?);
    /// assert!(!ours.in_use()?);
    /// let guard = theirs.lock()?;
    /// assert!(ours.in_use()?);
    /// # drop((ours, theirs, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn in_use(&self) -> Result<bool> {
        self.handle.enter()?.in_use()
    }

    /// Deletes every bid whose owner is provably gone, and says how many; deletes their other leftovers too. Every lock does
    /// this, so it is only for tidiness.
    ///
    /// # Errors
    ///
    /// As [`LockFolder::in_use`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-reap-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// # #[cfg(target_os = "linux")] {
    /// // No PID of Linux is so large.
    /// std::fs::write(path.join("01890a5d-ac96-774b-bcce-b302099a8057.json"), r#"{"PID": 4194304}"#).unwrap();
    /// assert_eq!(folder.reap_stale()?, 1);
    /// # }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn reap_stale(&self) -> Result<usize> {
        self.handle.enter()?.reap_stale()
    }

    /// Every bid in the folder, with the state of each, by name. Our own is among them while we hold. Changes nothing in the
    /// folder.
    ///
    /// # Errors
    ///
    /// As [`LockFolder::in_use`].
    ///
    /// ```
    /// use lockfolder::{BidState, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-bids-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let guard = folder.lock()?;
    /// for bid in folder.bids()? {
    ///     println!("{:?} {:?} {:?} {:?}", bid.state, bid.pid, bid.command, bid.age);
    /// }
    /// # assert_eq!(folder.bids()?[0].state, BidState::Own);
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn bids(&self) -> Result<Vec<BidInfo>> {
        self.handle.enter()?.bids()
    }

    /// After how long a bid that is *cut off* (empty, or the beginning of a JSON object that breaks off) counts as stale; zero (the
    /// default): never. It is counted in whole milliseconds, rounded up. A Python peer may be between its open and its write, so
    /// give it seconds. It has no effect on what is no bid at all: that counts as live for ever.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-grace-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// folder.set_malformed_grace(Duration::from_secs(10))?;
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn set_malformed_grace(&self, grace: Duration) -> Result<()> {
        let grace_ms = grace.as_nanos().div_ceil(1_000_000);
        self.handle.enter()?.place.malformed_grace_ms = u32::try_from(grace_ms).unwrap_or(u32::MAX);
        Ok(())
    }

    /// What it shares with its guard.
    /// The same handle once more.
    pub(crate) fn shared(&self) -> LockFolder {
        LockFolder { handle: Arc::clone(&self.handle) }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl OpenOptions {
    /// Opens a lock folder in this way. Locks nothing. A relative path is resolved here and now.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) (an empty path), [`Io`](crate::ErrorKind::Io),
    /// [`Unsafe`](crate::ErrorKind::Unsafe) (see [`private`](Self::private)), or
    /// [`Unsupported`](crate::ErrorKind::Unsupported) (a filesystem that is not known to carry the lock, or no `/proc`).
    ///
    /// ```
    /// use lockfolder::OpenOptions;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-opened-{}", std::process::id()));
    /// let mut options = OpenOptions::new();
    /// options.private(true);
    /// let folder = options.open(&path)?;
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn open(&self, path: impl AsRef<Path>) -> Result<LockFolder> {
        Ok(LockFolder { handle: Arc::new(Handle::open(path.as_ref(), *self)?) })
    }
}

impl fmt::Debug for LockFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockFolder").field("path", &self.handle.path).finish_non_exhaustive()
    }
}
