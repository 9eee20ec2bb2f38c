//! One line on the terminal while `run` waits: who has the lock, and since when. It is updated in place, and gone at the end.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use lockfolder::LockFolder;

use crate::listing::{holder_of, people};
use crate::text::{age, escape, fit, width_of};

pub(super) struct StatusLine<'a> {
    folder: &'a LockFolder,
    began: Instant,
    /// `None`: the line is not shown.
    terminal: Option<Terminal>,
    is_shown: bool,
}

/// A short wait shows nothing.
const FIRST: Duration = Duration::from_millis(250);
const NEXT: Duration = Duration::from_millis(1000);

impl StatusLine<'_> {
    pub fn new(folder: &LockFolder) -> StatusLine<'_> {
        let terminal = io::stderr().is_terminal().then(terminal).flatten();
        StatusLine { folder, began: Instant::now(), terminal, is_shown: false }
    }

    /// Shows the line as it is now. The result is the time after which it is to be shown again.
    pub fn show(&mut self) -> Duration {
        let Some(mut terminal) = self.terminal.as_ref() else { return Duration::MAX };
        let waited = self.began.elapsed();
        if waited < FIRST {
            return FIRST - waited;
        }
        // A job in the background leaves the terminal to others.
        if is_in_foreground() {
            // The terminal may write ^C behind it, and must not begin a new line for that.
            let width = width_of(io::stderr()).saturating_sub(4);
            let _ = terminal.write(format!("\r\x1b[K{}", fit(&self.text(), width)).as_bytes());
            self.is_shown = true;
        }
        NEXT
    }

    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) && is_in_foreground() {
            let _ = self.terminal.as_ref().map(|mut terminal| terminal.write(b"\r\x1b[K"));
        }
    }

    fn text(&self) -> String {
        let bids = self.folder.bids().unwrap_or_default();
        let ahead = self
            .folder
            .waiters()
            .map_or(0, |line| line.iter().take_while(|one| one.pid != Some(std::process::id())).count());
        let path = escape(&self.folder.path().to_string_lossy());
        let line = match ahead {
            0 => String::new(),
            ahead => format!(", {} wait before us", people(ahead)),
        };
        match holder_of(&bids) {
            Some(bid) => {
                let command = bid.command.as_deref().map_or_else(|| "somebody".to_owned(), escape);
                let pid = bid.pid.map_or_else(String::new, |pid| format!(" (PID {pid})"));
                format!("lockfolder: {command}{pid} has had the lock for {}{line}: {path}", age(bid.age))
            }
            None => format!("lockfolder: waits for the lock{line}: {path}"),
        }
    }
}

#[cfg(unix)]
type Terminal = std::fs::File;

/// A write to it never waits. The user may have stopped the output (Ctrl-S), and we have the lock, or are the next in line. If the
/// descriptor of standard error were changed, other programs would share that. If we are in the foreground, this is the same terminal.
#[cfg(unix)]
fn terminal() -> Option<Terminal> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open("/dev/tty").ok()
}

#[cfg(windows)]
type Terminal = io::Stderr;

#[cfg(windows)]
fn terminal() -> Option<Terminal> {
    Some(io::stderr())
}

#[cfg(unix)]
fn is_in_foreground() -> bool {
    // SAFETY: these calls only look.
    unsafe { libc::tcgetpgrp(libc::STDERR_FILENO) == libc::getpgrp() }
}

#[cfg(windows)]
fn is_in_foreground() -> bool {
    true
}
