//! Folders and files, by path: an open handle on a folder would keep others from deleting it for good. That another folder
//! comes to the path between two steps costs the lock, never exclusion: our own bid is not in its listing.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem::{offset_of, size_of};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, PathBuf, Prefix};

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_DIRECTORY, ERROR_INVALID_FUNCTION, ERROR_LOCK_VIOLATION, ERROR_NOT_SAME_DEVICE,
    ERROR_NOT_SUPPORTED, ERROR_NO_MORE_FILES, ERROR_TOO_MANY_LINKS, GENERIC_WRITE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FileIdBothDirectoryInfo, GetFileInformationByHandleEx, LockFileEx, UnlockFileEx, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_ID_BOTH_DIR_INFO, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::super::Opened;
use super::done;
use super::open::{is, is_delete_pending, is_sharing_violation, patiently, sharing, to_look, to_read, About, FileId};
use super::security::{self, FolderStat};

/// A path as C gives it; `None` where it is not UTF-8.
#[cfg(feature = "capi")]
pub(crate) fn path(path: &CStr) -> Option<&Path> {
    path.to_str().ok().map(Path::new)
}

/// A name in a folder. Names are kept as Rust encodes them: UTF-8, but that UTF-16 which is not well formed has a place too.
pub(crate) fn file_name(name: &CStr) -> OsString {
    // SAFETY: every name that we are given came from `Dir::list`, or is ASCII.
    unsafe { OsStr::from_encoded_bytes_unchecked(name.to_bytes()) }.to_owned()
}

