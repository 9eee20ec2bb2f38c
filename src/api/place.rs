//! The place of a handle: a lock folder, or an engine. Its path says which. Only this file and `either.rs` name one of them.

use std::path::Path;

#[cfg(feature = "etcd")]
pub(crate) use crate::api::either::AnyPlace;
use crate::api::options::OpenOptions;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "etcd")]
use crate::etcd::Etcd;
use crate::folder::Folder;

/// Without an engine there is one kind of place, and no choice between kinds costs anything.
#[cfg(not(feature = "etcd"))]
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
        false => open_folder(path, options),
    }
}

#[cfg(not(feature = "etcd"))]
fn open_folder(path: &Path, options: OpenOptions) -> Result<AnyPlace> {
    Folder::open(path, options.of_folder)
}

#[cfg(feature = "etcd")]
fn open_folder(path: &Path, options: OpenOptions) -> Result<AnyPlace> {
    Folder::open(path, options.of_folder).map(|folder| AnyPlace::Folder(Box::new(folder)))
}

#[cfg(not(feature = "etcd"))]
fn open_engine(_: &Path, _: OpenOptions) -> Result<AnyPlace> {
    let text = "this build of lockfolder can't lock on etcd. Build it with the feature `etcd`: `make ETCD=1`, or `cargo build --release \
                --features etcd` (docs/etcd.md says more). A folder whose name begins so can be written with ./ before it";
    Err(Error::fixed(ErrorKind::Unsupported, text))
}

#[cfg(feature = "etcd")]
fn open_engine(path: &Path, options: OpenOptions) -> Result<AnyPlace> {
    let options = options.of_folder;
    if options.private || options.trust_filesystem {
        let text = "only a folder can be asked to be private, or be vouched for. Who may write to an etcd is up to its users and roles";
        return Err(Error::fixed(ErrorKind::Unsupported, text));
    }
    let url = path.to_str().ok_or_else(|| Error::fixed(ErrorKind::Invalid, "the URL of the lock is not UTF-8"))?;
    Etcd::open(url, options.renew_in_thread).map(|etcd| AnyPlace::Etcd(Box::new(etcd)))
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

    #[cfg(not(feature = "etcd"))]
    #[test]
    fn without_the_feature_a_url_is_refused_and_nothing_is_made() {
        for path in ["etcd://127.0.0.1:1/prefix", "etcds://127.0.0.1:1/prefix"] {
            let error = crate::LockFolder::open(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("--features etcd"), "{error}");
            assert!(!Path::new(path).exists() && !Path::new("etcd:").exists());
        }
    }
}
