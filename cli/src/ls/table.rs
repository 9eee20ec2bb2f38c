//! The table of `ls`, for people.

use std::io;

use lockfolder::BidState;

use crate::listing::{name_of_state, people, Listing, Place};
use crate::text::{age, escape, fit, has_colours, width_of};

const TITLES: [&str; 7] = ["", "PID", "COMMAND", "HOST", "PLACE", "SINCE", "LEASE"];
const PID: usize = 1;
const COMMAND: usize = 2;
const SINCE: usize = 5;

struct Row {
    cells: [String; TITLES.len()],
    colour: &'static str,
}

const PLAIN: &str = "";
const HOLDS: &str = "\x1b[1;32m";
const FADED: &str = "\x1b[2m";
const ODD: &str = "\x1b[33m";

pub(super) fn text(listing: &Listing) -> String {
    draw(listing, width_of(io::stdout()), has_colours(io::stdout()))
}

/// The table, as wide as this, with or without colours.
pub(super) fn draw(listing: &Listing, width: usize, colours: bool) -> String {
    let mut text = fit(&headline(listing), width) + "\n";
    if let Some(refusal) = &listing.refusal {
        text += &format!("can't be locked: {refusal}\n");
    }
    let mut rows = rows(listing);
    if rows.is_empty() {
        return text;
    }
    let mut widths = TITLES.map(str::len);
    for row in &rows {
        for (cell, widest) in row.cells.iter().zip(&mut widths) {
            *widest = cell.chars().count().max(*widest);
        }
    }
    // What is too much is taken from the command, as long as it has some columns left.
    let all = widths.iter().sum::<usize>() + 2 * (TITLES.len() - 1);
    widths[COMMAND] = widths[COMMAND].saturating_sub(all.saturating_sub(width)).max(10).min(widths[COMMAND]);
    rows.insert(0, Row { cells: TITLES.map(str::to_owned), colour: PLAIN });
    for row in rows {
        let line = line(&row, &widths);
        let line = fit(line.trim_end(), width);
        match colours && !row.colour.is_empty() {
            true => text += &format!("{}{line}\x1b[0m\n", row.colour),
            false => text += &format!("{line}\n"),
        }
    }
    text
}

fn line(row: &Row, widths: &[usize; TITLES.len()]) -> String {
    let cells = row.cells.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
        let cell = fit(cell, *width);
        match at {
            PID | SINCE => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        }
    });
    cells.collect::<Vec<_>>().join("  ")
}

fn headline(listing: &Listing) -> String {
    let path = escape(&listing.path.to_string_lossy());
    let state = if listing.is_in_use() { "held" } else { "free" };
    match listing.waiters.len() {
        0 => format!("{path}: {state}"),
        count => format!("{path}: {state}, {} in line", people(count)),
    }
}

fn rows(listing: &Listing) -> Vec<Row> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let place = |place: Option<Place>| or_none(place.map(|place| place.word().to_owned()));
    let mut bids: Vec<_> = listing.bids.iter().collect();
    bids.sort_by_key(|bid| !listing.is_holder(bid));
    let bids = bids.into_iter().map(|bid| {
        let (word, colour) = match bid.state {
            BidState::Stale => ("stale", FADED),
            BidState::Malformed => ("malformed", ODD),
            BidState::Live | BidState::Own if listing.is_holder(bid) => ("holds", HOLDS),
            BidState::Live | BidState::Own => ("bids", PLAIN),
            state => (name_of_state(state), ODD),
        };
        let named = match bid.state {
            // Its file is all that there is to say.
            BidState::Malformed => Some(escape(&bid.name.to_string_lossy())),
            _ => bid.command.as_deref().map(escape),
        };
        let cells = [
            word.to_owned(),
            or_none(bid.pid.map(|pid| pid.to_string())),
            or_none(named),
            or_none(bid.host.as_deref().map(escape)),
            place(listing.place_of_bid(bid)),
            age(bid.age),
            or_none(bid.lease.map(age)),
        ];
        Row { cells, colour }
    });
    let waiters = listing.waiters.iter().enumerate().map(|(at, waiter)| Row {
        cells: [
            format!("waits {}", at + 1),
            or_none(waiter.pid.map(|pid| pid.to_string())),
            or_none(waiter.command.as_deref().map(escape)),
            or_none(waiter.host.as_deref().map(escape)),
            place(listing.place_of_waiter(waiter)),
            age(waiter.age),
            "-".to_owned(),
        ],
        colour: PLAIN,
    });
    bids.chain(waiters).collect()
}
