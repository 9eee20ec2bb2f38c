//! One wait, between two of its steps.

use std::time::Instant;

use crate::api::handle::Handle;
use crate::api::place::AnyPlace;
use crate::protocol::{after_jump, Line, Wait};
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

impl Waiting {
    /// The program may have entered another time namespace, where the clock shows another time.
    pub fn follow_clock(&mut self, handle: &Handle) {
        let jump = self.clocks.map_or(0, |clocks| clocks.jump());
        if jump == 0 {
            return;
        }
        self.end = self.end.map(|end| after_jump(end, jump));
        self.until = after_jump(self.until, jump);
        self.wait.follow_jump(jump);
        handle.claimant().place.bound(self.end);
        self.clocks = Clocks::now();
    }
}
