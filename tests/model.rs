//! The protocol, as explicit-state models: every order in which everything can happen. `docs/model.md` says what is modelled and
//! what was found; `model/bidding.rs` is check, bid, check, and `model/waiting.rs` the line.
//!
//! A test of a broken rule asserts that the model finds what it should. `--nocapture` prints state counts and shortest traces.

mod model {
    pub mod bidding;
    mod bidding_rules;
    pub mod explore;
    mod line;
    pub mod waiting;
    mod waiting_rules;
}

use model::explore::{explore, Model, Report};

fn report(what: &str, model: &impl Model) -> Report {
    let report = explore(model);
    println!("{what}: {} states, {} ends", report.states, report.ends);
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

mod bidding {
    use super::model::bidding::{Kind::*, *};
    use super::model::explore::TRAP;
    use super::{finds, holds};

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
}

mod waiting {
    use super::model::waiting::*;
    use super::{finds, holds, report};

    fn line(rules: Rules) -> Waiting {
        Waiting { rules }
    }

    /// One that calls `lf_lock`, and two that wait; these come so often.
    fn overtaken(first: u8, second: u8) -> Rules {
        Rules { waits: [false, true, true], rounds: [1, first, second], ..RULES }
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
}
