//! The line in memory (after `src/folder/queue.rs`, `src/folder/line.rs` and `src/sys/events.rs`): tickets, beacons,
//! and the folder of the tickets. Each call of the real code about the line is carried out here, in the same steps as
//! there, and answered.

use super::calls::{Answer, Call, NONE};
use super::explore::step;
use super::mind::Next;
use super::waiting::{owner, At, Bytes, Go, State, Waiting, EACH, FIFOS, MOST, TICKETS};

impl State {
    /// Whether a claimant that opens this FIFO now can be notified by it.
    pub fn is_lit(&self, fifo: u8) -> bool {
        self.written & (1 << fifo) != 0 && self.bytes & (1 << fifo) == 0
    }

    fn is_open(&self, fifo: u8) -> bool {
        self.written & (1 << fifo) != 0 || self.claimants.iter().any(|c| c.fifo == fifo || c.put_by == fifo)
    }

    /// A FIFO that nobody has open loses its content.
    pub fn tidy(&mut self) {
        for fifo in 0..FIFOS * MOST as u8 {
            if self.bytes & (1 << fifo) != 0 && !self.is_open(fifo) {
                self.bytes &= !(1 << fifo);
                self.handed &= !(1 << fifo);
            }
        }
    }

    /// Whether there is a byte in the FIFO that this claimant watches.
    pub fn read(&self, who: usize) -> bool {
        self.bytes & (1 << self.claimants[who].fifo) != 0
    }

    fn has_ticket(&self, ticket: u8) -> bool {
        self.tickets[ticket as usize] != NONE
    }

