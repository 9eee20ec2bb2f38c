//! How the server carries out the calls of the real code in `lease.rs`.
//!
//! Some steps follow each other at once, because a pause between them adds nothing: a listing begins when the call
//! before it was executed, and the question for the bid is answered when the listing ends. With a pause, the listing
//! could begin or end later. But a listing that begins earlier or ends later may show all that this one shows.

use super::explore::{fault, step, Step};
use super::lease::{At, Broken, Go, Leasing, State};
use super::lease_mind::*;

const MAKES: [&str; 9] = ["", "makes 1", "makes 2", "makes 3", "makes 4", "makes 5", "makes 6", "makes 7", "makes 8"];

impl Leasing {
    pub fn steps_of_call(&self, from: &State, who: usize, go: Go) {
        let Next::Calls(call) = self.minds.next(from.claimants[who].mind) else { unreachable!("has ended") };
        match call {
            Call::Make(number) => {
                let (own, label) = (name(number, who as u8), step(who, MAKES[number as usize]));
                let mut done = *from;
                done.make(own, number);
                self.answer(done, Answer::Done, label, go);
                if self.may_go_wrong(from) {
                    let late = |to: &State| State { to_make: to.to_make | own, faults: to.faults + 1, ..*to };
                    let what = fault(who, "hears nothing of its request to make a number, which is on its way");
                    self.answer(late(from), Answer::Done, what, go);
                    if done.there & own != 0 {
                        let what = fault(who, "makes a number, and its request is on its way once more");
                        self.answer(late(&done), Answer::Done, what, go);
                    }
                }
            }
            Call::Remove(number) => {
                self.remove(from, number, step(who, "removes its number"), &mut |label, to| {
                    self.answer(to, Answer::Done, label, go);
                });
            }
            Call::List => {
                let c = &from.claimants[who];
                let shown = |seen| self.shown(from, who, seen);
                for mind in self.minds.after_listing(c.mind, c.must, c.may, shown).iter() {
                    let mut to = *from;
                    to.ends_listing(who);
                    to.claimants[who].mind = *mind;
                    self.go_on(to, step(who, "lists"), go);
                }
                if self.may_go_wrong(from) {
                    let mut to = State { faults: from.faults + 1, ..*from };
                    to.ends_listing(who);
                    self.answer(to, Answer::Error, fault(who, "can't list"), go);
                }
            }
            Call::Now | Call::HasBid => unreachable!("answered at once"),
        }
    }

    fn may_go_wrong(&self, state: &State) -> bool {
        state.faults < self.rules.faults && self.may_fail(state)
    }

    /// A request to remove a number. It may be executed late, also once more.
    pub fn remove(&self, from: &State, number: u8, label: Step, go: Go) {
        let mut done = *from;
        done.remove(number);
        go(label, done);
        if self.may_go_wrong(from) {
            let late = |to: &State| State { to_remove: to.to_remove | 1 << number, faults: to.faults + 1, ..*to };
            go(fault(label.who, "hears nothing of its request to remove a number, which is on its way"), late(from));
            go(fault(label.who, "removes a number, and its request is on its way once more"), late(&done));
        }
    }

    fn answer(&self, mut to: State, answer: Answer, label: Step, go: Go) {
        let c = &mut to.claimants[label.who];
        c.mind = self.minds.after(c.mind, answer);
        self.go_on(to, label, go);
    }

    /// Carries out what the code does next, up to the next step.
    pub fn go_on(&self, mut to: State, label: Step, go: Go) {
        let who = label.who;
        let c = &mut to.claimants[who];
        let next = self.minds.next(c.mind);
        match next {
            Next::Calls(Call::Now) => self.answer(to, Answer::At(to.claimants[who].elapsed), label, go),
            Next::Calls(Call::HasBid) => {
                self.answer(to, Answer::HasBid(to.has_bid()), label, go);
                if self.may_go_wrong(&to) {
                    to.faults += 1;
                    self.answer(to, Answer::Error, fault(who, "lists, and can't look for the bid"), go);
                }
            }
            Next::Calls(Call::List) => {
                if let Some(again) = self.minds.listing(c.mind, self.rules.listings) {
                    return self.answer(to, again, label, go);
                }
                to.begins_to_list(who);
                go(label, to);
            }
            Next::Calls(Call::Make(_) | Call::Remove(_)) => go(label, to),
            Next::Renewed(memory) | Next::NotYet(memory) => {
                let is_renewed = matches!(next, Next::Renewed(_));
                (c.at, c.mind, c.elapsed, c.memory) = (At::Idle, 0, 0, memory);
                c.memory.ages(0, self.oldest(who));
                if is_renewed && self.rules.broken == Broken::CountsFromTheAnswer {
                    c.memory.began = 0;
                }
                go(Step { what: if is_renewed { "has renewed" } else { "has not renewed" }, ..label }, to);
            }
            Next::Lost(_) => {
                to.is_over(who, if to.deleted { At::Gone } else { At::Removing });
                to.forget();
                go(Step { what: "has lost the lock", ..label }, to);
            }
            Next::TakesOver(true) => self.takes_over(to, Step { what: "has taken over", ..label }, go),
            Next::TakesOver(false) => {
                (c.at, c.mind) = (At::Idle, 0);
                if to.deleted {
                    to.is_over(who, At::Gone);
                }
                go(Step { what: "has not taken over", ..label }, to);
            }
        }
    }

    /// What the code is told of a listing.
    fn shown(&self, from: &State, who: usize, seen: Set) -> Set {
        let known = from.claimants[who].sight.map_or(0, |sight| sight.last);
        match self.rules.broken {
            _ if who == HOLDER as usize => seen,
            Broken::ForgetsTheNumber => seen | known,
            Broken::ForgetsTheMaker => {
                let own = seen & name(number_of(known) + 1, who as u8);
                without_makers(seen & !own) | own
            }
            _ => seen,
        }
    }
}
