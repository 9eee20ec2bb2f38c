//! The handle of users: [`LockFolder`], which any thread may call.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::api::handle::Handle;
use crate::api::options::OpenOptions;
use crate::api::snapshot::{BidInfo, WaiterInfo};
#[cfg(doc)]
use crate::error::{Error, ErrorKind};
use crate::error::{Reach, Result};
use crate::protocol::Session;
use crate::slots::Slots;
#[cfg(unix)]
use crate::sys::Alarm;

/// One claimant on one lock folder.
///
/// Threads that should exclude each other open a handle each: two handles exclude each other, also in one process. Threads
/// that share one handle do not wait for each other, but any thread may call any method at any time. To lock a handle that
/// holds the lock fails with [`ErrorKind::AlreadyHeld`]. While another thread's lock call on the same handle is in progress,
/// it fails with [`ErrorKind::Busy`]. In a forked child every method that can fail does so with [`ErrorKind::Forked`], and
/// dropping the handle or its guard leaves the folder alone.
///
/// The lock belongs to the [`Guard`](crate::Guard). If the handle is dropped before its guard, the guard keeps the lock.
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
    /// Opens a lock folder, and makes it if it is missing.
    ///
    /// It locks nothing. It makes one level only, with mode 0777 less the umask. A relative path is resolved now. Each lock
    /// uses the folder that is at the resolved path at that time.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
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

    /// Gives options to open a lock folder in another way. It is [`OpenOptions::new`] without the import.
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

    /// The absolute path of the folder.
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
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Makes a wait in progress on this handle fail with [`ErrorKind::Cancelled`].
    ///
    /// A wait that this call found in progress never succeeds, and never ends with [`ErrorKind::Timeout`]: if it has just
    /// taken the lock, it gives the lock back. Without a wait in progress the call does nothing, and a later wait is not
    /// affected. So if the wait may be about to begin, cancel again until it has ended. It is async-signal-safe.
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

    /// Checks that this handle holds the lock, and that the bid is still in the folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotHeld`], and those of [`Guard::holds`](crate::Guard::holds).
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
        self.handle.call(|claimant| claimant.holds())
    }

    /// Tells whether another claimant has a bid that is not stale. It changes nothing in the folder.
    ///
    /// A claimant that waits in line has no bid, so it does not count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`], [`ErrorKind::Forked`]. [`ErrorKind::Unsafe`] or [`ErrorKind::Unsupported`]: the folder at the
    /// path was replaced, and [`OpenOptions::open`] would refuse the new one.
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
        self.handle.call(Session::in_use)
    }

    /// Deletes every bid whose owner is provably gone, and returns their number.
    ///
    /// It also deletes other files that these owners left. Each lock deletes stale bids too, so this is only for tidiness.
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::in_use`].
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
        self.handle.call(Session::reap_stale)
    }

    /// Gives every bid in the folder, with its state, ordered by name.
    ///
    /// It includes our own bid while we hold the lock. A claimant that waits in line has no bid, so it is not listed. The
    /// call changes nothing in the folder.
    ///
    /// # Errors
    ///
    /// Those of [`LockFolder::in_use`].
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
        self.handle.call(Session::bids)
    }

    /// Gives the claimants that wait in line, in their order. It changes nothing in the folder.
    ///
    /// A filesystem without a line (see `docs/protocol.md`) has none, and neither have peers of the Python package: they look again and
    /// again. The holder is not in it, and nobody who is gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`], [`ErrorKind::Forked`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-waiters-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// for waiter in folder.waiters()? {
    ///     println!("{:?} {:?} {:?}", waiter.pid, waiter.command, waiter.age);
    /// }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn waiters(&self) -> Result<Vec<WaiterInfo>> {
        self.handle.call(Session::waiters)
    }

    /// Tells which processes the lock of this folder keeps apart.
    ///
    /// ```
    /// use lockfolder::{LockFolder, Reach};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-reach-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// if folder.reach()? == Reach::Hosts {
    ///     println!("a holder has a lease, and can lose it");
    /// }
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`].
    pub fn reach(&self) -> Result<Reach> {
        self.handle.call(|claimant| Ok(claimant.place.reach()))
    }

    /// Sets the command that our bids name, instead of the name of this process. It has at most 128 characters; the rest is left out.
    ///
    /// It is for programs that do something on behalf of another one, as a runner of commands does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyHeld`], [`ErrorKind::Forked`].
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-command-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// folder.set_command("rsync -a a/ b/")?;
    /// let guard = folder.lock()?;
    /// assert_eq!(folder.bids()?[0].command.as_deref(), Some("rsync -a a/ b/"));
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn set_command(&self, command: &str) -> Result<()> {
        self.handle.call(|claimant| claimant.set_command(command))
    }

    /// Sets after how long a cut-off bid counts as stale.
    ///
    /// A bid is cut off if its file is empty, has NUL bytes alone, or is the beginning of a JSON object that breaks off. A
    /// Python peer may be between its open and its write, so give it seconds. Zero, the default, means never. The time is
    /// rounded up to milliseconds. A server of files tells the time of a bid by its own clock, so there the grace must also be
    /// longer than the clocks differ. It has no effect on a file that is named like a bid but is not one: that counts as live
    /// for ever.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`]. [`ErrorKind::Unsupported`]: the lock is on etcd.
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
        self.handle.call(|claimant| claimant.place.set_malformed_grace(u32::try_from(grace_ms).unwrap_or(u32::MAX)))
    }

    /// Sets how long the lease of the next lock lasts, where other hosts can write to the folder (see `docs/filesystems.md`).
    ///
    /// The lease is 30 s if this is never called. If a host that holds the lock dies, another host gets it after the longer one of
    /// the two leases. A holder that can't renew its lease has lost the lock after two thirds of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: it is shorter than 5 s or longer than an hour. [`ErrorKind::AlreadyHeld`], [`ErrorKind::Forked`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-lease-{}", std::process::id()));
    /// let folder = LockFolder::open(&path)?;
    /// folder.set_lease(Duration::from_secs(10))?;
    /// # drop(folder);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn set_lease(&self, lease: Duration) -> Result<()> {
        self.handle.call(|claimant| claimant.set_lease(lease))
    }

    /// Sets how many may hold the lock together with this handle, from its next lock on. The default is [`Slots::One`]: nobody else.
    ///
    /// With [`Slots::AtMost`] the folder is a semaphore: of all handles that name this number, so many hold the lock at once. With
    /// [`Slots::Any`] it is the shared half of a lock for readers and writers. A handle with [`Slots::One`] is the other half: it
    /// holds the lock alone, whatever the others name. So do peers of the Python package. Waiters are served first come, first served,
    /// and those next to each other in line that may hold the lock together get it together. So no stream of readers keeps
    /// a writer out. Where there is no line, as on NFS, there is no order, and such a stream can.
    ///
    /// All handles that share a folder name the same number. If another number is in use, a lock or a wait fails with
    /// [`ErrorKind::Invalid`], and the message has both numbers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: `AtMost(0)`. [`ErrorKind::AlreadyHeld`], [`ErrorKind::Forked`]. [`ErrorKind::Busy`]: a lock call on this
    /// handle is in progress, or a wait that the program has begun. [`ErrorKind::Unsupported`]: the lock is on etcd, and one at a time
    /// can hold it.
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder, Slots};
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-slots-{}", std::process::id()));
    /// let readers = [LockFolder::open(&path)?, LockFolder::open(&path)?];
    /// for reader in &readers {
    ///     reader.set_slots(Slots::Any)?;
    /// }
    /// let guards = [readers[0].lock()?, readers[1].lock()?];
    /// let writer = LockFolder::open(&path)?;
    /// assert_eq!(writer.try_lock().unwrap_err().kind(), ErrorKind::Busy);
    /// drop(guards);
    /// let guard = writer.lock()?;
    /// # drop((readers, writer, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn set_slots(&self, slots: Slots) -> Result<()> {
        self.handle.call_between_locks(|claimant| claimant.set_slots(slots))
    }

    /// A descriptor that becomes readable when a lease is lost: a lock that this handle holds, and the lease of which is over or was
    /// taken over. Poll it for reading, and never read from it. With the next lock it is unreadable again.
    ///
    /// `None`: this system has no such descriptor (only Linux has).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`]: no descriptor is free. [`ErrorKind::Forked`].
    #[cfg(unix)]
    pub fn lost_signal(&self) -> Result<Option<LostSignal>> {
        let alarm = self.handle.call(|claimant| claimant.place.lost_descriptor())?;
        Ok(alarm.map(LostSignal))
    }

    #[cfg(feature = "capi")]
    pub(crate) fn lost_descriptor(&self) -> Result<Option<i32>> {
        let alarm = self.handle.call(|claimant| claimant.place.lost_descriptor())?;
        Ok(alarm.map(|alarm| alarm.descriptor()))
    }

    /// The same handle once more. The guard keeps it.
    pub(crate) fn shared(&self) -> LockFolder {
        LockFolder { handle: Arc::clone(&self.handle) }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Becomes readable when a lease is lost: see [`LockFolder::lost_signal`].
#[cfg(unix)]
pub struct LostSignal(Arc<Alarm>);

#[cfg(unix)]
impl std::os::fd::AsFd for LostSignal {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.source()
    }
}

#[cfg(unix)]
impl fmt::Debug for LostSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LostSignal").finish_non_exhaustive()
    }
}

impl OpenOptions {
    /// Opens a lock folder with these options. It locks nothing. A relative path is resolved now.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid): the path is empty. [`Io`](crate::ErrorKind::Io).
    /// [`Unsafe`](crate::ErrorKind::Unsafe): see [`private`](Self::private).
    /// [`Unsupported`](crate::ErrorKind::Unsupported): the filesystem is not known to show every bid in a listing, or
    /// `/proc` can't be read.
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
