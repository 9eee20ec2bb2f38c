//! The JSON of `ls --json`: one object on one line for each folder. docs/command.md describes it. A key is never renamed, and never gets
//! another meaning, within one version.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};

use crate::listing::{milliseconds, name_of_reach, name_of_state, Listing, Place};
use crate::text::is_plain;

const VERSION: u32 = 1;

pub(super) fn text(listing: &Listing) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = |age: std::time::Duration| milliseconds(now.saturating_sub(age)) / 1000;
    let place = |place: Option<Place>| place.map_or(Value::Null, |place| json!(place.word()));
    let bids = listing.bids.iter().map(|bid| {
        json!({
            "name": bid.name.to_string_lossy(),
            "state": name_of_state(bid.state),
            "holds": listing.is_holder(bid),
            "pid": bid.pid,
            "command": bid.command,
            "host": bid.host,
            "place": place(listing.place_of_bid(bid)),
            "pid_namespace": bid.pid_namespace,
            "since": since(bid.age),
            "age_ms": milliseconds(bid.age),
            "lease_ms": bid.lease.map(milliseconds),
        })
    });
    let waiters = listing.waiters.iter().map(|waiter| {
        json!({
            "pid": waiter.pid,
            "command": waiter.command,
            "host": waiter.host,
            "place": place(listing.place_of_waiter(waiter)),
            "pid_namespace": waiter.pid_namespace,
            "since": since(waiter.age),
            "age_ms": milliseconds(waiter.age),
        })
    });
    let object = json!({
        "version": VERSION,
        "folder": listing.path.to_string_lossy(),
        "in_use": listing.is_in_use(),
        "reach": name_of_reach(listing.reach),
        "refused": listing.refusal,
        "bids": bids.collect::<Vec<_>>(),
        "waiters": waiters.collect::<Vec<_>>(),
    });
    // JSON itself escapes only some of what can't be printed. The text may be shown on a terminal.
    let escaped = |c: char| if is_plain(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    object.to_string().chars().map(escaped).collect::<String>() + "\n"
}

#[cfg(test)]
mod tests {
    /// All of them have at most four digits, as JSON needs it.
    #[test]
    fn what_can_not_be_printed_has_four_digits() {
        let highest = ('\0'..=char::MAX).filter(|c| !crate::text::is_plain(*c)).max();
        assert_eq!(highest, Some('\u{feff}'));
    }
}