/// `\\?\C:\…`, `\\?\UNC\server\share\…`: no limit of length, no reserved names, nothing is rewritten.
fn verbatim(path: &Path) -> PathBuf {
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return path.to_owned();
    };
    let prefixed = |prefix: &str, rest: &OsStr| {
        let mut whole = OsString::from(prefix);
        whole.push(rest);
        PathBuf::from(whole)
    };
    match prefix.kind() {
        Prefix::Disk(_) => prefixed(r"\\?\", path.as_os_str()),
        Prefix::UNC(server, share) => {
            let whole = prefixed(r"\\?\UNC\", server).join(share);
            path.components().skip(1).filter(|c| *c != Component::RootDir).fold(whole, |whole, part| whole.join(part))
        }
        _ => path.to_owned(),
    }
}

/// A regular file, open for reading.
pub(crate) struct ForeignFile {
    file: File,
    pub id: FileId,
    /// Last modified, Unix milliseconds.
    pub modified: i64,
}

impl ForeignFile {
    /// The content, or as much of it as `limit`.
    pub fn read(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        (&self.file).take(limit as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    /// When it was made: not asked for here.
    pub fn born(&self) -> Option<u64> {
        None
    }

    /// Whether somebody holds the file's lock. Shared, so that two who look at once don't take each other for the owner.
    pub fn is_locked(&self) -> io::Result<bool> {
        match lock(&self.file, 0)? {
            false => Ok(true),
            true => {
                let mut place = behind_content();
                // SAFETY: an open handle; the range is the one that was locked.
                done(unsafe { UnlockFileEx(self.file.as_raw_handle(), 0, 1, 0, &mut place) })?;
                Ok(false)
            }
        }
    }
}

/// Locks keep others from reading here, so ours is on one byte far behind any content.
fn behind_content() -> OVERLAPPED {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.OffsetHigh = 0x4000_0000;
    place
}

fn lock(file: &File, how: u32) -> io::Result<bool> {
    let mut place = behind_content();
    // SAFETY: an open handle, which is not for overlapped use, so the call is over when it returns.
    match done(unsafe { LockFileEx(file.as_raw_handle(), how | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &mut place) }) {
        Ok(()) => Ok(true),
        Err(e) if is(&e, ERROR_LOCK_VIOLATION) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file that we made and hold locked for as long as we live: the kernel's proof of life.
pub(crate) struct LockedFile {
    _file: File,
    pub id: FileId,
}

impl LockedFile {
    /// Asked on Unix alone: nothing here is taken for ours by its content.
    pub fn is_as_safe(&self, stat: &FolderStat) -> bool {
        stat.is_private_within()
    }
}

/// A folder.
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Through links if the path has them.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let path = verbatim(path);
        match About::file(&to_look(&path, true)?)?.is_dir() {
            true => Ok(Dir { path }),
            false => Err(io::Error::from_raw_os_error(ERROR_DIRECTORY as i32)),
        }
    }

    /// The folder that this one is in.
    pub fn open_above(&self) -> io::Result<Dir> {
        match self.path.parent() {
            Some(parent) => Dir::open(parent),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Makes a folder by path: a mode that gives others nothing makes it private, else it is as its parent wants it. That it is
    /// there already is fine.
    pub fn make(path: &Path, mode: u32) -> io::Result<()> {
        let path = verbatim(path);
        there_is_fine(match mode & 0o077 {
            0 => patiently(|| security::make_private(&path)),
            _ => patiently(|| fs::create_dir(&path)),
        })
    }

    /// Which folder is at this path now.
    pub fn id_at(path: &Path) -> io::Result<FileId> {
        Ok(About::file(&to_look(&verbatim(path), true)?)?.id())
    }

    /// A folder inside this one. Never through a link.
    pub fn open_dir(&self, name: &CStr) -> io::Result<Dir> {
        let path = self.at(name)?;
        let about = About::file(&patiently(|| to_look(&path, false))?)?;
        match about.is_dir() && !about.is_link() {
            true => Ok(Dir { path }),
            false => Err(io::Error::from_raw_os_error(ERROR_DIRECTORY as i32)),
        }
    }

    /// Makes a folder inside this one. It inherits who may use it.
    pub fn make_shared_dir(&self, name: &CStr) -> io::Result<()> {
        patiently(|| fs::create_dir(self.at(name)?))
    }

    pub fn stat(&self) -> io::Result<FolderStat> {
        Ok(FolderStat::of(&self.path, &About::file(&to_look(&self.path, true)?)?))
    }

    /// The same of something inside; `None` where nothing has this name.
    pub fn stat_at(&self, name: &CStr) -> io::Result<Option<FolderStat>> {
        let path = self.at(name)?;
        match to_look(&path, false) {
            Ok(file) => Ok(Some(FolderStat::of(&path, &About::file(&file)?))),
            Err(e) if is_delete_pending(&e) || e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Names some entries, as a rule all. For a look on which nothing depends.
    pub fn glance(&self, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        self.list(false, each)
    }

    /// Names every entry that is there from before this call until its end; one that comes or goes meanwhile may be named
    /// or not. Always opens the folder anew.
    ///
    /// The number given with a name tells two files of one name apart.
    pub fn list(&self, _anew: bool, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        const HEADER: usize = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);
        let folder = patiently(|| sharing().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(&self.path))?;
        let mut buffer = [0u64; 1024]; // aligned as the entries are
        loop {
            // An entry is read whole, also where its name ends before the padding does.
            let size = (size_of_val(&buffer) - size_of::<FILE_ID_BOTH_DIR_INFO>()) as u32;
            // SAFETY: an open handle, and a buffer of that size.
            let filled = done(unsafe {
                let into = buffer.as_mut_ptr().cast();
                GetFileInformationByHandleEx(folder.as_raw_handle(), FileIdBothDirectoryInfo, into, size)
            });
            match filled {
                Ok(()) => {}
                Err(e) if is(&e, ERROR_NO_MORE_FILES) => return Ok(()),
                Err(e) => return Err(e),
            }
            let mut offset = 0;
            loop {
                // SAFETY: the system filled in an entry here, and its name behind it.
                let (entry, name) = unsafe {
                    let entry = buffer.as_ptr().cast::<u8>().add(offset);
                    let info = entry.cast::<FILE_ID_BOTH_DIR_INFO>().read();
                    let length = info.FileNameLength as usize / size_of::<u16>();
                    (info, std::slice::from_raw_parts(entry.add(HEADER).cast::<u16>(), length))
                };
                // A NUL can't be in a name.
                if let Ok(name) = CString::new(OsString::from_wide(name).into_encoded_bytes()) {
                    each(&name, entry.FileId as u64);
                }
                match entry.NextEntryOffset {
                    0 => break,
                    next => offset += next as usize,
                }
            }
        }
    }

    /// Opens a small file of somebody else's. One whose delete is pending can't be opened, and so counts as there until it is
    /// gone: which takes no longer than others have it open.
    pub fn open_small(&self, name: &CStr) -> io::Result<Opened> {
        let file = match to_read(&self.at(name)?) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied || is_sharing_violation(&e) => {
                return Ok(Opened::Denied)
            }
            Err(e) => return Err(e),
        };
        let about = About::file(&file)?;
        let modified = about.modified();
        Ok(match about.is_regular() {
            true => Opened::File(ForeignFile { file, id: about.id(), modified }),
            false => Opened::NotRegular { modified },
        })
    }

    /// Makes a file, locks it, and only then gives it its content: whoever can read it whole sees it locked.
    /// `None`: somebody took the empty file for a leftover in between; try again. Where `proof` is not asked for, a
    /// filesystem that has no such locks will do.
    /// `content` is told which file it is for.
    pub fn claim(
        &self,
        name: &CStr,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: bool,
    ) -> io::Result<Option<LockedFile>> {
        let path = self.at(name)?;
        let file = patiently(|| sharing().read(true).write(true).create_new(true).open(&path))?;
        match self.fill(&file, name, content, proof) {
            Ok(Some(id)) => Ok(Some(LockedFile { _file: file, id })),
            Ok(None) => Ok(None),
            Err(e) => {
                let _ = self.unlink(name);
                Err(e)
            }
        }
    }

    fn fill(
        &self,
        mut file: &File,
        name: &CStr,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: bool,
    ) -> io::Result<Option<FileId>> {
        match lock(file, LOCKFILE_EXCLUSIVE_LOCK) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if proof => return Err(e),
            Err(_) => {}
        }
        let id = About::file(file)?.id();
        file.write_all(content(id, None).as_bytes())?;
        Ok((self.file_id(name)? == Some(id)).then_some(id))
    }

    /// Takes the lock of a file that never got its content, and deletes it. False: its maker is at work.
    pub fn delete_unfinished(&self, name: &CStr) -> io::Result<bool> {
        let file = sharing().read(true).write(true).open(self.at(name)?)?;
        if !About::file(&file)?.is_regular() || !lock(&file, LOCKFILE_EXCLUSIVE_LOCK)? {
            return Ok(false);
        }
        self.unlink(name)?;
        Ok(true)
    }

    /// Gives `from`, a file in this folder, a second name in the folder `to`. Atomic, and fails if the name is taken.
    pub fn link(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        patiently(|| fs::hard_link(self.at(from)?, to.at(name)?))
    }

    /// Whether a file was gone when it was read, although its name had led to it a moment before.
    pub fn has_vanished(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound
    }

    /// Whether this error of [`Dir::link`] means that the filesystem has no hard links (FAT), or no more for this file.
    pub fn has_no_links(error: &io::Error) -> bool {
        [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_CALL_NOT_IMPLEMENTED, ERROR_TOO_MANY_LINKS]
            .iter()
            .any(|&code| is(error, code))
    }

    /// Whether this error of [`Dir::link`] or [`Dir::rename`] means that the two folders are on two volumes.
    pub fn crosses_filesystems(error: &io::Error) -> bool {
        is(error, ERROR_NOT_SAME_DEVICE)
    }

    /// Moves a file of this folder into the folder `to`. Atomic.
    pub fn rename(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        patiently(|| fs::rename(self.at(from)?, to.at(name)?))
    }

    /// Renames a folder in this one. Fails if the name is taken.
    pub fn rename_dir(&self, from: &CStr, name: &CStr) -> io::Result<()> {
        match fs::rename(self.at(from)?, self.at(name)?) {
            // The system says so too where the name is taken.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && self.has(name) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            moved => moved,
        }
    }

    /// Whether this error of [`Dir::rename_dir`] means that the name is taken.
    pub fn is_taken(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the system refused because of who we are now.
    pub fn is_not_ours(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied
    }

    /// Removes an empty folder in this one.
    pub fn remove_dir(&self, name: &CStr) -> io::Result<()> {
        fs::remove_dir(self.at(name)?)
    }

    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        patiently(|| match fs::remove_file(self.at(name)?) {
            Err(e) if is_delete_pending(&e) => Err(io::ErrorKind::NotFound.into()), // somebody was faster
            result => result,
        })
    }

    /// Which file has this name; `None` where none has, or one that is deleted.
    pub fn file_id(&self, name: &CStr) -> io::Result<Option<FileId>> {
        match to_look(&self.at(name)?, false) {
            Ok(file) => Ok(Some(About::file(&file)?.id())),
            Err(e) if is_delete_pending(&e) || e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Something has this name, as far as we can see.
    pub fn has(&self, name: &CStr) -> bool {
        matches!(self.file_id(name), Ok(Some(_)))
    }

    /// Makes an empty file, if there is none of this name.
    pub(in crate::sys) fn touch(&self, name: &CStr) -> io::Result<()> {
        patiently(|| sharing().write(true).create(true).truncate(false).open(self.at(name)?)).map(drop)
    }

    /// Makes an empty file that survives power loss. False: the name is taken.
    pub fn create_durably(&self, name: &CStr) -> io::Result<bool> {
        match patiently(|| sharing().write(true).create_new(true).open(self.at(name)?)) {
            Ok(file) => file.sync_all()?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(e),
        }
        self.sync()?;
        Ok(true)
    }

    /// Makes what was created in this folder survive power loss, as far as the system lets us: NTFS has written the name to
    /// its log before it flushes the file, and others refuse to flush a folder.
    pub fn sync(&self) -> io::Result<()> {
        let folder = sharing().access_mode(GENERIC_WRITE).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(&self.path);
        let _ = folder.and_then(|folder| folder.sync_all());
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A name in this folder. What is a path, or leads upwards, never reaches the system.
    fn at(&self, name: &CStr) -> io::Result<PathBuf> {
        match name.to_bytes() {
            b"" | b".." => Err(io::ErrorKind::InvalidInput.into()),
            bytes if bytes.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':')) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            // SAFETY: the whole of a name that we were given, which came from `Dir::list` or is ASCII.
            bytes => Ok(self.path.join(unsafe { OsStr::from_encoded_bytes_unchecked(bytes) })),
        }
    }
}

fn there_is_fine(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_verbatim() {
        for (path, expected) in [
            (r"C:\a b\ü", r"\\?\C:\a b\ü"),
            (r"\\server\share\a\b", r"\\?\UNC\server\share\a\b"),
            (r"\\server\share", r"\\?\UNC\server\share"),
            (r"\\?\C:\a", r"\\?\C:\a"),
            (r"\\?\UNC\server\share\a", r"\\?\UNC\server\share\a"),
            (r"\\.\pipe\a", r"\\.\pipe\a"),
        ] {
            assert_eq!(verbatim(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
