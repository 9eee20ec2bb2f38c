//! The held lock: [`Guard`]. It belongs to the bid that won.

use std::fmt;
use std::time::Duration;

use crate::api::lock_folder::LockFolder;
use crate::api::place::AnyPlace;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::protocol::{Place, Session};

impl LockFolder {
    /// Waits for the lock, for ever. (It does not wait for another thread that locks this same handle.)
    ///
    /// Callers that wait are served first come, first served, and they sleep meanwhile. Signals do not end the wait;
    /// [`LockFolder::cancel`] does.
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::try_lock`], and [`ErrorKind::Cancelled`]. [`ErrorKind::Busy`] only if another thread's lock
    /// call on this handle is in progress.
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

    /// Waits for the lock, for at most this time on the monotonic clock.
    ///
    /// With zero it does not wait: if another claimant has the lock, it fails with [`ErrorKind::Timeout`], where
    /// [`LockFolder::try_lock`] fails with [`ErrorKind::Busy`].
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

    /// Takes the lock if it is free.
    ///
    /// It makes one round of check-bid-check, and never waits until another claimant unlocks. For about 100 ms it may go ahead
    /// of callers that wait. Then it gives the first waiter a few milliseconds to take the lock, and fails with
    /// [`ErrorKind::Busy`] if that waiter takes it.
    ///
    /// A failed attempt leaves no bid of its own. If the bid can't be deleted, the message names it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`]: the lock is not free; [`Error::holder`] says who has it (`None`: another thread is locking this
    /// handle). [`ErrorKind::AlreadyHeld`]: this
    /// handle holds the lock; also after the bid was lost, until an unlock has reported it. [`ErrorKind::Io`].
    /// [`ErrorKind::Unsafe`]: a private folder was asked for, and the folder, or what the library keeps in it, is not
    /// private now. [`ErrorKind::Unsupported`]: the folder at the path was replaced, and [`LockFolder::open`] would refuse
    /// the new one, or a listing does not show our own bid, or `/proc` can't be read. [`ErrorKind::Forked`].
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

    /// The guard of the lock that this thread has just taken.
    pub(crate) fn guard(&self) -> Guard {
        let bid = self.handle().claimant().held().expect("only a guard gives it back, and there is none yet");
        Guard::new(self.shared(), bid)
    }
}

/// The held lock. Dropping the guard unlocks. [`Guard::unlock`] does so too, and reports an error.
///
/// A guard owns what it needs: you can send it to another thread or task, store it beside its [`LockFolder`], and keep it
/// longer than that. It belongs to the bid that won, so it never unlocks a later lock of the same handle. In a forked child
/// it does nothing: the parent keeps its lock. A forgotten guard ([`std::mem::forget`]) keeps the lock until the process
/// ends.
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
    bid: <AnyPlace as Place>::Bid,
}

impl Guard {
    /// The handle has just taken the lock with this bid.
    pub(crate) fn new(folder: LockFolder, bid: <AnyPlace as Place>::Bid) -> Guard {
        Guard { folder, bid }
    }

