//! The model of the protocol: it runs the real `acquire` in every possible order of events. `docs/model.md` says what
//! is modelled and what was found.
//!
//! A test of a broken rule asserts that the model finds the fault. `--nocapture` prints state counts and shortest
//! traces.

#![allow(clippy::print_stdout, clippy::disallowed_types)] // this is test code, and has many states to look up

mod bidding;
mod bidding_rules;
mod calls;
mod explore;
mod lease;
mod lease_calls;
mod lease_memory;
mod lease_mind;
mod lease_rules;
mod leases;
mod line;
mod memo;
mod mind;
mod script;
mod sleep;
mod slots;
mod waiting;
mod waiting_rules;
mod waits;

use bidding::{Kind::*, *};
use explore::{explore, Model, Report, TRAP};

fn report(what: &str, model: &impl Model) -> Report {
    let began = std::time::Instant::now();
    let report = explore(model);
    println!("{what}: {} states, {} ends, {:.1} s", report.states, report.ends, began.elapsed().as_secs_f64());
    if let Some(violation) = &report.violation {
        println!("{violation}");
    }
    report
}

fn holds(what: &str, model: &impl Model) {
    let report = report(what, model);
    if let Some(violation) = report.violation {
        panic!("{what}: {violation}");
    }
    assert!(report.ends > 0 && report.states > 20, "{what}: nothing happens in this model");
}

fn finds(wrong: &str, what: &str, model: &impl Model) {
    let found = report(what, model).violation.map(|violation| violation.what);
    assert_eq!(found, Some(wrong), "{what}");
}

const RACE: Rules = Rules { patience: Patience::Enough, somebody_wins: true, ..RULES };

fn ours(count: usize, rules: Rules) -> Bidding {
    Bidding::new(rules, &[Ours; MOST][..count])
}

#[test]
fn never_two_holders_and_never_a_wedge() {
    for count in 2..=3 {
        for crashes in 0..=2 {
            holds(&format!("{count} of ours, {crashes} crashes"), &ours(count, Rules { crashes, ..RULES }));
        }
    }
    holds("4 of ours, 2 crashes", &ours(4, Rules { crashes: 2, ..RULES }));
}

/// A claimant that was told may see the bid of the teller, or miss it. The teller may die, or never go.
#[test]
fn a_claimant_that_was_told_comes_in_only_after_the_teller() {
    for racers in [[Ours, Told, Ours], [Ours, Told, Told], [Ours, Told, Python], [Ours, Python, Told]] {
        for crashes in [0, 2] {
            let rules = Rules { crashes, ..RULES };
            holds(&format!("{racers:?}, {crashes} crashes"), &Bidding::new(rules, &racers));
        }
    }
    finds(TWO_HOLDERS, "no second check", &Bidding::new(Rules { second_check: false, ..RULES }, &[Ours, Told]));
}

#[test]
fn somebody_wins_every_race_without_crashes() {
    for count in 2..=4 {
        holds(&format!("a race of {count}"), &ours(count, RACE));
    }
}

/// The 5 ms of the tie-break should be enough for two system calls. If they are not, perhaps nobody wins; but the
/// folder is never wedged.
#[test]
fn a_race_needs_patience() {
    finds(ALL_REFUSED, "no patience", &ours(2, Rules { patience: Patience::Any, ..RACE }));
}

const MIXED: [[Kind; 3]; 6] = [
    [Python, Ours, Ours],
    [Ours, Python, Ours],
    [Ours, Ours, Python],
    [Python, Python, Ours],
    [Python, Ours, Python],
    [Ours, Python, Python],
];

#[test]
fn python_peers_cause_neither_two_holders_nor_a_wedge() {
    for racers in MIXED {
        for crashes in [0, 2] {
            let rules = Rules { crashes, python_tries: 2, ..RULES };
            holds(&format!("{racers:?}, {crashes} crashes"), &Bidding::new(rules, &racers));
        }
    }
}

