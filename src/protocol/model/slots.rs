//! Check, bid, check with a count: claimants of several slots, readers and writers.

use super::bidding::Kind::{Ours, Python, Slots};
use super::bidding::*;
use super::{finds, holds};

const RACE: Rules = super::RACE;

/// A reader.
const ANY: Kind = Slots(0);

fn of(kinds: &[Kind], rules: Rules) -> Bidding {
    Bidding::new(rules, kinds)
}

#[test]
fn never_more_holders_than_places_and_never_a_wedge() {
    for places in [2, 3] {
        for count in 2..=3 {
            for crashes in [0, 2] {
                let kinds = &[Slots(places); MOST][..count];
                holds(&format!("{count} of {places} slots, {crashes} crashes"), &of(kinds, Rules { crashes, ..RULES }));
            }
        }
    }
    holds("4 of 2 slots, 1 crash", &of(&[Slots(2); 4], Rules { crashes: 1, ..RULES }));
}

#[test]
#[ignore = "long: make soak"]
fn soak_four_of_several_slots() {
    for places in [2, 3, 0] {
        holds(&format!("4 of {places} slots, 2 crashes"), &of(&[Slots(places); 4], Rules { crashes: 2, ..RULES }));
    }
    for kinds in MIXED_FOUR {
        holds(&format!("{kinds:?}, 2 crashes"), &of(&kinds, Rules { crashes: 2, ..RULES }));
    }
}

const MIXED_FOUR: [[Kind; 4]; 6] = [
    [ANY, ANY, ANY, Ours],
    [Ours, ANY, ANY, ANY],
    [ANY, Ours, ANY, Ours],
    [Ours, ANY, Ours, ANY],
    [Slots(2), Ours, Slots(2), Slots(2)],
    [Slots(2), Slots(2), Slots(3), Slots(3)],
];

/// Readers with writers, several slots with one, two numbers that do not go together, and Python peers, in orders of names.
const MIXED: [[Kind; 3]; 10] = [
    [ANY, ANY, Ours],
    [ANY, Ours, ANY],
    [Ours, ANY, ANY],
    [Ours, ANY, Ours],
    [Slots(2), Ours, Slots(2)],
    [Slots(2), Slots(3), Slots(2)],
    [Slots(3), Slots(2), ANY],
    [Python, ANY, ANY],
    [ANY, ANY, Python],
    [Slots(2), Python, Slots(2)],
];

#[test]
fn those_who_do_not_tolerate_each_other_never_hold_together() {
    for kinds in MIXED {
        for crashes in [0, 2] {
            let rules = Rules { crashes, python_tries: 2, ..RULES };
            holds(&format!("{kinds:?}, {crashes} crashes"), &of(&kinds, rules));
        }
    }
}

#[test]
fn of_those_who_bid_together_as_many_win_as_there_are_places() {
    for places in [2, 3, 0] {
        for count in 2..=3 {
            holds(&format!("a race of {count} for {places} slots"), &of(&[Slots(places); MOST][..count], RACE));
        }
    }
    holds("a race of 4 for 2 slots", &of(&[Slots(2); 4], RACE));
    for kinds in MIXED.into_iter().filter(|kinds| !kinds.contains(&Python)) {
        holds(&format!("a race of {kinds:?}"), &of(&kinds, RACE));
    }
}

#[test]
#[ignore = "long: make soak"]
fn soak_races_of_four() {
    for places in [3, 0] {
        holds(&format!("a race of 4 for {places} slots"), &of(&[Slots(places); 4], RACE));
    }
    for kinds in MIXED_FOUR {
        holds(&format!("a race of {kinds:?}"), &of(&kinds, RACE));
    }
}

#[test]
fn each_rule_of_the_count_is_needed() {
    let broken = |count| Rules { count, ..RULES };
    finds(TOO_MANY, "one more than there are places", &of(&[Slots(2); 3], broken(Count::OneMore)));
    finds(NOT_TOGETHER, "a reader tolerates a writer", &of(&[ANY, Ours], broken(Count::ToleratesOne)));
    let numbers = [Slots(2), Slots(3)];
    finds(NOT_TOGETHER, "another number is tolerated", &of(&numbers, broken(Count::ToleratesOthers)));
    let race = Rules { count: Count::FirstPrecedes, ..RACE };
    finds(PLACES_LEFT, "the first rival decides a tie", &of(&[Slots(2); 3], race));
}

#[test]
fn each_rule_of_the_exclusive_lock_is_needed_for_several_too() {
    let three = [Slots(2); 3];
    finds(TOO_MANY, "no second check", &of(&three, Rules { second_check: false, ..RULES }));
    finds(ALL_REFUSED, "no tie-break", &of(&[ANY, Ours], Rules { tie_break: false, ..RACE }));
    finds(PLACES_LEFT, "no tie-break among several", &of(&three, Rules { tie_break: false, ..RACE }));
    finds(TOO_MANY, "reaps the living", &of(&three, Rules { reaps_the_living: true, ..RULES }));
    let blind = Rules { own_bid_in_listing: false, disk: Disk::Stale, ..RULES };
    finds(TOO_MANY, "stale, without the rule of the own bid", &of(&three, blind));
    holds("stale, with the rule", &of(&three, Rules { disk: Disk::Stale, crashes: 1, ..RULES }));
    finds(TOO_MANY, "stale but own", &of(&three, Rules { disk: Disk::StaleButOwn, ..RULES }));
}
