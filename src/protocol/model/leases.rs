//! What must hold for a lease, and what the model must find if a rule is broken.

use super::lease::*;
use super::{finds, holds, report};

fn lease(rules: Rules) -> Leasing {
    Leasing::new(rules)
}

/// Enough for most broken rules.
const FEW: Rules = Rules { numbers: 2, ..RULES };

#[test]
fn a_lease_that_is_taken_over_is_not_valid_and_no_bid_of_the_dead_stays() {
    for (numbers, crashes, faults) in [(3, 2, 1), (2, 2, 2), (4, 0, 1), (5, 0, 0)] {
        let rules = Rules { numbers, crashes, faults, ..RULES };
        let what = format!("1 observer, {numbers} numbers, {crashes} crashes, {faults} faults");
        holds(&what, &lease(rules));
        holds(&format!("{what}, stale looks"), &lease(Rules { stale_looks: true, ..rules }));
    }
    holds("finer time", &lease(Rules { lease: 12, crashes: 2, faults: 1, ..FEW }));
    holds("2 observers", &lease(Rules { observers: 2, numbers: 1, crashes: 2, ..RULES }));
}

#[test]
#[ignore = "long: make soak"]
fn soak_leases() {
    for (observers, numbers, faults) in [(1, 5, 1), (2, 2, 0), (2, 1, 1)] {
        let what = format!("{observers} observers, {numbers} numbers, {faults} faults");
        holds(&what, &lease(Rules { observers, numbers, faults, ..RULES }));
    }
}

/// A mind leaves out listings that the code does not use any more. This one keeps them.
#[test]
fn the_listings_that_the_model_forgets_change_nothing() {
    let rules = Rules { lag: 1, faults: 1, ..RULES };
    let found = [false, true].map(|forgets| {
        let mut model = lease(rules);
        model.minds.forgets = forgets;
        report(&format!("forgets: {forgets}"), &model).violation.map(|found| found.trace.len())
    });
    assert!(found[0].is_some() && found[0] == found[1], "{found:?}");
    let mut model = lease(Rules { faults: 1, ..RULES });
    model.minds.forgets = false;
    holds("forgets nothing", &model);
}

/// The clocks may differ by a third, but not by more.
#[test]
fn clocks_that_differ_too_much_are_found() {
    holds("3 units in 4", &lease(Rules { lease: 12, rates: [3, 4], ..FEW }));
    finds(NOT_EXCLUDED, "1 unit in 2", &lease(Rules { rates: [1, 2], ..FEW }));
    finds(NOT_EXCLUDED, "5 units in 8", &lease(Rules { lease: 48, rates: [5, 8], numbers: 0, ..RULES }));
}

#[test]
fn a_holder_that_counts_from_the_answer_is_found() {
    let rules = Rules { broken: Broken::CountsFromTheAnswer, ..FEW };
    finds(NOT_EXCLUDED, "counts from the answer", &lease(rules));
}

#[test]
fn a_holder_that_forgets_its_first_try_is_found() {
    let rules = Rules { broken: Broken::ForgetsTheFirstTry, faults: 1, ..FEW };
    finds(NOT_EXCLUDED, "forgets the first try", &lease(rules));
    holds("the same, if no request is late", &lease(Rules { faults: 0, ..rules }));
}

#[test]
fn an_observer_that_counts_from_the_start_of_its_look_is_found() {
    let rules = Rules { broken: Broken::CountsFromTheStart, ..FEW };
    finds(NOT_EXCLUDED, "counts from the start", &lease(rules));
}

/// The clocks alone are enough if no look is stale. But a look without a link of one's own may be.
#[test]
fn an_observer_that_makes_no_number_is_found() {
    let rules = Rules { broken: Broken::MakesNoNumber, faults: 1, ..FEW };
    holds("makes no number", &lease(rules));
    finds(NOT_EXCLUDED, "makes no number, stale looks", &lease(Rules { stale_looks: true, ..rules }));
}

#[test]
fn a_holder_that_deletes_too_early_is_found() {
    let late = Rules { faults: 1, ..RULES };
    for (lag, rules) in [(0, RULES), (1, late)] {
        for keeps_the_first in [false, true] {
            let numbers = if keeps_the_first { 4 } else { 3 };
            let rules = Rules { lag, keeps_the_first, numbers, ..rules };
            finds(NOT_EXCLUDED, &format!("lag {lag}, keeps number 1: {keeps_the_first}"), &lease(rules));
        }
    }
}

/// The code did this until the model found it.
#[test]
fn one_listing_and_a_number_deleted_after_the_next_one_are_found() {
    let first = Rules { lag: 1, keeps_the_first: true, numbers: 4, listings: 1, ..RULES };
    holds("no request is late", &lease(first));
    finds(NOT_EXCLUDED, "as it was", &lease(Rules { faults: 1, ..first }));
}

/// A listing may begin before our number is there.
#[test]
#[ignore = "long: make soak"]
fn soak_one_listing_is_too_few() {
    let rules = Rules { numbers: 5, faults: 1, listings: 1, ..RULES };
    finds(NOT_EXCLUDED, "1 listing", &lease(rules));
}

/// The second request removes the number of an observer. The last listing of a takeover shows that.
#[test]
fn a_number_may_be_deleted_twice() {
    let rules = Rules { numbers: 5, repeats: true, ..RULES };
    holds("deletes twice", &lease(rules));
    finds(NOT_EXCLUDED, "deletes twice, 2 listings", &lease(Rules { listings: 2, ..rules }));
}

/// These do no harm: an observer takes over only after the holder has lost the lock, or when it has made a greater
/// number, which the listings show.
#[test]
fn an_observer_may_forget_who_made_the_number_and_whether_it_is_there() {
    for broken in [Broken::ForgetsTheMaker, Broken::ForgetsTheNumber] {
        let rules = Rules { broken, stale_looks: true, ..RULES };
        holds(&format!("{broken:?}, 1 observer"), &lease(Rules { faults: 1, ..rules }));
        holds(&format!("{broken:?}, 2 observers"), &lease(Rules { numbers: 1, observers: 2, ..rules }));
    }
}
