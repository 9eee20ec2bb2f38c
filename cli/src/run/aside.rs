//! Messages that the lock must not wait for.

use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::errors::say;

/// What is said while others need us. Perhaps nobody reads it at this time, so a thread says it. Its drop waits for that, for a second.
pub struct Aside(Option<JoinHandle<()>>);

impl Aside {
    pub fn say(lines: Vec<String>) -> Aside {
        Aside(Builder::new().spawn(move || lines.iter().for_each(say)).ok())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(1);
        while self.0.as_ref().is_some_and(|saying| !saying.is_finished()) && Instant::now() < end {
            crate::sleep::sleep(Duration::from_millis(1));
        }
    }
}
