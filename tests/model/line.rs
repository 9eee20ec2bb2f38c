//! The model of the line (`src/folder/queue.rs`, `src/sys/events.rs`): tickets, beacons, and the folder that they are in.

use super::explore::step;
use super::waiting::{owner, At, Bytes, Go, State, Waiting, Why, EACH, FIFOS, MOST, NONE, TICKETS};

impl State {
    /// Whether somebody who opens this FIFO now can be told by it.
    pub fn is_lit(&self, fifo: u8) -> bool {
        self.written & (1 << fifo) != 0 && self.bytes & (1 << fifo) == 0
    }

    fn is_open(&self, fifo: u8) -> bool {
        self.written & (1 << fifo) != 0 || self.claimants.iter().any(|c| c.fifo == fifo)
    }

    /// What nobody has open forgets what is in it.
    pub fn tidy(&mut self) {
        for fifo in 0..FIFOS * MOST as u8 {
            if self.bytes & (1 << fifo) != 0 && !self.is_open(fifo) {
                self.bytes &= !(1 << fifo);
                self.handed &= !(1 << fifo);
            }
        }
    }

    fn has_ticket(&self, ticket: u8) -> bool {
        self.tickets[ticket as usize] != NONE
    }

    /// rmdir: fails while anything is in it.
    fn remove_queue(&mut self) {
        if self.tickets.iter().all(|fifo| *fifo == NONE) {
            self.queue = false;
            self.claimants.iter_mut().for_each(|c| c.queue_is_there = false);
        }
    }

    fn put_out(&mut self, fifo: u8, hands_over: bool) {
        if self.is_open(fifo) {
            // What was there before is read first.
            if hands_over && self.bytes & (1 << fifo) == 0 {
                self.handed |= 1 << fifo;
            }
            self.bytes |= 1 << fifo;
        }
    }
}

impl Waiting {
    fn close_beacon(&self, to: &mut State, fifo: u8) {
        if fifo != NONE && !self.rules.children {
            to.written &= !(1 << fifo);
            to.tidy();
        }
    }

    pub fn first_of_leaving(&self, hands_over: bool) -> At {
        if self.rules.ticket_before_beacon {
            At::Unticket(hands_over)
        } else {
            At::PutOut(hands_over)
        }
    }

