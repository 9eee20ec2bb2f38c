//! The terminal while `ls --watch` has it: a second screen, and keys that come at once.

use std::io;
use std::time::Duration;

use super::watch::write;

/// It gives the terminal back when it is dropped.
pub(super) struct Screen {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Screen {
    pub fn take() -> io::Result<Screen> {
        #[cfg(unix)]
        let screen = {
            use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions};
            let before = tcgetattr(io::stdin()).ok(); // standard input may be something else
            if let Some(mut now) = before.clone() {
                // Ctrl-C comes as a key too: then the terminal is given back.
                now.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
                tcsetattr(io::stdin(), OptionalActions::Now, &now)?;
            }
            Screen { before }
        };
        #[cfg(not(unix))]
        let screen = Screen {};
        write("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    pub fn show(&self, text: &str) -> io::Result<()> {
        let height = self.height();
        let lines: Vec<String> = text.lines().take(height).map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")))
    }

    /// Waits for this time. True: the user wants the view to end.
    #[cfg(unix)]
    pub fn is_over(&self, pause: Duration) -> bool {
        use rustix::event::{poll, PollFd, PollFlags, Timespec};
        let stdin = io::stdin();
        let time = Timespec::try_from(pause).ok();
        let mut sources = [PollFd::new(&stdin, PollFlags::IN)];
        let sources = if self.before.is_some() { &mut sources[..] } else { &mut [] };
        if !matches!(poll(sources, time.as_ref()), Ok(1..)) {
            return false;
        }
        let mut keys = [0; 16];
        match rustix::io::read(&stdin, &mut keys) {
            Ok(0) | Err(_) => true, // the terminal is gone
            Ok(count) => keys[..count].iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 4)),
        }
    }

    #[cfg(not(unix))]
    pub fn is_over(&self, pause: Duration) -> bool {
        std::thread::sleep(pause); // Ctrl-C ends it
        false
    }

    #[cfg(unix)]
    fn height(&self) -> usize {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        size.map_or(24, |size| if size.ws_row == 0 { 24 } else { size.ws_row.into() })
    }

    #[cfg(not(unix))]
    fn height(&self) -> usize {
        24
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write("\x1b[?25h\x1b[?1049l");
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}
