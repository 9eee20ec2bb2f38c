//! The lock, held: [`Guard`]. It is bound to the bid that won.

use std::fmt;
use std::time::Duration;

use crate::api::lock_folder::LockFolder;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::owner::bid::BidName;

impl LockFolder {
    /// Waits for the lock, for ever: first come, first served, and asleep meanwhile. Signals don't end it;
    /// [`LockFolder::cancel`] does.
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::try_lock`] ([`ErrorKind::Busy`] only while another thread locks this handle), and
    /// [`ErrorKind::Cancelled`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-lock-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let guard = folder.lock()?;
    /// // ... work that nobody else may do meanwhile ...
    /// guard.unlock()?; // or drop it
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn lock(&self) -> Result<Guard> {
        self.handle().acquire_within(None).map(|()| self.guard())
    }

    /// Waits for the lock, for so long at most, by the monotonic clock. Zero is [`LockFolder::try_lock`], but with
    /// [`ErrorKind::Timeout`] where that says [`ErrorKind::Busy`].
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::lock`], and [`ErrorKind::Timeout`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-timeout-{}", std::process::id()));
    /// let (ours, theirs) = (LockFolder::open(&path)?, LockFolder::open(&path)?);
    /// let guard = theirs.lock()?;
    /// let error = ours.lock_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// println!("{error}"); // who had it
    /// # drop((ours, theirs, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard> {
        self.handle().acquire_within(Some(timeout)).map(|()| self.guard())
    }

    /// Takes the lock if it is free: one round of check-bid-check, which never waits for another's critical section. It may
    /// overtake those who wait, but not for more than about 100 ms: then it leaves the lock, for a few milliseconds at most, to
    /// the first of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`]: it is not free; [`Error::holder`] says who has it. [`ErrorKind::AlreadyHeld`],
    /// [`ErrorKind::Forked`], [`ErrorKind::Io`]; [`ErrorKind::Unsafe`] or [`ErrorKind::Unsupported`] if another folder is at the
    /// path than before, or a listing misses our own bid. After an error no bid of ours is left in the folder, or else the error
    /// says which one.
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-try-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// match folder.try_lock() {
    ///     Ok(guard) => { /* ... work that nobody else may do meanwhile ... */ }
    ///     Err(error) if error.kind() == ErrorKind::Busy => println!("another time: {error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Guard> {
        self.handle().acquire().map(|()| self.guard())
    }

    /// The guard of the lock that this thread took just now.
    fn guard(&self) -> Guard {
        let bid = self.handle().claimant().held().expect("only a guard gives it back, and there is none yet");
        Guard::new(self.shared(), bid)
    }
}

/// The lock, held. Dropping it unlocks; [`Guard::unlock`] does so too, and says whether it went well.
///
/// It owns what it needs: it can be sent to another thread or task, be stored beside its [`LockFolder`], and outlive it. It is
/// bound to the bid that won, so it never unlocks a later lock of the same handle. In a forked child it does nothing: the
/// parent keeps its lock. A forgotten guard ([`std::mem::forget`]) keeps the lock until the process ends.
///
/// ```
/// use lockfolder::LockFolder;
/// # let path = std::env::temp_dir().join(format!("lockfolder-doc-guard-{}", std::process::id()));
/// let folder = LockFolder::open(&path)?;
/// let guard = folder.lock()?;
/// let worker = std::thread::spawn(move || {
///     // ... work that nobody else may do meanwhile ...
///     drop(guard);
/// });
/// worker.join().unwrap();
/// assert!(folder.try_lock().is_ok());
/// # drop(folder);
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), lockfolder::Error>(())
/// ```
#[must_use = "dropping the guard unlocks"]
pub struct Guard {
    folder: LockFolder,
    bid: BidName,
}

impl Guard {
    /// The handle took the lock just now, by this bid.
    pub(crate) fn new(folder: LockFolder, bid: BidName) -> Guard {
        Guard { folder, bid }
    }

