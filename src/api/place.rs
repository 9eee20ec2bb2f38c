//! The place of a handle: a lock folder, or an engine. Its path says which. Nothing else names one of them.

use std::path::Path;

use crate::api::options::OpenOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::Folder;

/// Without an engine there is one kind of place, and no choice between kinds costs anything.
pub(crate) type AnyPlace = Folder;

/// A path that begins so names an engine. (A folder of that name can be written `./etcd:`.)
const ENGINES: [&str; 2] = ["etcd://", "etcds://"];

fn names_engine(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    ENGINES.iter().any(|engine| path.starts_with(engine.as_bytes()))
}

pub(super) fn open(path: &Path, options: OpenOptions) -> Result<AnyPlace> {
    match names_engine(path) {
        true => open_engine(path, options),
        false => Folder::open(path, options.of_folder),
    }
}

fn open_engine(_: &Path, _: OpenOptions) -> Result<AnyPlace> {
    let text = "lockfolder has no etcd in this version, so this URL is no lock folder. (A folder whose name begins so can be written with ./ \
                before it)";
    Err(Error::fixed(ErrorKind::Unsupported, text))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_scheme_at_the_beginning_names_an_engine() {
        let names = |path: &str| names_engine(Path::new(path));
        assert!(names("etcd://host:2379/prefix") && names("etcds://host/prefix") && names("etcd:///prefix"));
        for path in ["etcd:/x", "etcd", "./etcd://x", "/etcd://x", "ETCD://x", "http://x", "xetcd://y", ""] {
            assert!(!names(path), "{path}");
        }
    }

    #[test]
    fn a_url_is_refused_and_nothing_is_made() {
        for path in ["etcd://127.0.0.1:1/prefix", "etcds://127.0.0.1:1/prefix"] {
            let error = crate::LockFolder::open(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("no etcd"), "{error}");
            assert!(!Path::new(path).exists() && !Path::new("etcd:").exists());
        }
    }
}
