//! Messages that the lock must not wait for.

use std::fmt::Display;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::system;
use crate::errors::{line, say};

/// For so long we wait for the reader of a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message that a thread writes, because a reader that does not read must not keep us from our work. The drop waits until the message
/// is written, for [`PATIENCE`] at most.
pub struct Aside {
    lines: Vec<String>,
    /// `None`: there can be no thread.
    saying: Option<JoinHandle<()>>,
}

impl Aside {
    pub fn say(lines: Vec<String>) -> Aside {
        let said = lines.clone();
        let write = move || {
            system::be_left_alone();
            said.iter().for_each(say);
        };
        Aside { lines, saying: Builder::new().spawn(write).ok() }
    }
}

/// Says it, and waits for its reader for [`PATIENCE`] at most. When signals are heeded, they do not end us, so each message is said like this.
pub fn tell(what: impl Display) {
    drop(Aside::say(vec![what.to_string()]));
}

impl Drop for Aside {
    fn drop(&mut self) {
        let Some(saying) = &self.saying else {
            let text: String = self.lines.iter().map(line).collect();
            return system::write_within(&text, PATIENCE);
        };
        let end = Instant::now() + PATIENCE;
        while !saying.is_finished() && Instant::now() < end {
            crate::sleep::sleep(Duration::from_millis(1));
        }
    }
}
