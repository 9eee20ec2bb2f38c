//! Folders and files, by path and not by handle, because an open handle on a folder would prevent others from deleting it. Another
//! folder can appear at the path between two steps. Then we lose the lock, but two processes never hold it at once: our own bid is not
//! in the listing of the other folder.

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
    FileIdBothDirectoryInfo, GetFileInformationByHandleEx, LockFileEx, UnlockFileEx, FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_ID_BOTH_DIR_INFO, LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::done;
use super::open::{is, is_delete_pending, is_sharing_violation, patiently, sharing, to_look, to_read, About, FileId};
use super::security::{self, FolderStat, Rights};
use crate::sys::{Leaf, Opened, Proof, Sight};

/// Converts a path that C code passed. `None`: it is not UTF-8.
#[cfg(feature = "capi")]
pub(crate) fn path(path: &CStr) -> Option<&Path> {
    path.to_str().ok().map(Path::new)
}

/// A name in a folder. Names are kept in Rust's encoding, which is UTF-8 extended for ill-formed UTF-16.
pub(crate) fn file_name(name: &CStr) -> OsString {
    // SAFETY: every name that the library passes came from `Dir::list`, or is ASCII.
    unsafe { OsStr::from_encoded_bytes_unchecked(name.to_bytes()) }.to_owned()
}

/// Makes a verbatim path: `\\?\C:\…`, `\\?\UNC\server\share\…`. Such a path has no limit of length and no reserved names, and the system
/// does not rewrite it.
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
    pub rights: Rights,
    /// When it was last modified, in Unix milliseconds.
    pub modified: i64,
}

impl ForeignFile {
    /// Always false, as [`Rights::let_delete`] is always true.
    pub fn was_rewritten(&self, _born: Option<u64>) -> bool {
        false
    }