    pub fn steps_in_line(&self, from: &State, who: usize, go: Go) {
        let mut to = *from;
        let c = from.claimants[who];
        let me = &mut to.claimants[who];
        let what = match c.at {
            // ---- stand_in_line ----
            At::Stand if !c.line => {
                me.at = At::OpenQueue(false);
                "has no place in line yet"
            }
            At::Stand if c.ticket != NONE && c.queue_is_there && from.has_ticket(c.ticket) => {
                me.at = At::View;
                "is still in line"
            }
            At::Stand => {
                // Somebody took its ticket: it goes to the end of the line.
                (me.at, me.ticket, me.lit) = (At::ChooseBeacon, NONE, NONE);
                self.close_beacon(&mut to, c.lit);
                "is not in line"
            }
            At::OpenQueue(joining) if from.queue => {
                (me.line, me.queue_is_there) = (true, true);
                me.at = if joining { At::Link } else { At::ChooseBeacon };
                "opens the queue"
            }
            At::OpenQueue(joining) => {
                me.at = At::MakeQueue(joining);
                "finds no queue"
            }
            At::MakeQueue(joining) => {
                me.at = At::ReopenQueue(joining);
                to.queue = true;
                "makes the queue"
            }
            At::ReopenQueue(joining) if from.queue => {
                (me.line, me.queue_is_there) = (true, true);
                me.at = if joining { At::Link } else { At::ChooseBeacon };
                "opens the queue that it made"
            }
            At::ReopenQueue(joining) if joining || self.rules.keeps_opening => {
                me.at = At::OpenQueue(joining);
                "finds no queue again"
            }
            At::ReopenQueue(_) => {
                to.forget_watch(who);
                to.claimants[who].at = At::Check(Why::Nowhere);
                "finds no queue again, and tries without a line"
            }
            At::ChooseBeacon => return self.choose_beacon(to, who, go),
            At::Light(fifo) => {
                (me.at, me.lit) = (At::Link, fifo);
                to.written |= 1 << fifo;
                "lights its beacon"
            }
            At::Link if !c.queue_is_there => {
                me.at = At::OpenQueue(true);
                "can't link its ticket: the queue was removed"
            }
            At::Link => {
                me.ticket = c.came * MOST as u8 + who as u8;
                (me.at, me.came) = (At::TakeTail, c.came + 1);
                to.tickets[to.claimants[who].ticket as usize] = c.lit;
                "links its ticket"
            }
            At::TakeTail => {
                me.at = At::LeaveTail(NONE);
                if from.tail != NONE {
                    let mut to = to;
                    to.claimants[who].at = At::LeaveTail(from.tail);
                    to.tail = NONE;
                    go(step(who, "takes the name that the last who joined left"), to);
                }
                "finds no name" // it may also be gone
            }
            At::LeaveTail(last) => {
                to.tail = c.ticket;
                let is_known = last != NONE && (last < c.ticket || !self.rules.earlier_only) && !c.due;
                (me.at, me.predecessor) = if is_known { (At::Lookup, last) } else { (At::View, NONE) };
                "leaves its own name for the next"
            }
            // ---- view, watch_predecessor ----
            At::View => return self.view(to, who, go),
            At::Lookup => match from.tickets[c.predecessor as usize] {
                NONE => {
                    me.at = At::Stand;
                    "does not find the ticket before its own"
                }
                fifo => {
                    me.at = At::OpenBeacon(fifo);
                    "looks up the ticket before its own"
                }
            },
            At::OpenBeacon(fifo) => {
                (me.at, me.fifo) = (At::IsLit, fifo);
                "opens the beacon"
            }
            At::IsLit if from.is_lit(c.fifo) => {
                me.at = self.after_open();
                "sees that it is lit"
            }
            At::IsLit => {
                let is_out = from.bytes & (1 << c.fifo) != 0;
                (me.at, me.fifo) = match is_out && self.rules.takes_what_is_out {
                    true => (At::TakeLeft(c.predecessor), NONE),
                    false => (self.after_open(), NONE),
                };
                if self.rules.bytes == Bytes::One {
                    to.bytes &= !(1 << c.fifo);
                }
                to.tidy();
                "sees that it is out"
            }
            At::TakeLeft(ticket) => {
                to.tickets[ticket as usize] = NONE;
                me.at = At::Stand;
                "takes the ticket of one who leaves out of the line"
            }
            At::Verify if from.has_ticket(c.predecessor) => {
                me.at = At::Judge;
                "sees that the ticket is still there"
            }
            At::Verify => {
                (me.at, me.fifo) = (At::Stand, NONE);
                to.tidy();
                "sees that the ticket has gone"
            }
            At::Judge if from.is_dead(owner(c.predecessor) as usize) => {
                me.at = At::Discard(c.predecessor);
                me.fifo = NONE;
                to.tidy();
                "judges the one before it dead"
            }
            At::Judge => {
                me.ahead = c.predecessor;
                me.at = if c.due { At::Look } else { At::Asleep };
                "judges the one before it alive"
            }

            // ---- forfeit_no_show ----
            At::Look => {
                me.due = false; // but where it takes a ticket out
                if from.bids != 0 {
                    (me.at, me.no_show) = (At::Asleep, NONE);
                    "sees a holder"
                } else if c.no_show != NONE && c.no_show == c.first && self.may_come_again(from, c.first) {
                    (me.at, me.no_show, me.due) = (At::Discard(c.first), NONE, true);
                    "sees that the first in line does not come forward"
                } else {
                    (me.at, me.no_show) = (At::Asleep, c.first);
                    "sees that the lock is free"
                }
            }
            At::Discard(ticket) => {
                let fifo = from.tickets[ticket as usize];
                to.tickets[ticket as usize] = NONE;
                me.at = if fifo == NONE { At::Stand } else { At::PutOutFor(fifo) };
                "takes a ticket out of the line"
            }
            At::PutOutFor(fifo) => {
                me.at = At::Stand;
                to.put_out(fifo, false);
                "puts the beacon of that ticket out"
            }

            // ---- leave_line ----
            At::Unticket(hands_over) => {
                me.ticket = NONE;
                me.at = if self.rules.ticket_before_beacon { At::PutOut(hands_over) } else { At::CloseBeacon };
                if c.queue_is_there {
                    to.tickets[c.ticket as usize] = NONE;
                }
                "deletes its ticket"
            }
            At::PutOut(hands_over) => {
                me.at = if self.rules.ticket_before_beacon { At::CloseBeacon } else { At::Unticket(hands_over) };
                if self.rules.bytes != Bytes::None {
                    to.put_out(c.lit, hands_over);
                }
                "puts its beacon out"
            }
            At::CloseBeacon => {
                me.lit = NONE;
                me.at = At::RemoveQueue;
                self.close_beacon(&mut to, c.lit);
                "closes its beacon"
            }
            At::RemoveQueue => {
                to.remove_queue();
                self.round_is_over(&mut to, who);
                "tries to remove the queue"
            }
            _ => unreachable!("no place in line"),
        };
        go(step(who, what), to);
    }

