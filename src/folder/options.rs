//! How a lock folder is opened.

/// What each means is said where users set it ([`OpenOptions`](crate::OpenOptions)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub create: bool,
    pub private: bool,
    pub trust_filesystem: bool,
}