    pub fn tickets_in_line(&self) -> impl Iterator<Item = u8> + '_ {
        (0..TICKETS as u8).filter(|ticket| self.has_ticket(*ticket))
    }

    /// rmdir: fails unless the folder is empty.
    fn remove_queue(&mut self) {
        if self.tickets.iter().all(|fifo| *fifo == NONE) {
            self.queue = false;
            self.claimants.iter_mut().for_each(|c| c.queue_is_there = false);
        }
    }

    fn put_out(&mut self, fifo: u8, hands_over: bool) {
        if self.is_open(fifo) {
            // An earlier byte is read first.
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

    pub fn put_out_own(&self, to: &mut State, who: usize, hands_over: bool) {
        if self.rules.bytes != Bytes::None {
            to.put_out(to.claimants[who].lit, hands_over);
        }
    }

    /// A look at a beacon takes a byte, if there is one.
    pub fn take_byte(&self, to: &mut State, who: usize) {
        if self.rules.bytes == Bytes::One {
            to.bytes &= !(1 << to.claimants[who].fifo);
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
            At::Bury(first) => {
                let is_gone = from.is_dead(owner(first) as usize);
                if is_gone {
                    for ticket in from.tickets_in_line().filter(|ticket| from.is_dead(owner(*ticket) as usize)) {
                        to.tickets[ticket as usize] = NONE;
                    }
                    to.remove_queue();
                }
                let answer = if is_gone { Answer::Yes } else { Answer::No };
                let label = step(who, "looks whether {} lives").on(owner(first) as usize);
                return self.answer(to, answer, label, go);
            }

            // ---- stand ----
            At::Stand if c.queue_is_there && from.has_ticket(c.ticket) => {
                return self.answer(to, Answer::Stood, step(who, "is still in line"), go);
            }
            At::Stand => {
                (me.ticket, me.lit) = (NONE, NONE);
                self.close_beacon(&mut to, c.lit);
                return self.answer(to, Answer::Lost, step(who, "sees that somebody took its ticket"), go);
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
                let label = step(who, "finds no queue again, and tries without a line");
                return self.answer(to, Answer::Nowhere, label, go);
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
                (me.at, me.came, me.is_put_back) = (At::TakeTail, c.came + 1, false);
                assert!(c.came < EACH, "more tickets than the model has");
                to.tickets[to.claimants[who].ticket as usize] = c.lit;
                "links its ticket"
            }
            At::TakeTail => {
                me.at = At::LeaveTail(NONE);
                if from.tail != NONE {
                    let mut to = to;
                    to.claimants[who].at = At::LeaveTail(from.tail);
                    to.tail = NONE;
                    go(step(who, "takes the ticket from the tail"), to);
                }
                "finds no ticket in the tail" // the content may also be lost
            }
            At::LeaveTail(last) => {
                let is_later = last != NONE && last > c.ticket && from.has_ticket(last);
                to.tail = if is_later { last } else { c.ticket };
                let is_believed = last != NONE && (last < c.ticket || !self.rules.earlier_only);
                let told = if is_believed { last } else { NONE };
                return self.answer(to, Answer::Joined(told), step(who, "leaves a ticket in the tail"), go);
            }

            // ---- view ----
            At::View if !c.queue_is_there => {
                (me.ticket, me.lit) = (NONE, NONE);
                self.close_beacon(&mut to, c.lit);
                return self.answer(to, Answer::NoView, step(who, "finds that the line was removed"), go);
            }
            At::View => {
                let before = from.tickets_in_line().filter(|ticket| *ticket < c.ticket);
                let (bits, last) = before.fold((0, NONE), |(bits, _), ticket| (bits | 1 << ticket, ticket));
                let label = match last {
                    NONE => step(who, "reads the line: nobody is before it"),
                    last => step(who, "reads the line: {} is before it").on(owner(last) as usize),
                };
                return self.answer(to, Answer::View(bits), label, go);
            }

            // ---- watch_predecessor ----
            At::IsThere(ticket) => {
                if from.is_lit(c.fifo) && !(self.rules.pidfd && from.is_dead(owner(ticket) as usize)) {
                    return self.answer(to, Answer::Known, step(who, "sees that its beacon is still lit"), go);
                }
                self.take_byte(&mut to, who);
                (to.claimants[who].at, to.claimants[who].fifo) = (At::Lookup(ticket), NONE);
                to.tidy();
                "sees that it no longer watches a beacon that is lit"
            }
            At::Lookup(ticket) => match from.tickets[ticket as usize] {
                NONE => {
                    let label = step(who, "does not find the ticket before its own");
                    return self.answer(to, Answer::Gone, label, go);
                }
                _ if !c.queue_is_there => {
                    let label = step(who, "does not find the ticket before its own: the line was removed");
                    return self.answer(to, Answer::Gone, label, go);
                }
                fifo => {
                    me.at = At::OpenBeacon(ticket, fifo);
                    "looks up the ticket before its own"
                }
            },
            At::OpenBeacon(ticket, fifo) => {
                (me.at, me.fifo) = (At::IsLit(ticket), fifo);
                "opens the beacon"
            }
            At::IsLit(ticket) if from.is_lit(c.fifo) => {
                me.at = self.after_open(ticket);
                "sees that it is lit"
            }
            At::IsLit(ticket) => {
                // The last condition is not in the code. It bounds how often a claimant loses its place when a rule is
                // broken.
                let is_taken = from.read(who) && self.rules.takes_what_is_out && self.may_come_again(from, ticket);
                self.take_byte(&mut to, who);
                let me = &mut to.claimants[who];
                (me.at, me.fifo) = match is_taken {
                    true => (At::Discard(ticket), c.fifo),
                    false => (self.after_open(ticket), NONE),
                };
                to.tidy();
                "sees that it is out"
            }
            At::Verify(ticket) if from.has_ticket(ticket) => {
                me.at = At::Judge(ticket);
                "sees that the ticket is still there"
            }
            At::Verify(_) => {
                return self.answer(to, Answer::Gone, step(who, "sees that the ticket has gone"), go);
            }
            At::Judge(ticket) if from.is_dead(owner(ticket) as usize) => {
                me.at = At::Discard(ticket);
                "judges the one before it dead"
            }
            At::Judge(_) => {
                let label = step(who, "judges the one before it alive");
                return self.answer(to, Answer::Watches(c.fifo), label, go);
            }

            // ---- restore_order, discard ----
            At::RestoreOrder(holder) => {
                let next = from.tickets_in_line().find(|ticket| *ticket > c.ticket).filter(|_| c.queue_is_there);
                if !c.queue_is_there {
                    (me.ticket, me.lit) = (NONE, NONE);
                    self.close_beacon(&mut to, c.lit);
                }
                let may_be_put_back = from.claimants[holder as usize].came <= self.rules.put_back;
                let Some(next) = next.filter(|next| owner(*next) == holder && may_be_put_back) else {
                    let label = step(who, "reads the line: the one behind it is not the holder");
                    return self.answer(to, Answer::Done, label, go);
                };
                to.claimants[who].at = At::HasItsBid(next);
                "reads the line: the one behind it is the holder, or was"
            }
            At::HasItsBid(next) if c.shown == owner(next) || !self.rules.asks_for_the_bid => {
                (me.at, me.shown) = (At::Discard(next), NONE);
                let is_there = c.shown == owner(next);
                to.claimants[owner(next) as usize].is_put_back = is_there;
                match is_there {
                    true => "sees that the bid is still there: the holder came later",
                    false => "does not ask for the bid",
                }
            }
            At::HasItsBid(_) => {
                let label = step(who, "sees that the bid has gone: who has withdrawn may have joined in good order");
                return self.answer(to, Answer::Done, label, go);
            }
            At::Discard(ticket) => {
                let fifo = from.tickets[ticket as usize];
                to.tickets[ticket as usize] = NONE;
                if fifo == NONE {
                    return self.discarded(to, who, "finds that the ticket is no longer in the line", go);
                }
                to.claimants[who].at = At::PutOutFor(fifo);
                "takes a ticket out of the line"
            }
            At::PutOutFor(fifo) => {
                to.put_out(fifo, false);
                return self.discarded(to, who, "puts the beacon of that ticket out", go);
            }

            // ---- leave ----
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
                if !c.has_told {
                    self.put_out_own(&mut to, who, hands_over);
                }
                "puts its beacon out"
            }
            At::CloseBeacon => {
                (me.lit, me.has_told, me.put_by) = (NONE, false, NONE);
                me.at = At::RemoveQueue;
                self.close_beacon(&mut to, c.lit);
                "closes its beacon"
            }
            At::RemoveQueue => {
                to.remove_queue();
                return self.has_left(to, step(who, "tries to remove the queue"), go);
            }
            other => unreachable!("{other:?}: no place in line"),
        };
        go(step(who, what), to);
    }

    /// Ends a discard. If it is part of watching a predecessor, the predecessor is gone.
    fn discarded(&self, to: State, who: usize, what: &'static str, go: Go) {
        let is_gone = matches!(self.minds.next(to.claimants[who].mind), Next::Calls(Call::WatchPredecessor(..)));
        self.answer(to, if is_gone { Answer::Gone } else { Answer::Done }, step(who, what), go);
    }

    pub fn may_come_again(&self, state: &State, ticket: u8) -> bool {
        state.claimants[owner(ticket) as usize].came < EACH
    }

    fn after_open(&self, ticket: u8) -> At {
        match self.rules.verify_after_open {
            true => At::Verify(ticket),
            false => At::Judge(ticket),
        }
    }

    /// A beacon that nobody has open. If there is none, a new FIFO takes the name of the first beacon.
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
}