    /// The content, at most `limit` bytes.
    pub fn read(&self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        match (&self.file).take(limit as u64).read_to_end(&mut content) {
            Ok(_) => Ok(Some(content)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied || is_sharing_violation(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// When it was made. On Windows we do not ask for it.
    pub fn born(&self) -> Option<u64> {
        None
    }

    /// Whether a process holds the file's lock. The test lock is shared, so that two processes that look at the same time do not mistake
    /// each other for the owner.
    pub fn is_locked(&self) -> io::Result<bool> {
        match lock(&self.file, 0)? {
            false => Ok(true),
            true => {
                let mut place = behind_content();
                // SAFETY: the handle is open, and the range is the one that was locked.
                done(unsafe { UnlockFileEx(self.file.as_raw_handle(), 0, 1, 0, &mut place) })?;
                Ok(false)
            }
        }
    }
}

/// On Windows a lock prevents others from reading the locked range. So our lock is on one byte far behind any content.
fn behind_content() -> OVERLAPPED {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.OffsetHigh = 0x4000_0000;
    place
}

fn lock(file: &File, how: u32) -> io::Result<bool> {
    let mut place = behind_content();
    // SAFETY: the handle is open and not for overlapped use, so the call is complete when it returns.
    match done(unsafe { LockFileEx(file.as_raw_handle(), how | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &mut place) }) {
        Ok(()) => Ok(true),
        Err(e) if is(&e, ERROR_LOCK_VIOLATION) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file that we made, and that stays locked while we live. The kernel's lock proves that we live.
pub(crate) struct LockedFile {
    _file: File,
    pub id: FileId,
}

impl LockedFile {
    /// Always false, as [`ForeignFile::was_rewritten`].
    pub fn looks_rewritten(&self) -> bool {
        false
    }

    /// Always true. Only Unix has modes that an administrator changes for everything in a folder.
    pub fn is_as_made(&self, _stat: &FolderStat) -> bool {
        true
    }

    /// Always true, for the same reason.
    pub fn is_untouched(&self) -> bool {
        true
    }

    /// Only Unix needs this. On Windows the content of a file never decides whether the file is ours.
    pub fn is_as_safe(&self, stat: &FolderStat) -> bool {
        stat.is_private_within()
    }
}

/// A folder.
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens a folder by path, through links if the path has them.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let path = verbatim(path);
        match About::file(&to_look(&path, true)?)?.is_dir() {
            true => Ok(Dir { path }),
            false => Err(io::Error::from_raw_os_error(ERROR_DIRECTORY as i32)),
        }
    }

    /// Nothing to do: we keep the path, and no handle.
    pub fn must_show(&mut self, _own: FileId) {}

    pub fn must_read_at_once(&mut self) {}

    /// Nothing to do: to open a file there has no effect on others.
    pub fn tell_writers(&mut self) {}

    pub fn check(&self, _own: FileId) -> io::Result<()> {
        Ok(())
    }

    pub fn is_closed(_error: &io::Error) -> bool {
        false
    }

    /// The folder that this one is in.
    pub fn open_above(&self) -> io::Result<Dir> {
        match self.path.parent() {
            Some(parent) => Dir::open(parent),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether there is a symbolic link at this path.
    pub fn is_link_at(path: &Path) -> bool {
        fs::symlink_metadata(verbatim(path)).is_ok_and(|about| about.file_type().is_symlink())
    }

    /// Makes a folder by path. A mode without rights for others makes it private. With any other mode it inherits the rights of its
    /// parent. It is no error if the folder exists already.
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

    /// The same, with its rights.
    pub fn look_up(path: &Path) -> io::Result<(FileId, Option<Rights>)> {
        Ok((Dir::id_at(path)?, Some(Rights)))
    }

    /// Opens a folder inside this one. It never follows a link.
    pub fn open_dir(&self, name: &CStr) -> io::Result<Dir> {
        let path = self.at(name)?;
        let about = About::file(&patiently(|| to_look(&path, false))?)?;
        match about.is_dir() && !about.is_link() {
            true => Ok(Dir { path }),
            false => Err(io::Error::from_raw_os_error(ERROR_DIRECTORY as i32)),
        }
    }

    /// Makes a folder inside this one. The new folder inherits the rights of this one.
    pub fn make_shared_dir(&self, name: &CStr) -> io::Result<()> {
        patiently(|| fs::create_dir(self.at(name)?))
    }

    pub fn stat(&self) -> io::Result<FolderStat> {
        Ok(FolderStat::of(&self.path, &About::file(&to_look(&self.path, true)?)?))
    }

    /// The same for a file inside. `None`: no file has this name.
    pub fn stat_at(&self, name: &CStr) -> io::Result<Option<FolderStat>> {
        let path = self.at(name)?;
        match to_look(&path, false) {
            Ok(file) => Ok(Some(FolderStat::of(&path, &About::file(&file)?))),
            Err(e) if is_delete_pending(&e) || e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Names some entries, usually all. Use it only where nothing depends on the result being complete.
    pub fn glance(&self, each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        self.list(false, each)
    }

    /// Names every entry that exists from before this call until its end. An entry that appears or disappears during the call may
    /// be named or not. It always opens the folder anew.
    ///
    /// Each name comes with a number. The number tells apart two files that have the same name one after the other.
    pub fn list_in_one(&self, anew: bool, mut begin: impl FnMut(), each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        begin();
        self.list(anew, each)
    }

    pub fn list(&self, _anew: bool, mut each: impl FnMut(&CStr, u64)) -> io::Result<()> {
        self.read(|name, entry| each(name, entry.FileId as u64))
    }

    /// Names the files (no folders, no links) among the entries whose names `parse` accepts.
    pub fn list_plain<T>(&self, parse: impl Fn(&CStr) -> Option<T>, mut each: impl FnMut(T)) -> io::Result<()> {
        let other = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
        self.read(|name, entry| {
            if entry.FileAttributes & other == 0 {
                parse(name).into_iter().for_each(&mut each);
            }
        })
    }

    fn read(&self, mut each: impl FnMut(&CStr, &FILE_ID_BOTH_DIR_INFO)) -> io::Result<()> {
        const HEADER: usize = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);
        let folder = patiently(|| sharing().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(&self.path))?;
        let mut buffer = [0u64; 1024]; // the type aligns the buffer as the entries need it
        loop {
            // We read an entry as a whole struct, even if its name ends before the padding of the struct. So the buffer has spare room.
            let size = (size_of_val(&buffer) - size_of::<FILE_ID_BOTH_DIR_INFO>()) as u32;
            // SAFETY: the handle is open, and the buffer has at least that size.
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
                // SAFETY: the system filled in an entry here, with its name behind it.
                let (entry, name) = unsafe {
                    let entry = buffer.as_ptr().cast::<u8>().add(offset);
                    let info = entry.cast::<FILE_ID_BOTH_DIR_INFO>().read();
                    let length = info.FileNameLength as usize / size_of::<u16>();
                    (info, std::slice::from_raw_parts(entry.add(HEADER).cast::<u16>(), length))
                };
                // A name can't contain a NUL.
                if let Ok(name) = CString::new(OsString::from_wide(name).into_encoded_bytes()) {
                    each(&name, &entry);
                }
                match entry.NextEntryOffset {
                    0 => break,
                    next => offset += next as usize,
                }
            }
        }
    }

    /// Opens a small file of another process. A file whose delete is pending can't be opened, so it counts as present until it is gone.
    /// It is gone when no process has it open any more.
    pub fn open_small(&self, name: &CStr) -> io::Result<Opened<ForeignFile>> {
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
            true => Opened::File(ForeignFile { file, id: about.id(), rights: Rights, modified }),
            false => Opened::NotRegular { modified },
        })
    }

    /// Makes a file and locks it. Only then it writes the content. So a process that can read the whole file sees it locked.
    /// `content` gets the identity of the file.
    ///
    /// `None`: another process mistook the empty file for a leftover in between; try again. With [`Proof::Needed`], a filesystem without such
    /// locks is an error.
    pub fn claim(
        &self,
        name: &CStr,
        content: impl FnOnce(FileId, Option<u64>) -> String,
        proof: Proof,
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
        proof: Proof,
    ) -> io::Result<Option<FileId>> {
        match lock(file, LOCKFILE_EXCLUSIVE_LOCK) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if proof == Proof::Needed => return Err(e),
            Err(_) => {}
        }
        let id = About::file(file)?.id();
        file.write_all(content(id, None).as_bytes())?;
        Ok((self.file_id(name)? == Some(id)).then_some(id))
    }

    /// Takes the lock of a file that never got its content, and deletes the file. False: its maker is still at work.
    pub fn delete_unfinished(&self, name: &CStr) -> io::Result<bool> {
        let file = sharing().read(true).write(true).open(self.at(name)?)?;
        if !About::file(&file)?.is_regular() || !lock(&file, LOCKFILE_EXCLUSIVE_LOCK)? {
            return Ok(false);
        }
        self.unlink(name)?;
        Ok(true)
    }

    /// Gives `from`, a file in this folder, a second name in the folder `to`. It is atomic, and fails if the name is taken.
    pub fn link(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        patiently(|| fs::hard_link(self.at(from)?, to.at(name)?))
    }

    /// Whether this error means that a file was gone when it was read, although its name existed a moment before.
    pub fn has_vanished(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound
    }

    /// Whether this error of [`Dir::link`] means that the filesystem has no hard links (FAT), or allows no more links for this file.
    pub fn has_no_links(error: &io::Error) -> bool {
        [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_CALL_NOT_IMPLEMENTED, ERROR_TOO_MANY_LINKS]
            .iter()
            .any(|&code| is(error, code))
    }

    /// Whether this error of [`Dir::link`] or [`Dir::rename`] means that the two folders are on two volumes.
    pub fn crosses_filesystems(error: &io::Error) -> bool {
        is(error, ERROR_NOT_SAME_DEVICE)
    }

    /// Moves a file of this folder into the folder `to`. It is atomic.
    pub fn rename(&self, from: &CStr, to: &Dir, name: &CStr) -> io::Result<()> {
        patiently(|| fs::rename(self.at(from)?, to.at(name)?))
    }

    /// Renames a folder in this one. Fails if the name is taken.
    pub fn rename_dir(&self, from: &CStr, name: &CStr) -> io::Result<()> {
        match fs::rename(self.at(from)?, self.at(name)?) {
            // The system returns this error also if the name is taken.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && self.sight(name).is_a_file() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            moved => moved,
        }
    }

    /// Whether this error of [`Dir::rename_dir`] means that the name is taken.
    pub fn is_taken(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the system refused because our user has no right to it.
    pub fn is_not_ours(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied
    }

    /// Removes an empty folder in this one.
    pub fn remove_dir(&self, name: &CStr) -> io::Result<()> {
        fs::remove_dir(self.at(name)?)
    }

    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        patiently(|| match fs::remove_file(self.at(name)?) {
            Err(e) if is_delete_pending(&e) => Err(io::ErrorKind::NotFound.into()), // another process was faster
            result => result,
        })
    }

    /// Which file has this name. `None`: no file has it, or its file is deleted.
    pub fn file_id(&self, name: &CStr) -> io::Result<Option<FileId>> {
        match to_look(&self.at(name)?, false) {
            Ok(file) => Ok(Some(About::file(&file)?.id())),
            Err(e) if is_delete_pending(&e) || e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What has this name. An error of the look is never taken for a missing name.
    pub fn sight(&self, name: &CStr) -> Sight {
        let look = || About::file(&to_look(&self.at(name)?, false)?);
        match look() {
            Ok(about) if about.is_regular() => Sight::Plain,
            Ok(_) => Sight::Other,
            Err(e) if is_delete_pending(&e) || e.kind() == io::ErrorKind::NotFound => Sight::Missing,
            Err(_) => Sight::Hidden,
        }
    }

    /// What kind of file has this name, and how long it is.
    pub fn leaf_at(&self, name: &CStr) -> io::Result<Leaf> {
        let about = About::file(&to_look(&self.at(name)?, false)?)?;
        Ok(if about.is_regular() { Leaf::File { size: about.size() } } else { Leaf::Other })
    }

    /// Makes an empty file, if no file has this name.
    pub(in crate::sys) fn touch(&self, name: &CStr) -> io::Result<()> {
        patiently(|| sharing().write(true).create(true).truncate(false).open(self.at(name)?)).map(drop)
    }

    /// Makes an empty file that survives a power loss. False: the name is taken.
    pub fn create_durably(&self, name: &CStr) -> io::Result<bool> {
        match patiently(|| sharing().write(true).create_new(true).open(self.at(name)?)) {
            Ok(file) => file.sync_all()?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(e),
        }
        self.sync()?;
        Ok(true)
    }

    /// Makes new files in this folder survive a power loss, as far as the system allows. NTFS writes the name to its log before it
    /// flushes the file, and other filesystems refuse to flush a folder.
    pub fn sync(&self) -> io::Result<()> {
        let folder = sharing().access_mode(GENERIC_WRITE).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(&self.path);
        let _ = folder.and_then(|folder| folder.sync_all());
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name in this folder. A path, or a name that leads upwards, never reaches the system.
    fn at(&self, name: &CStr) -> io::Result<PathBuf> {
        match name.to_bytes() {
            b"" | b".." => Err(io::ErrorKind::InvalidInput.into()),
            bytes if bytes.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':')) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            // SAFETY: the bytes are a whole name that came from `Dir::list`, or is ASCII.
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
