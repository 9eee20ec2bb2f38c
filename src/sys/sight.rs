//! What a look at a name in a folder tells.

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