    /// Unlocks: deletes the bid.
    ///
    /// It goes by the name of the bid. It does not notice if the folder, or the file of the bid, was replaced while the
    /// lock was held. If that can happen, call [`Guard::holds`] first.
    ///
    /// # Errors
    ///
    /// The error gives the guard back. [`Io`](crate::ErrorKind::Io): the bid could not be deleted and the lock is still
    /// held; you can try again with [`UnlockError::into_guard`]. [`Lost`](crate::ErrorKind::Lost): somebody deleted the
    /// bid, others may have held the lock meanwhile, and this guard no longer holds it.
    /// [`NotHeld`](crate::ErrorKind::NotHeld): an earlier unlock reported the loss. [`Forked`](crate::ErrorKind::Forked):
    /// the lock belongs to the parent.
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-unlock-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// let guard = folder.lock()?;
    /// if let Err(failed) = guard.unlock() {
    ///     eprintln!("{failed}");
    ///     if failed.error().kind() == ErrorKind::Io {
    ///         failed.into_guard().unlock()?; // the lock is still held: try again
    ///     }
    /// }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn unlock(self) -> Result<(), UnlockError> {
        let unlocked = self.folder.handle().call_holding(&self.bid, Session::unlock);
        // After a success, the drop of `self` finds that this bid is no longer held, and does nothing.
        unlocked.map_err(|error| UnlockError::new(error, self))
    }

    /// Checks that the lock is held, that its bid is still in the folder, and that the folder is still at its path.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost): the bid, or the folder itself, is gone or was replaced.
    /// [`Io`](crate::ErrorKind::Io): the system refused to tell. [`NotHeld`](crate::ErrorKind::NotHeld): an earlier unlock
    /// reported the loss. [`Forked`](crate::ErrorKind::Forked).
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
        self.folder.handle().call_holding(&self.bid, |claimant| claimant.holds())
    }

    /// Gives a fencing token: a number that is larger than every earlier one of this folder.
    ///
    /// Each call gives a new, larger number, also after crashes and power loss (it is on the disk before the call returns).
    /// Hand it to the resource, which refuses any number smaller than the largest that it has seen. If the folder is
    /// deleted, the numbers begin again.
    ///
    /// Where several hold the lock together ([`LockFolder::set_slots`]), no two get the same number, and each number is larger
    /// than those of all that had left before its owner came. The holders of one moment have smaller and larger numbers, so
    /// there a smaller number does not show that its owner has lost the lock. On etcd all calls during one lock give one number.
    ///
    /// # Errors
    ///
    /// Those of [`Guard::holds`]. [`Unsafe`](crate::ErrorKind::Unsafe): the sub-folder's permissions are weaker than the
    /// folder's, so a user who can't delete others' files in the folder could delete tokens.
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
        self.folder.handle().call_holding(&self.bid, Session::fence)
    }

    /// Renews the lease now.
    ///
    /// A lease is there where other hosts can write to the folder: see `docs/filesystems.md`. A thread of the library renews it, unless
    /// [`renew_in_thread`](crate::OpenOptions::renew_in_thread) is off. Without a lease this does nothing.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost): the lease is over, or another claimant took it over. [`Io`](crate::ErrorKind::Io): this try
    /// failed, and the lock is still held ([`Guard::valid_for`] says for how long), so try again.
    /// [`NotHeld`](crate::ErrorKind::NotHeld), [`Forked`](crate::ErrorKind::Forked).
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-renew-{}", std::process::id()));
    /// let guard = LockFolder::open(&path)?.lock()?;
    /// guard.renew()?;
    /// # drop(guard);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn renew(&self) -> Result<()> {
        self.folder.handle().call_holding(&self.bid, |claimant| claimant.renew())
    }

    /// For how long it is certain that we hold the lock, without another renewal of the lease. `None`: for as long as this process lives,
    /// because there is no lease.
    ///
    /// A virtual machine that is paused from outside can't know it. So a program that may be paused between this call and its work uses
    /// [`Guard::fence`] too.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost), [`NotHeld`](crate::ErrorKind::NotHeld), [`Forked`](crate::ErrorKind::Forked).
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-valid-{}", std::process::id()));
    /// let guard = LockFolder::open(&path)?.lock()?;
    /// assert_eq!(guard.valid_for()?, None); // a local filesystem
    /// # drop(guard);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn valid_for(&self) -> Result<Option<Duration>> {
        self.folder.handle().call_holding(&self.bid, |claimant| claimant.valid_for())
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
    #[must_use]
    pub fn folder(&self) -> &LockFolder {
        &self.folder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.folder.handle().call_holding(&self.bid, |claimant| {
            claimant.let_go();
            Ok(())
        });
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("folder", &self.folder).field("bid", &self.bid).finish()
    }
}

/// An unlock that failed. It contains the guard, so you can try again. Dropping it tries once more, and reports nothing.
///
/// `?` converts it into an [`Error`].
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

    /// The reason for the failure.
    ///
    /// ```
    /// # fn example(guard: lockfolder::Guard) {
    /// if let Err(failed) = guard.unlock() {
    ///     eprintln!("{:?}: {failed}", failed.error().kind());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0 .0
    }

    /// Gives the guard back, to try again. After [`ErrorKind::Lost`](crate::ErrorKind::Lost) it holds nothing, and another
    /// try is useless.
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

/// Drops the guard, which tries to unlock once more. The result of that is not reported: this error stays.
impl From<UnlockError> for Error {
    fn from(failed: UnlockError) -> Error {
        failed.0 .0
    }
}
