//! What a look at a name in a folder tells.

/// A file that has a name in a folder, without a look at its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    #[cfg_attr(windows, allow(dead_code))] // there are no FIFOs in folders there
    Fifo,
    File {
        size: u64,
    },
    /// No file has this name, or it is a folder, a link, a socket or a device.
    Other,
}

/// What has a name in a folder, as far as we can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A regular file or a FIFO.
    Plain,
    /// A folder, a link, a socket or a device.
    Other,
    /// No file has this name. This answer is certain.
    Missing,
    /// We can't look. Where a user mounts a filesystem with FUSE, for example, no other user may look, not even root (fuse(4),
    /// `allow_other`).
    Hidden,
}

impl Sight {
    pub fn is_a_file(self) -> bool {
        matches!(self, Sight::Plain | Sight::Other)
    }
}
