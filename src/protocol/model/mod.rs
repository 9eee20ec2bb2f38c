//! The protocol, explored: the real `acquire`, in every order in which everything can happen. `docs/model.md` says what is modelled and what
//! was found.
//!
//! A test of a broken rule asserts that the model finds what it should. `--nocapture` prints state counts and shortest traces.

#![allow(clippy::print_stdout)]

mod bidding;
mod bidding_rules;
mod calls;
mod explore;
mod line;
mod mind;
mod script;
mod sleep;
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
    assert!(report.ends > 1, "{what}: nothing happens in this model");
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

#[test]
fn somebody_wins_every_race_without_crashes() {
    for count in 2..=4 {
        holds(&format!("a race of {count}"), &ours(count, RACE));
    }
}

/// 5 ms are meant to be enough for two system calls. Where they are not, nobody may win; still nobody is wedged.
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
fn python_peers_change_neither() {
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

/// Not ours to mend: a Python peer withdraws from any rival, so it and one of ours that sorts behind it may both do so.
#[test]
fn with_a_python_peer_all_may_be_refused() {
    finds(ALL_REFUSED, "Python and ours", &Bidding::new(RACE, &[Python, Ours]));
}

/// The contract's default: a bid that can't be read counts as live for ever. A Python peer that dies between its open and
/// its write leaves one.
#[test]
fn without_a_grace_half_a_bid_wedges_the_folder() {
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

/// Which end wins is of no importance. That all have the same is.
#[test]
fn the_tie_break_may_be_reversed_but_not_for_some() {
    let race = |racers: &[Kind]| Bidding::new(RACE, racers);
    holds("all reversed", &race(&[Reversed; 4]));
    finds(ALL_REFUSED, "both withdraw", &race(&[Reversed, Ours]));
    finds(TRAP, "both wait for the other", &race(&[Ours, Reversed]));
}

#[test]
fn our_own_bid_in_the_listing_is_the_proof_that_it_is_not_stale() {
    let blind = Rules { own_bid_in_listing: false, ..RULES };
    finds(TWO_HOLDERS, "stale, without the rule", &ours(2, Rules { disk: Disk::Stale, ..blind }));
    holds("stale, with the rule", &ours(3, Rules { disk: Disk::Stale, crashes: 2, ..RULES }));
    // On a listing that is never stale the rule has nothing to do: a bid of a live owner is not deleted.
    holds("local, without the rule", &ours(3, Rules { crashes: 2, ..blind }));
}

/// So such a filesystem must be refused.
#[test]
fn no_rule_helps_where_a_stale_listing_shows_our_own_bid() {
    finds(TWO_HOLDERS, "stale but own", &ours(2, Rules { disk: Disk::StaleButOwn, ..RULES }));
}

/// Who has read a stale bid deletes whatever has its name by then.
#[test]
fn names_used_again_after_a_crash_make_two_holders() {
    finds(TWO_HOLDERS, "names again", &ours(3, Rules { fresh_names: false, crashes: 1, ..RULES }));
}

#[test]
fn reaping_the_living_makes_two_holders() {
    finds(TWO_HOLDERS, "reaps the living", &ours(2, Rules { reaps_the_living: true, ..RULES }));
}

#[test]
fn half_a_bid_must_not_be_deleted() {
    finds(TWO_HOLDERS, "grace too short", &Bidding::new(Rules { half: Half::Stale, ..RULES }, &[Python, Ours]));
}

/// To pass it over does no harm: a Python peer holds only after a listing that begins when its bid is whole. If that does
/// not show ours, ours was published later, so our second check reads the whole of its.
#[test]
fn half_a_bid_may_be_passed_over() {
    for racers in MIXED {
        let rules = Rules { half: Half::Absent, python_tries: 2, crashes: 1, ..RULES };
        holds(&format!("{racers:?}, half a bid is none"), &Bidding::new(rules, &racers));
    }
}
