//! One wait, between two of its steps.

use std::time::Instant;

use crate::folder::Folder;
use crate::protocol::Wait;

/// `wait.rs` has what it does.
pub(super) struct Waiting {
    pub wait: Wait<Folder>,
    /// When the time of the wait is over. `None`: never.
    pub end: Option<Instant>,
    /// When to go on, if nothing wakes us before.
    pub until: Instant,
}
