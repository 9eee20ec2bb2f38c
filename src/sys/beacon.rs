//! What a beacon tells its watchers.

/// Why a beacon was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // other systems can't watch a beacon
pub(crate) enum News {
    /// Its owner had the lock, and gave it back.
    HandedOver,
    /// Its owner will not take the lock, or another process put the beacon out.
    Left,
}

/// The state of a beacon, as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // other systems can't watch a beacon
pub(crate) enum FifoState {
    /// Its owner keeps it open. When it goes out, its watchers wake up.
    Lit,
    /// It was put out. All watchers that sleep on it wake up at once.
    Out(News),
    /// No process keeps it open: its owner died, or has not lit it yet. If it was dark from the beginning, it wakes no watcher.
    Dark,
    /// The system does not tell.
    Unknown,
}
