//! What must hold for waiters, and what the model must find if a rule is broken.

use std::cell::RefCell;
use std::collections::HashSet;

use super::explore::{Model, Step};
use super::waiting::*;
use super::{finds, holds, report};

fn line(rules: Rules) -> Waiting {
    Waiting::new(rules)
}

/// One claimant calls `lf_lock` once, and two wait this often.
fn overtaken(first: u8, second: u8) -> Rules {
    Rules { waits: [false, true, true], rounds: [1, first, second], ..RULES }
}

/// Earlier answers that the code should not use any more are no part of a state. This test makes them part of it, and
/// nothing changes.
#[test]
fn the_answers_that_the_model_forgets_change_nothing() {
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

/// All states of the place that can be reached, whatever the minds of the claimants are.
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

/// A claimant overtook the first in line. The first puts it to the end of the line while its bid is there. If that bid
/// is about to be refused, the claimant polls once and joins again. A claimant whose bid was refused before it joined
/// did not overtake; without a look at the bid it would lose its place, and poll.
#[test]
fn a_claimant_that_overtook_the_first_goes_to_the_end_of_the_line() {
    let rules = Rules { put_back: 2, never_polls: true, ..overtaken(1, 2) };
    holds("put back, lf_lock, 2 wait", &line(rules));
    finds(POLLS, "put back, with a bid or after one", &line(Rules { asks_for_the_bid: false, ..rules }));
    holds("put back, 2 wait, 2 crashes", &line(Rules { put_back: 2, crashes: 2, rounds: [0, 2, 2], ..RULES }));
}

#[test]
fn three_wait_and_nobody_polls() {
    for bids_reversed in [false, true] {
        holds("3 wait", &line(Rules { bids_reversed, never_polls: true, ..RULES }));
    }
}

#[test]
fn a_holder_may_also_tell_last() {
    holds("tells last", &line(Rules { tells_first: false, never_polls: true, ..overtaken(1, 2) }));
}

#[test]
fn three_wait_and_two_are_killed() {
    holds("3 wait, 2 crashes", &line(Rules { crashes: 2, ..RULES }));
}

#[test]
fn lf_lock_overtakes_waiters_that_come_again() {
    holds("lf_lock, 2 wait", &line(Rules { never_polls: true, ..overtaken(2, 2) }));
    holds("lf_lock, 2 wait, 2 crashes", &line(Rules { crashes: 2, ..overtaken(1, 2) }));
}

#[test]
fn a_waiter_that_runs_out_of_time_is_passed_over() {
    holds("time-outs", &line(Rules { timeouts: true, never_polls: true, ..overtaken(2, 1) }));
    holds("time-outs, 1 crash", &line(Rules { timeouts: true, crashes: 1, ..overtaken(1, 1) }));
}

#[test]
fn beacons_and_polls_suffice_if_processes_can_not_be_watched() {
    holds("no pidfd", &line(Rules { pidfd: false, crashes: 2, ..overtaken(1, 2) }));
}

#[test]
fn one_beacon_is_as_safe_as_two() {
    holds("1 beacon", &line(Rules { beacons: 1, never_polls: true, ..overtaken(2, 2) }));
}

#[test]
fn the_look_makes_up_for_a_lost_event() {
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
    let one_looks = Rules { looks: true, lookers: [false, false, true], no_shows: 1, ..RULES };
    holds("3 wait, 1 looks", &line(one_looks));
}

#[test]
#[ignore = "long: make soak"]
fn soak_three_wait() {
    holds("no pidfd", &line(Rules { pidfd: false, crashes: 2, ..RULES }));
    holds("time-outs, 2 crashes", &line(Rules { timeouts: true, crashes: 2, ..RULES }));
    holds("children", &line(Rules { children: true, crashes: 2, ..RULES }));
    holds("3 wait, 1 comes again", &line(Rules { rounds: [1, 1, 2], ..RULES }));
}

#[test]
#[ignore = "long: make soak"]
fn soak_three_wait_and_overtake() {
    holds("3 wait, put back", &line(Rules { put_back: 1, never_polls: true, ..RULES }));
    holds("3 wait, put back, 2 crashes", &line(Rules { put_back: 1, crashes: 2, ..RULES }));
}

#[test]
fn a_ticket_must_be_checked_again_after_its_beacon_was_opened() {
    finds(ASLEEP, "no second look", &line(Rules { verify_after_open: false, ..overtaken(2, 1) }));
}

/// With the bytes, a claimant that still has the beacon open is still notified. (The bytes cost the next ticket
/// its place.) Without them the news is lost.
#[test]
fn a_beacon_must_not_be_lit_while_somebody_watches_it() {
    let reused = Rules { reuse_check: false, beacons: 1, ..overtaken(2, 2) };
    holds("lit while watched", &line(reused));
    finds(ASLEEP, "lit while watched, no byte", &line(Rules { bytes: Bytes::None, ..reused }));
}

/// The ticket of a claimant that left outlives the beacon for a moment. A newcomer in that moment must not wait for it.
#[test]
fn a_ticket_whose_beacon_was_put_out_is_removed() {
    let left = Rules { takes_what_is_out: false, ..overtaken(1, 1) };
    holds("ticket after beacon", &line(left));
    finds(POLLS, "ticket after beacon", &line(Rules { never_polls: true, ..left }));
    let ticket_first = Rules { ticket_before_beacon: true, tells_first: false, ..left };
    holds("ticket before beacon", &line(Rules { never_polls: true, ..ticket_first }));
}

#[test]
fn a_watch_that_is_set_up_after_the_check_is_too_late() {
    finds(ASLEEP, "watch after check", &line(Rules { watch_before_check: false, ..overtaken(1, 1) }));
}

#[test]
fn old_news_must_be_discarded_before_the_check() {
    let late = Rules { drain_before_check: false, waits: [false, false, true], ..RULES };
    finds(ASLEEP, "forgets after the check", &line(late));
}

/// A forked child keeps the FIFO of a claimant that leaves. Closing the FIFO then notifies nobody, so the byte must.
#[test]
fn the_byte_notifies_if_children_keep_beacons_open() {
    let children = Rules { children: true, ..RULES };
    finds(ASLEEP, "children, no byte", &line(Rules { bytes: Bytes::None, ..children }));
    holds("no children, no byte", &line(Rules { bytes: Bytes::None, ..overtaken(1, 2) }));
}

/// Two newcomers may come at the same moment, and each may take the other for its predecessor.
#[test]
fn nobody_waits_for_a_later_ticket() {
    finds(ASLEEP, "believes any ticket in the tail", &line(Rules { earlier_only: false, ..overtaken(1, 1) }));
}

/// A look at a beacon takes a byte, so the others that watch the beacon are not notified.
#[test]
fn one_byte_is_not_enough_for_two_watchers() {
    finds(ASLEEP, "children, one byte", &line(Rules { children: true, bytes: Bytes::One, ..RULES }));
    let report = report("children, many bytes", &line(Rules { children: true, ..overtaken(1, 2) }));
    assert!(report.violation.is_none());
}

/// The last claimant in line may remove the queue between the two steps of a claimant that makes it.
#[test]
fn a_claimant_must_make_its_queue_again_if_it_was_removed() {
    finds(POLLS, "gives up the queue", &line(Rules { keeps_opening: false, never_polls: true, ..RULES }));
}

/// A reader that has the lock keeps it until the other reader is in too. So it is not enough that they go in one by one.
fn shared(slots: [u8; MOST], rules: Rules) -> Rules {
    let is_reader = slots.map(|slots| slots == 0);
    Rules { slots, keeps: is_reader, ..rules }
}

#[test]
fn readers_go_in_together_and_nobody_sleeps_for_ever() {
    for slots in READERS_AND_WRITER {
        holds(&format!("lf_lock, 2 wait, {slots:?}"), &line(Rules { slots, never_polls: true, ..overtaken(1, 1) }));
        holds(&format!("lf_lock, 2 wait, 2 crashes, {slots:?}"), &line(Rules { slots, crashes: 2, ..overtaken(1, 1) }));
    }
    holds("2 readers behind a writer", &line(shared([1, 0, 0], overtaken(1, 1))));
    holds("2 readers and a writer wait", &line(Rules { slots: [0, 1, 0], never_polls: true, ..RULES }));
}

const READERS_AND_WRITER: [[u8; MOST]; 3] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

#[test]
#[ignore = "long: make soak"]
fn soak_readers_and_a_writer_wait() {
    for slots in READERS_AND_WRITER {
        holds(&format!("3 wait, {slots:?}"), &line(Rules { slots, never_polls: true, ..RULES }));
        holds(&format!("3 wait, {slots:?}, 2 crashes"), &line(Rules { slots, crashes: 2, ..RULES }));
    }
}

/// A reader that stays until another one is in too, which stands behind a writer.
#[test]
fn a_reader_behind_a_writer_in_line_waits_for_it() {
    finds(ASLEEP, "a reader, a writer, a reader", &line(shared([1, 0, 0], RULES)));
}

#[test]
fn a_reader_must_pass_its_turn_on() {
    let rules = shared([1, 0, 0], overtaken(1, 1));
    finds(ASLEEP, "keeps its ticket", &line(Rules { passes_on: false, ..rules }));
}
