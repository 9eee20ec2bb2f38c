//! What wakes a sleeper. It follows the sleep of `src/api/wait.rs`.

use super::calls::NONE;
use super::explore::{fault, step};
use super::mind::{Memory, Next, Task};
use super::waiting::{owner, Claimant, Go, State, Waiting};

impl Waiting {
    pub fn sleep_of(&self, c: &Claimant) -> (Memory, bool) {
        match self.minds.next(c.mind) {
            Next::Sleeps(memory, is_told) => (memory, is_told),
            other => unreachable!("asleep, but {other:?}"),
        }
    }

    /// A sleeper is woken by what `Wait::waits_for` names, or by the time.
    pub fn steps_of_sleep(&self, from: &State, who: usize, go: Go) {
        let c = &from.claimants[who];
        let (memory, is_told) = self.sleep_of(c);
        let mut wake = |what: &'static str, memory: Memory, woken: bool, due: bool| {
            self.begin(*from, Task::Step { memory, woken, due }, step(who, what), go);
        };
        let dead = |who: u8| self.rules.pidfd && who != NONE && from.is_dead(who as usize);
        if memory.ahead != NONE {
            if c.fifo != NONE && !from.is_lit(c.fifo) {
                // Only bytes count as news. Without a byte, the beacon was closed.
                wake("is woken: the beacon went out", memory, from.bytes & (1 << c.fifo) != 0, false);
            }
            if dead(owner(memory.ahead)) {
                wake("is woken: the one before it died", memory, false, false);
            }
        } else {
            if c.news {
                wake("is woken: a bid was deleted", memory, true, false);
            }
            if dead(memory.holder) {
                wake("is woken: the holder died", memory, false, false);
            }
        }
        if !is_told {
            wake("polls", memory, false, false);
        }
        if self.rules.looks && self.rules.lookers[who] {
            // This is not in the code. It bounds how often a claimant loses its place and comes again.
            let came = |ticket: u8| from.claimants[owner(ticket) as usize].came;
            let is_bounded = memory.no_show != NONE && came(memory.no_show) > self.rules.no_shows;
            let (no_show, signs) = if is_bounded { (NONE, 0) } else { (memory.no_show, memory.signs) };
            wake("wakes up for a look", Memory { no_show, signs, ..memory }, false, true);
        }
        if self.rules.timeouts {
            let mut to = *from;
            to.close_wait(who);
            self.begin(to, Task::LockOutOfTurn, fault(who, "runs out of time"), go);
        }
    }
}
