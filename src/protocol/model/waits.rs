//! What must hold of those who wait, and what must be found where a rule is broken.

use std::cell::RefCell;
use std::collections::HashSet;

use super::explore::{Model, Step};
use super::waiting::*;
use super::{finds, holds, report};

fn line(rules: Rules) -> Waiting {
    Waiting::new(rules)
}

/// One that calls `lf_lock`, and two that wait; these come so often.
fn overtaken(first: u8, second: u8) -> Rules {
    Rules { waits: [false, true, true], rounds: [1, first, second], ..RULES }
}

/// What the code was told before, and should not use any more, is no part of a state. Here it is, and nothing comes of it.
#[test]
fn what_the_model_forgets_changes_nothing() {
    let few = Rules { rounds: [0, 1, 1], put_back: 1, ..RULES };
    for rules in [
        Rules { crashes: 1, ..few },
        Rules { rounds: [0, 2, 1], never_polls: true, ..few },
        Rules { lossy: true, looks: true, timeouts: true, ..few },
        overtaken(1, 1),
    ] {
        let [with, without] = [Waiting::new(rules), Waiting::that_forgets_nothing(rules)].map(places);
        assert!(with.len() > 3000 && with == without, "{} and {} states of the place", with.len(), without.len());
    }
}

/// The states of the place that can be reached, whatever the claimants have in mind.
fn places(model: Waiting) -> HashSet<State> {
    let places = Places { model, seen: RefCell::default() };
    holds("to compare", &places);
    places.seen.into_inner()
}

struct Places {
    model: Waiting,
    seen: RefCell<HashSet<State>>,
}

impl Model for Places {
    type State = State;

    fn start(&self) -> State {
        self.model.start()
    }

    fn steps(&self, from: &State, go: &mut dyn FnMut(Step, State)) {
        self.model.steps(from, go);
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let mut place = *state;
        place.claimants.iter_mut().for_each(|c| c.mind = 0);
        self.seen.borrow_mut().insert(place);
        self.model.wrong(state)
    }

    fn wrong_end(&self, state: &State) -> Option<&'static str> {
        self.model.wrong_end(state)
    }
}

/// The first in line puts who overtook it to the end of the line. That one may have been refused by then, and have joined in
/// good order: it polls, once, and joins again.
#[test]
fn who_overtook_the_first_goes_to_the_end_of_the_line() {
    let rules = Rules { put_back: 2, never_polls: true, ..overtaken(1, 2) };
    holds("put back, lf_lock, 2 wait", &line(rules));
    holds("put back, 2 wait, 2 crashes", &line(Rules { put_back: 2, crashes: 2, rounds: [0, 2, 2], ..RULES }));
}

#[test]
fn three_wait_and_nobody_polls() {
    for bids_reversed in [false, true] {
        holds("3 wait", &line(Rules { bids_reversed, never_polls: true, ..RULES }));
    }
}

#[test]
fn three_wait_and_two_are_killed() {
    holds("3 wait, 2 crashes", &line(Rules { crashes: 2, ..RULES }));
}

#[test]
fn lf_lock_overtakes_those_who_come_again() {
    holds("lf_lock, 2 wait", &line(Rules { never_polls: true, ..overtaken(2, 2) }));
    holds("lf_lock, 2 wait, 2 crashes", &line(Rules { crashes: 2, ..overtaken(1, 2) }));
}

#[test]
fn whoever_runs_out_of_time_is_passed_over() {
    holds("time-outs", &line(Rules { timeouts: true, never_polls: true, ..overtaken(2, 1) }));
    holds("time-outs, 1 crash", &line(Rules { timeouts: true, crashes: 1, ..overtaken(1, 1) }));
}

#[test]
fn where_processes_cant_be_watched_beacons_and_polls_suffice() {
    holds("no pidfd", &line(Rules { pidfd: false, crashes: 2, ..overtaken(1, 2) }));
}

#[test]
fn one_beacon_is_as_safe_as_two() {
    holds("1 beacon", &line(Rules { beacons: 1, never_polls: true, ..overtaken(2, 2) }));
}

