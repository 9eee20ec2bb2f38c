//! Text for people: ages, widths, colours, and text of others that is safe to show.

use std::env;
use std::io::IsTerminal;
use std::time::Duration;

/// Others wrote this text, and it may be shown on a terminal: what can't be printed becomes visible.
pub fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = (!is_plain(c)).then(|| c.escape_default().to_string());
            escaped.unwrap_or_else(|| c.to_string()).chars().collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a terminal shows this character, and does nothing else.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !is_direction(c)
}

/// Marks that change the direction of the text behind them, or break lines.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

pub fn age(time: Duration) -> String {
    let (ms, s) = (time.as_millis(), time.as_secs());
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{s}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86400, s / 3600 % 24),
    }
}

/// The text, shortened to so many columns.
pub fn fit(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The columns of this terminal. What is no terminal is as wide as can be.
#[cfg(unix)]
pub fn width_of(stream: impl IsTerminal + std::os::fd::AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(&stream).ok().filter(|_| stream.is_terminal());
    size.map_or(usize::MAX, |size| if size.ws_col == 0 { 80 } else { size.ws_col.into() })
}

#[cfg(windows)]
pub fn width_of(stream: impl IsTerminal) -> usize {
    if stream.is_terminal() {
        80
    } else {
        usize::MAX
    }
}

/// Whether to use colours there: on a terminal, unless NO_COLOR is set (no-color.org).
pub fn has_colours(stream: impl IsTerminal) -> bool {
    let is_forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_forbidden && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
