//! `ls --watch`: a live view, like top(1): the holder, the line, the hand-overs, and who died.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lockfolder::BidState;

use super::screen::Screen;
use super::table;
use super::timeline::Timeline;
use crate::errors::{explain, say, TROUBLE};
use crate::listing::Listing;
use crate::looking::Looked;
use crate::text::{age, escape, fit, has_colours, width_of};

/// The time between two looks, and between two pictures.
const LOOK: Duration = Duration::from_millis(20);
const DRAW: Duration = Duration::from_millis(250);
/// The rate is that of this last time.
const WINDOW: Duration = Duration::from_secs(5);
/// So many events are shown.
const EVENTS: usize = 6;

/// Returns the exit status.
pub fn watch(path: &Path, picture: Option<&Path>) -> i32 {
    if !io::stdout().is_terminal() {
        say("--watch needs a terminal: for programs there is --json");
        return TROUBLE;
    }
    let looked = match Looked::open(path) {
        Ok(looked) => looked,
        Err(error) => {
            say(explain(&error));
            return TROUBLE;
        }
    };
    let mut timeline = picture.map(|_| Timeline::default());
    let watched = on_screen(&looked, &mut timeline);
    if let (Some(picture), Some(timeline)) = (picture, timeline) {
        if let Err(error) = std::fs::write(picture, timeline.svg()) {
            say(format_args!("cannot write {}: {error}", picture.display()));
            return TROUBLE;
        }
    }
    match watched {
        Ok(Over::Quit) => 0,
        #[cfg(unix)]
        Ok(Over::Signal(signal)) => crate::run::die_by(signal),
        Err(text) => {
            say(text);
            TROUBLE
        }
    }
}

/// Why the view ends.
enum Over {
    Quit,
    #[cfg(unix)]
    Signal(i32),
}

fn on_screen(looked: &Looked, timeline: &mut Option<Timeline>) -> Result<Over, String> {
    // A signal that ends us must not leave the terminal as it is now.
    #[cfg(unix)]
    let signals = crate::run::Signals::heed().map_err(|error| format!("cannot prepare for signals: {error}"))?;
    let screen = Screen::take().map_err(|error| error.to_string())?;
    let mut history = History::new();
    let mut drawn: Option<Instant> = None;
    loop {
        let listing = Listing::of(looked).map_err(|error| explain(&error))?;
        history.see(&listing);
        timeline.iter_mut().for_each(|timeline| timeline.see(&listing));
        if drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW) {
            let text = history.text(&listing);
            screen.show(&text).map_err(|error| error.to_string())?;
            drawn = Some(Instant::now());
        }
        if screen.is_over(LOOK) {
            return Ok(Over::Quit);
        }
        #[cfg(unix)]
        if let Some(signal) = signals.ending() {
            return Ok(Over::Signal(signal));
        }
    }
}

/// What has happened since the view began.
struct History {
    began: Instant,
    /// The bid of the last holder, and who that was.
    last: Option<(std::ffi::OsString, String)>,
    /// When the lock passed to another holder.
    passed: VecDeque<Instant>,
    all: u64,
    dead: Vec<std::ffi::OsString>,
    events: VecDeque<String>,
}

impl History {
    fn new() -> History {
        History {
            began: Instant::now(),
            last: None,
            passed: VecDeque::new(),
            all: 0,
            dead: Vec::new(),
            events: VecDeque::new(),
        }
    }

    fn see(&mut self, listing: &Listing) {
        for bid in listing.bids.iter().filter(|bid| bid.state == BidState::Stale) {
            if !self.dead.contains(&bid.name) {
                self.dead.push(bid.name.clone());
                self.note(&format!("{} died", who(bid.command.as_deref(), bid.pid)));
            }
        }
        self.dead.retain(|name| listing.bids.iter().any(|bid| bid.name == *name));
        if let Some(holder) = listing.holder() {
            if self.last.as_ref().is_none_or(|(name, _)| *name != holder.name) {
                self.last = Some((holder.name.clone(), who(holder.command.as_deref(), holder.pid)));
                self.passed.push_back(Instant::now());
                self.all += 1;
            }
        }
        while self.passed.front().is_some_and(|passed| passed.elapsed() > WINDOW) {
            self.passed.pop_front();
        }
    }

    fn note(&mut self, event: &str) {
        self.events.push_front(format!("{:>8}  {event}", age(self.began.elapsed())));
        self.events.truncate(EVENTS);
    }

    fn text(&self, listing: &Listing) -> String {
        let width = width_of(io::stdout());
        let rate = self.passed.len() as f64 / self.began.elapsed().clamp(Duration::from_secs(1), WINDOW).as_secs_f64();
        let mut text = table::draw(listing, width, has_colours(io::stdout()));
        // Those that hold for less than the time between two looks are not all seen.
        text += &format!(
            "\nhand-overs  {} seen, {rate:.1} a second; watched for {}\n",
            self.all,
            age(self.began.elapsed())
        );
        for event in &self.events {
            text += &(fit(event, width) + "\n");
        }
        text + "\nq: quit\n"
    }
}

pub(super) fn who(command: Option<&str>, pid: Option<u32>) -> String {
    let command = command.map_or_else(|| "somebody".to_owned(), escape);
    match pid {
        Some(pid) => format!("{command} (PID {pid})"),
        None => command,
    }
}

/// Writes all to the terminal at once, so that nothing flickers.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
