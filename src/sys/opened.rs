//! The result of opening a file of another process.

/// The result of opening a small file of another process. The open follows no link, never blocks, and does not trust the file.
#[cfg_attr(not(unix), allow(dead_code))] // Windows does not notice mounts
pub(crate) enum Opened<File> {
    File(File),
    /// The file vanished.
    Gone,
    /// The file exists, but we have no right to read it, or can't read it now.
    Denied,
    /// Another filesystem is mounted at its name. We did not access that filesystem, because its server may never answer.
    Mounted,
    /// A link, a folder, a FIFO or a device. We did not read it.
    NotRegular {
        /// Unix milliseconds.
        modified: i64,
    },
}