#[test]
#[ignore = "long: make soak"]
fn soak_two_python_peers_and_two_of_ours() {
    for racers in [[Python, Ours, Python, Ours], [Ours, Python, Ours, Python], [Ours, Python, Python, Ours]] {
        let rules = Rules { crashes: 2, python_tries: 2, ..RULES };
        holds(&format!("{racers:?}, 2 crashes"), &Bidding::new(rules, &racers));
    }
}

/// We can't mend this: a Python peer withdraws when it sees any rival. The peer and a claimant of ours whose bid sorts
/// behind the peer's may therefore both withdraw.
#[test]
fn with_a_python_peer_all_may_be_refused() {
    finds(ALL_REFUSED, "Python and ours", &Bidding::new(RACE, &[Python, Ours]));
}

/// The contract's default: a bid that can't be parsed counts as live without limit. A Python peer that dies between its
/// open and its write leaves such a bid.
#[test]
fn without_a_grace_a_half_written_bid_wedges_the_folder() {
    let rules = Rules { crashes: 1, grace: false, ..RULES };
    finds(WEDGED, "no grace", &Bidding::new(rules, &[Python, Ours]));
}

#[test]
fn without_the_second_check_there_are_two_holders() {
    finds(TWO_HOLDERS, "no second check", &ours(2, Rules { second_check: false, ..RULES }));
}

#[test]
fn without_the_tie_break_all_are_refused() {
    finds(ALL_REFUSED, "no tie-break", &ours(2, Rules { tie_break: false, ..RACE }));
}

/// It does not matter which bid wins a tie, but all claimants must agree on it.
#[test]
fn the_tie_break_may_be_reversed_for_all_but_not_for_some() {
    let race = |racers: &[Kind]| Bidding::new(RACE, racers);
    holds("all reversed", &race(&[Reversed; 4]));
    finds(ALL_REFUSED, "both withdraw", &race(&[Reversed, Ours]));
    finds(TRAP, "both wait for the other", &race(&[Ours, Reversed]));
}

#[test]
fn the_rule_of_our_own_bid_detects_a_stale_listing() {
    let blind = Rules { own_bid_in_listing: false, ..RULES };
    finds(TWO_HOLDERS, "stale, without the rule", &ours(2, Rules { disk: Disk::Stale, ..blind }));
    holds("stale, with the rule", &ours(3, Rules { disk: Disk::Stale, crashes: 2, ..RULES }));
    // If the listing is never stale, the rule is not needed: a bid of a live owner is not deleted.
    holds("local, without the rule", &ours(3, Rules { crashes: 2, ..blind }));
}

/// Such a filesystem must therefore be refused.
#[test]
fn no_rule_helps_if_a_stale_listing_shows_our_own_bid() {
    finds(TWO_HOLDERS, "stale but own", &ours(2, Rules { disk: Disk::StaleButOwn, ..RULES }));
}

/// A claimant that has read a stale bid deletes the file that has the bid's name by then.
#[test]
fn a_name_that_is_used_again_after_a_crash_allows_two_holders() {
    finds(TWO_HOLDERS, "names again", &ours(3, Rules { fresh_names: false, crashes: 1, ..RULES }));
}

#[test]
fn reaping_live_bids_allows_two_holders() {
    finds(TWO_HOLDERS, "reaps the living", &ours(2, Rules { reaps_the_living: true, ..RULES }));
}

#[test]
fn a_half_written_bid_must_not_be_deleted() {
    finds(TWO_HOLDERS, "grace too short", &Bidding::new(Rules { half: Half::Stale, ..RULES }, &[Python, Ours]));
}

/// Passing such a bid over does no harm. A Python peer holds the lock only after a listing that begins when its bid is
/// complete. If that listing does not show our bid, we published it later, and our second check reads the peer's
/// complete bid.
#[test]
fn a_half_written_bid_may_be_passed_over() {
    for racers in MIXED {
        let rules = Rules { half: Half::Absent, python_tries: 2, crashes: 1, ..RULES };
        holds(&format!("{racers:?}, half a bid is none"), &Bidding::new(rules, &racers));
    }
}
