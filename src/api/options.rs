//! How to open a lock folder: [`OpenOptions`].

use crate::folder::options::Options;

/// How to open a lock folder; made by [`LockFolder::options`](crate::LockFolder::options), used like [`std::fs::OpenOptions`].
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
    /// The default: the folder is made if it is missing, and must be on a filesystem that is known to carry the lock.
    ///
    /// ```
    /// use lockfolder::OpenOptions;
    /// assert_eq!(OpenOptions::new(), *OpenOptions::new().create(true).private(false).trust_filesystem(false));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        OpenOptions { of_folder: Options { create: true, private: false, trust_filesystem: false } }
    }

    /// Whether to make the folder (one level) if it is missing. The default is yes.
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

    /// Whether to refuse ([`ErrorKind::Unsafe`](crate::ErrorKind::Unsafe)) a folder that the effective user doesn't own, or
    /// that group or others can write. The default is no. A folder that is made has mode 0700 then.
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

    /// Whether to use the folder although other hosts or mounts can write to it and its filesystem is not known to show every bid
    /// in a listing. Right where all claimants use this one mount, or its caches are off; else two can hold at once. The
    /// default is no: [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
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
}
