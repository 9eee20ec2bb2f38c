//! Messages that the lock must not wait for.

use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::errors::say;

/// A message that a thread writes, because a reader that does not read must not keep us from our work. The drop waits until the message
/// is written, for a second at most.
pub struct Aside {
    lines: Vec<String>,
    /// `None`: there can be no thread.
    saying: Option<JoinHandle<()>>,
}

impl Aside {
    pub fn say(lines: Vec<String>) -> Aside {
        let said = lines.clone();
        Aside { lines, saying: Builder::new().spawn(move || said.iter().for_each(say)).ok() }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let Some(saying) = &self.saying else { return self.lines.iter().for_each(say) };
        let end = Instant::now() + Duration::from_secs(1);
        while !saying.is_finished() && Instant::now() < end {
            crate::sleep::sleep(Duration::from_millis(1));
        }
    }
}
