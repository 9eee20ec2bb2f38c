//! A folder is opened to be looked at. That is always allowed, also where nothing can be locked.

use std::path::Path;

use lockfolder::{Error, ErrorKind, LockFolder, OpenOptions};

/// A folder that nothing is done to.
pub struct Looked {
    pub folder: LockFolder,
    /// Why the folder can't be locked without more, if its filesystem is refused.
    pub refusal: Option<Error>,
}

impl Looked {
    pub fn open(path: &Path) -> lockfolder::Result<Looked> {
        let mut how = OpenOptions::new();
        how.create(false);
        match how.open(path) {
            Ok(folder) => Ok(Looked { folder, refusal: None }),
            // A look takes no risk.
            Err(refusal) if refusal.kind() == ErrorKind::Unsupported => {
                let folder = how.trust_filesystem(true).open(path)?;
                Ok(Looked { folder, refusal: Some(refusal) })
            }
            Err(error) => Err(error),
        }
    }
}