    /// Not in the code: it bounds the model.
    fn may_come_again(&self, state: &State, ticket: u8) -> bool {
        state.claimants[owner(ticket) as usize].came < EACH
    }

    fn after_open(&self) -> At {
        match self.rules.verify_after_open {
            true => At::Verify,
            false => At::Judge,
        }
    }

    /// One that nobody has open; else a new FIFO takes the first's name.
    fn choose_beacon(&self, mut to: State, who: usize, go: Go) {
        let base = who as u8 * FIFOS;
        let slots = to.claimants[who].slots;
        let mut free = slots.iter().take(self.rules.beacons).map(|slot| base + slot);
        let free = free.find(|fifo| !self.rules.reuse_check || !to.is_open(*fifo));
        let fifo = free.unwrap_or_else(|| {
            let fresh = (0..FIFOS).find(|f| !slots[..self.rules.beacons].contains(f) && !to.is_open(base + f));
            let fresh = fresh.expect("no more are open than there are claimants");
            to.claimants[who].slots[0] = fresh;
            base + fresh
        });
        to.claimants[who].at = At::Light(fifo);
        go(step(who, "chooses a beacon"), to);
    }

    fn view(&self, mut to: State, who: usize, go: Go) {
        let c = &mut to.claimants[who];
        let before: Vec<u8> = (0..TICKETS as u8).filter(|t| *t < c.ticket && to.tickets[*t as usize] != NONE).collect();
        c.predecessor = before.last().copied().unwrap_or(NONE);
        c.first = before.first().copied().unwrap_or(NONE);
        let known = c.ahead;
        let Some(predecessor) = before.last().copied() else {
            c.at = At::First;
            return go(step(who, "reads the line: nobody is before it"), to);
        };
        let label = step(who, "reads the line: {} is before it").on(owner(predecessor) as usize);
        let fifo = c.fifo;
        let is_there =
            known == predecessor && fifo != NONE && to.is_lit(fifo) && !to.is_dead(owner(predecessor) as usize);
        let c = &mut to.claimants[who];
        if is_there {
            c.at = if c.due { At::Look } else { At::Asleep };
            return go(label, to);
        }
        (c.at, c.ahead, c.fifo) = (At::Lookup, NONE, NONE);
        to.tidy();
        go(label, to);
    }
}
