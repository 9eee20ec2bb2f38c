//! How a lock folder is opened.

/// The meaning of each option is documented where users set it ([`OpenOptions`](crate::OpenOptions)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub create: bool,
    pub private: bool,
    pub trust_filesystem: bool,
    pub renew_in_thread: bool,
}