    /// Unlocks: deletes the bid. It looks at the bid's name alone. [`Guard::holds`] also tells whether another folder took the place of
    /// ours, or another file that of our bid.
    ///
    /// # Errors
    ///
    /// The error gives the guard back. [`Io`](crate::ErrorKind::Io): the bid could not be deleted and the lock is still held, so
    /// try again with [`UnlockError::into_guard`]. [`Lost`](crate::ErrorKind::Lost): somebody had deleted the bid, others may have
    /// been in, and the lock is no longer held. [`Forked`](crate::ErrorKind::Forked): the lock is the parent's.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-unlock-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let guard = folder.lock()?;
    /// if let Err(failed) = guard.unlock() {
    ///     eprintln!("{failed}");
    ///     failed.into_guard().unlock()?; // try again
    /// }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn unlock(self) -> Result<(), UnlockError> {
        let unlocked = self.folder.handle().holding(&self.bid).and_then(|mut claimant| claimant.unlock());
        // After a success, the drop of `self` finds that this bid is no longer held, and does nothing.
        unlocked.map_err(|error| UnlockError::new(error, self))
    }

    /// Succeeds if the lock is held and its bid is still in the folder, and the folder is still at its path.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost): the bid, or the folder itself, is gone. [`Io`](crate::ErrorKind::Io): the system does
    /// not say. [`NotHeld`](crate::ErrorKind::NotHeld): an unlock found that it was lost. [`Forked`](crate::ErrorKind::Forked).
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-holds-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let guard = folder.lock()?;
    /// guard.holds()?;
    ///
    /// // A cleaner of old files that should not have done it.
    /// std::fs::remove_file(path.join(&folder.bids()?[0].name)).unwrap();
    /// assert_eq!(guard.holds().unwrap_err().kind(), ErrorKind::Lost);
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn holds(&self) -> Result<()> {
        self.folder.handle().holding(&self.bid)?.holds()
    }

    /// A fencing token: larger than every token given before in this folder, also across crashes and power loss (it is on the
    /// disk before it is given out). Hand it to the resource, which refuses any smaller one than it has seen. Deleting the
    /// folder starts the count anew.
    ///
    /// # Errors
    ///
    /// As [`Guard::holds`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-fence-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let earlier = folder.lock()?.fence()?;
    /// let later = folder.lock()?.fence()?;
    /// assert!(later > earlier);
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn fence(&self) -> Result<u64> {
        self.folder.handle().holding(&self.bid)?.fence()
    }

    /// The handle that holds the lock.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-folder-{}", std::process::id()));
    /// let guard = LockFolder::open(&path)?.lock()?;
    /// assert_eq!(guard.folder().path(), path);
    /// # drop(guard);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn folder(&self) -> &LockFolder {
        &self.folder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.folder.handle().holding(&self.bid).map(|mut claimant| claimant.let_go());
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("folder", &self.folder).field("bid", &self.bid.as_c_str()).finish()
    }
}

/// An unlock that failed. It has the guard, so you can try again. Dropping it tries once more, and says nothing.
///
/// `?` makes an [`Error`] of it.
///
/// ```
/// use lockfolder::{ErrorKind, LockFolder};
/// # let path = std::env::temp_dir().join(format!("lockfolder-doc-failed-{}", std::process::id()));
/// let folder = LockFolder::open(&path)?;
/// let guard = folder.lock()?;
/// std::fs::remove_file(path.join(&folder.bids()?[0].name)).unwrap(); // as nobody should
/// let failed = guard.unlock().unwrap_err();
/// assert_eq!(failed.error().kind(), ErrorKind::Lost);
/// # drop((folder, failed));
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), lockfolder::Error>(())
/// ```
#[derive(Debug)]
pub struct UnlockError(Box<(Error, Guard)>);

impl UnlockError {
    fn new(error: Error, guard: Guard) -> UnlockError {
        UnlockError(Box::new((error, guard)))
    }

    /// Why it failed.
    ///
    /// ```
    /// # fn example(guard: lockfolder::Guard) {
    /// if let Err(failed) = guard.unlock() {
    ///     eprintln!("{:?}: {failed}", failed.error().kind());
    /// }
    /// # }
    /// ```
    pub fn error(&self) -> &Error {
        &self.0 .0
    }

    /// The guard, to try again. After [`ErrorKind::Lost`](crate::ErrorKind::Lost) it holds nothing, and there is nothing to try.
    ///
    /// ```
    /// use lockfolder::{ErrorKind, Guard};
    ///
    /// fn unlock_patiently(mut guard: Guard) -> Result<(), lockfolder::Error> {
    ///     for _ in 0..10 {
    ///         guard = match guard.unlock() {
    ///             Err(failed) if failed.error().kind() == ErrorKind::Io => failed.into_guard(),
    ///             done => return Ok(done?),
    ///         };
    ///         std::thread::sleep(std::time::Duration::from_millis(100));
    ///     }
    ///     Ok(guard.unlock()?)
    /// }
    /// ```
    pub fn into_guard(self) -> Guard {
        self.0 .1
    }
}

impl fmt::Display for UnlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for UnlockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.error())
    }
}

/// Drops the guard, which tries once more.
impl From<UnlockError> for Error {
    fn from(failed: UnlockError) -> Error {
        failed.0 .0
    }
}
