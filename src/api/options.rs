//! How to open a lock folder: [`OpenOptions`].

use crate::folder::options::Options;

/// How to open a lock folder. [`LockFolder::options`](crate::LockFolder::options) makes it. It is used like
/// [`std::fs::OpenOptions`].
///
/// ```
/// use lockfolder::LockFolder;
/// # let path = std::env::temp_dir().join(format!("lockfolder-doc-options-{}", std::process::id()));
/// let folder = LockFolder::options().private(true).open(&path)?;
/// # drop(folder);
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), lockfolder::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    pub(crate) of_folder: Options,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// The default: the folder is made if it is missing, and its filesystem must be known to show every bid in a listing.
    ///
    /// ```
    /// use lockfolder::OpenOptions;
    /// assert_eq!(OpenOptions::new(), *OpenOptions::new().create(true).private(false).trust_filesystem(false));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        OpenOptions {
            of_folder: Options { create: true, private: false, trust_filesystem: false, renew_in_thread: true },
        }
    }

    /// Whether to make the folder (one level) if it is missing. The default is yes. It gets mode 0777 less the umask, or
    /// 0700 with [`private`](Self::private).
    ///
    /// ```
    /// use lockfolder::{ErrorKind, LockFolder};
    /// let error = LockFolder::options().create(false).open("/there/is/no/such/folder").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Io);
    /// ```
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.of_folder.create = create;
        self
    }

    /// Whether to refuse ([`ErrorKind::Unsafe`](crate::ErrorKind::Unsafe)) a folder that the effective user does not own,
    /// or that group or others can write. The default is no. Each lock checks this again, also for the sub-folder
    /// `.lockfolder` and what is in it.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use lockfolder::{ErrorKind, LockFolder};
    /// // Everybody can write to it.
    /// let error = LockFolder::options().private(true).open("/tmp").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unsafe);
    /// # }
    /// ```
    pub fn private(&mut self, private: bool) -> &mut Self {
        self.of_folder.private = private;
        self
    }

    /// Whether to use the folder although other hosts or mounts can write to it and its filesystem is not known to show
    /// every bid in a listing. Correct only if all claimants use this one mount or its caches are off. Otherwise two can
    /// hold the lock at once. The default is no: such a folder is refused with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// ```no_run
    /// use lockfolder::LockFolder;
    /// // Only this machine uses it.
    /// let folder = LockFolder::options().trust_filesystem(true).open("/mnt/sshfs/lock")?;
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn trust_filesystem(&mut self, trust: bool) -> &mut Self {
        self.of_folder.trust_filesystem = trust;
        self
    }

    /// Whether a thread of the library renews the lease while the lock is held. The default is yes. Without it, the program calls
    /// [`Guard::renew`](crate::Guard::renew), at least every sixth of the lease. Where there is no lease, there is no thread.
    ///
    /// ```
    /// use lockfolder::LockFolder;
    /// # let path = std::env::temp_dir().join(format!("lockfolder-doc-thread-{}", std::process::id()));
    /// let folder = LockFolder::options().renew_in_thread(false).open(&path)?;
    /// let guard = folder.lock()?;
    /// guard.renew()?;
    /// # drop((folder, guard));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), lockfolder::Error>(())
    /// ```
    pub fn renew_in_thread(&mut self, thread: bool) -> &mut Self {
        self.of_folder.renew_in_thread = thread;
        self
    }
}
