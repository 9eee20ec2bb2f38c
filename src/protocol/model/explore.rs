//! A breadth-first explorer. It visits every state that a model can reach, and gives the shortest path to a state that
//! is wrong.

use std::fmt;
use std::hash::{Hash, Hasher};

/// One step of one claimant. The text may name another claimant at `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub who: usize,
    pub what: &'static str,
    pub whom: usize,
    /// A fault such as a crash or a lost event. It may happen, but no claimant can rely on it.
    pub is_fault: bool,
}

pub fn step(who: usize, what: &'static str) -> Step {
    Step { who, what, whom: who, is_fault: false }
}

pub fn fault(who: usize, what: &'static str) -> Step {
    Step { is_fault: true, ..step(who, what) }
}

impl Step {
    pub fn on(self, whom: usize) -> Step {
        Step { whom, ..self }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |who: usize| (b'A' + who as u8) as char;
        write!(f, "{} {}", name(self.who), self.what.replace("{}", &name(self.whom).to_string()))
    }
}

pub trait Model {
    type State: Copy + Eq + Hash;

    fn start(&self) -> Self::State;
    /// Calls `go` with every step that is possible, and with the state to which it leads.
    fn steps(&self, from: &Self::State, go: &mut dyn FnMut(Step, Self::State));
    /// What is wrong with this state, which may be any state.
    fn wrong(&self, state: &Self::State) -> Option<&'static str>;
    /// What is wrong with this end. An end is a state in which only faults can follow.
    fn wrong_end(&self, state: &Self::State) -> Option<&'static str>;
}

pub struct Report {
    pub states: usize,
    pub ends: usize,
    pub violation: Option<Violation>,
}

pub struct Violation {
    pub what: &'static str,
    pub trace: Vec<Step>,
}

pub const TRAP: &str = "no end can be reached from here";

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, in {} steps:", self.what, self.trace.len())?;
        self.trace.iter().try_for_each(|step| writeln!(f, "    {step}"))
    }
}

/// Stops at the first violation. Without a violation, the report covers all states. It also means that an end can be
/// reached from each of them without the help of a fault, so a fair scheduler reaches an end.
pub fn explore<M: Model>(model: &M) -> Report {
    let mut seen = Seen::new();
    let mut parents = vec![0];
    // The steps that are no faults, as numbers of states. The steps from state n begin at edges_of[n].
    let (mut edges, mut edges_of) = (Vec::<u32>::new(), vec![0]);
    let mut is_end = Vec::new();
    seen.insert(model.start());
    let mut violation = None;
    let mut now = 0;
    while now < seen.states.len() {
        let state = seen.states[now];
        let mut moves = false;
        model.steps(&state, &mut |step, to| {
            let (number, is_new) = seen.insert(to);
            if is_new {
                parents.push(now as u32);
            }
            if !step.is_fault {
                moves = true;
                edges.push(number);
            }
        });
        edges_of.push(edges.len());
        is_end.push(!moves);
        let wrong_end = || if moves { None } else { model.wrong_end(&state) };
        if let Some(what) = model.wrong(&state).or_else(wrong_end) {
            violation = Some((what, now));
            break;
        }
        now += 1;
    }
    let (states, ends) = (is_end.len(), is_end.iter().filter(|end| **end).count());
    let violation = violation.or_else(|| Some((TRAP, first_trap(is_end, &edges, &edges_of)?)));
    let violation = violation.map(|(what, at)| Violation { what, trace: trace(model, &seen.states, &parents, at) });
    Report { states, ends, violation }
}

/// The first state from which no end can be reached.
fn first_trap(mut reaches: Vec<bool>, edges: &[u32], edges_of: &[usize]) -> Option<usize> {
    loop {
        let mut changed = false;
        for state in (0..reaches.len()).rev() {
            if !reaches[state] && edges[edges_of[state]..edges_of[state + 1]].iter().any(|to| reaches[*to as usize]) {
                (reaches[state], changed) = (true, true);
            }
        }
        if !changed {
            return reaches.iter().position(|reaches| !reaches);
        }
    }
}

fn trace<M: Model>(model: &M, states: &[M::State], parents: &[u32], mut at: usize) -> Vec<Step> {
    let mut trace = Vec::new();
    while at != 0 {
        let from = parents[at] as usize;
        let mut taken = None;
        model.steps(&states[from], &mut |step, to| {
            if to == states[at] {
                taken = taken.or(Some(step));
            }
        });
        trace.extend(taken);
        at = from;
    }
    trace.reverse();
    trace
}

/// A hash set that numbers its members. (A `HashMap` would hold each state twice.)
struct Seen<S> {
    states: Vec<S>,
    /// Numbers plus one; 0 marks a free slot.
    table: Vec<u32>,
}

impl<S: Copy + Eq + Hash> Seen<S> {
    fn new() -> Seen<S> {
        Seen { states: Vec::new(), table: vec![0; 1 << 12] }
    }

    /// The number of the state, and whether the state is new.
    fn insert(&mut self, state: S) -> (u32, bool) {
        let at = self.slot(&state);
        if self.table[at] != 0 {
            return (self.table[at] - 1, false);
        }
        self.states.push(state);
        let number = u32::try_from(self.states.len()).expect("the state space is too large");
        self.table[at] = number;
        if self.states.len() * 2 > self.table.len() {
            self.grow();
        }
        (number - 1, true)
    }

    fn slot(&self, state: &S) -> usize {
        let mut hasher = Fast(0);
        state.hash(&mut hasher);
        let mask = self.table.len() - 1;
        let mut at = (hasher.finish() >> 16) as usize & mask;
        while self.table[at] != 0 && self.states[self.table[at] as usize - 1] != *state {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 4];
        for number in 0..self.states.len() {
            let at = self.slot(&self.states[number]);
            self.table[at] = number as u32 + 1;
        }
    }
}

/// Tests run unoptimised, and would spend most of their time in the standard hasher.
#[derive(Default)]
pub struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
