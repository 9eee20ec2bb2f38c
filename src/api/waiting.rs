//! One wait, between two of its steps.

use std::time::Instant;

use crate::api::place::AnyPlace;
use crate::protocol::Wait;
use crate::sys::Clocks;

/// `wait.rs` has what it does.
pub(super) struct Waiting {
    pub wait: Wait<AnyPlace>,
    /// When the time of the wait is over. `None`: never.
    pub end: Option<Instant>,
    /// When to go on, if nothing wakes us before.
    pub until: Instant,
    /// The clocks after the last step, if the program can do other things between two steps.
    pub clocks: Option<Clocks>,
}