#[test]
fn a_lost_event_is_made_good_by_the_look() {
    let lossy = Rules { lossy: true, ..overtaken(1, 1) };
    finds(ASLEEP, "lost events, no look", &line(lossy));
    let few = Rules { looks: true, ..lossy };
    holds("lost events, the look, lf_lock", &line(Rules { rounds: [1, 1, 0], crashes: 1, ..few }));
    holds("lost events, the look, a line", &line(Rules { rounds: [0, 1, 1], crashes: 1, ..few }));
}

#[test]
#[ignore = "long: make soak"]
fn soak_looks() {
    holds("lost events, the look", &line(Rules { lossy: true, looks: true, ..overtaken(1, 1) }));
}

#[test]
#[ignore = "long: make soak"]
fn soak_three_wait() {
    holds("no pidfd", &line(Rules { pidfd: false, crashes: 2, ..RULES }));
    holds("time-outs, 2 crashes", &line(Rules { timeouts: true, crashes: 2, ..RULES }));
    holds("children", &line(Rules { children: true, crashes: 2, ..RULES }));
    holds("3 wait, put back", &line(Rules { put_back: 1, never_polls: true, ..RULES }));
    holds("3 wait, put back, 2 crashes", &line(Rules { put_back: 1, crashes: 2, ..RULES }));
    holds("3 wait, 1 comes again", &line(Rules { rounds: [1, 1, 2], ..RULES }));
}

#[test]
fn a_ticket_must_be_looked_for_after_its_beacon_was_opened() {
    finds(ASLEEP, "no second look", &line(Rules { verify_after_open: false, ..overtaken(2, 1) }));
}

/// With the bytes, who still has the beacon open is told all the same (and they cost the next ticket its place). Without them
/// it's lost.
#[test]
fn a_beacon_must_not_be_lit_while_somebody_watches_it() {
    let reused = Rules { reuse_check: false, beacons: 1, ..overtaken(2, 2) };
    holds("lit while watched", &line(reused));
    finds(ASLEEP, "lit while watched, no byte", &line(Rules { bytes: Bytes::None, ..reused }));
}

/// The ticket of one who left outlives its beacon by a moment. Who comes in that moment must not wait for it.
#[test]
fn a_ticket_whose_beacon_was_put_out_is_taken_away() {
    let left = Rules { takes_what_is_out: false, ..overtaken(1, 1) };
    holds("ticket after beacon", &line(left));
    finds(POLLS, "ticket after beacon", &line(Rules { never_polls: true, ..left }));
    holds("ticket before beacon", &line(Rules { ticket_before_beacon: true, never_polls: true, ..left }));
}

#[test]
fn a_watch_that_is_set_up_after_the_check_is_too_late() {
    finds(ASLEEP, "watch after check", &line(Rules { watch_before_check: false, ..overtaken(1, 1) }));
}

#[test]
fn news_must_be_forgotten_before_the_check() {
    let late = Rules { drain_before_check: false, waits: [false, false, true], ..RULES };
    finds(ASLEEP, "forgets after the check", &line(late));
}

/// A forked child keeps the FIFO of a claimant that leaves, so closing it tells nobody, and the byte must.
#[test]
fn where_children_keep_beacons_open_the_byte_tells() {
    let children = Rules { children: true, ..RULES };
    finds(ASLEEP, "children, no byte", &line(Rules { bytes: Bytes::None, ..children }));
    holds("no children, no byte", &line(Rules { bytes: Bytes::None, ..overtaken(1, 2) }));
}

/// Two may come at the same moment, and each take the other for the one before it.
#[test]
fn nobody_waits_for_a_later_one() {
    finds(ASLEEP, "waits for whoever left a name", &line(Rules { earlier_only: false, ..overtaken(1, 1) }));
}

/// Whoever looks whether a beacon is lit takes a byte, and others who watch it are not told.
#[test]
fn one_byte_is_not_enough_for_two_who_watch() {
    finds(ASLEEP, "children, one byte", &line(Rules { children: true, bytes: Bytes::One, ..RULES }));
    let report = report("children, many bytes", &line(Rules { children: true, ..overtaken(1, 2) }));
    assert!(report.violation.is_none());
}

/// The last who leaves may remove the queue between the two steps of one who makes it.
#[test]
fn whoever_finds_its_queue_removed_must_make_it_again() {
    finds(POLLS, "gives up the queue", &line(Rules { keeps_opening: false, never_polls: true, ..RULES }));
}
