//! Rights of owners on Windows, which has no umask and no mode.

use std::io;
use std::path::Path;

use super::folder::Dir;

/// Whether a folder at this path is ours, and denies access even to us. It is always false, because there is no umask.
pub(crate) fn owner_lacks_rights(_path: &Path) -> bool {
    false
}

/// Whether the file or folder at this path has an attribute by which its users may not delete it. No message asks for that here.
pub(crate) fn is_fixed(_path: &Path) -> bool {
    false
}

/// Whether no user can delete more in this folder than in its parent folder `above`.
pub(crate) fn may_be_trusted_in(folder: &Dir, above: &Dir) -> io::Result<bool> {
    Ok(folder.stat()?.may_be_trusted_in(&above.stat()?))
}

/// Whether each user that may write to the folder `above` may also delete in this folder. It is not looked at here: see
/// docs/platforms.md.
pub(crate) fn is_as_open(_folder: &Dir, _above: &Dir) -> io::Result<bool> {
    Ok(true)
}

/// Whether we could delete a file of others in the folder `above`, if we can delete our own files in `folder`. There are no sticky
/// folders here.
pub(crate) fn may_delete_no_more_in(_folder: &Dir, _above: &Dir) -> io::Result<bool> {
    Ok(true)
}
