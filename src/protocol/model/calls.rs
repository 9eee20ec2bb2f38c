//! What the real code asks of its place, and what that says.

use crate::protocol::Leaving;

/// No claimant, no ticket, no FIFO.
pub const NONE: u8 = u8::MAX;
/// A claimant or a ticket of which the model has forgotten which one it was. The code must not ask.
pub const FORGOTTEN: u8 = u8::MAX - 1;

/// What the code asks of its place, and waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Glance,
    Post,
    Check,
    Pause,
    TakeBack,
    Withdraw,
    FirstInLine,
    Bury(u8),
    Stand,
    HasTicket,
    View,
    /// The ticket to watch; the one that was watched so far.
    WatchPredecessor(u8, u8),
    HasHandedOver,
    Watch,
    Rival,
    RestoreOrder(u8),
    Discard(u8),
    Leave(Leaving),
}

/// What the place says. Claimants, tickets and FIFOs are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A look shows this rival; whether it comes first.
    Rival(u8, bool),
    /// No rival in a look; in a check our bid alone.
    Alone,
    /// A check that does not show our bid.
    Unseen,
    /// The bid is posted.
    Posted,
    /// The bid could not be posted.
    Failed,
    /// The pause is over, and there is time for more.
    Paused,
    /// There is no time for a pause.
    OutOfTime,
    Done,
    Yes,
    No,
    /// The first in line, or `NONE`.
    First(u8),
    Stood,
    /// The ticket before ours, if the tail told one.
    Joined(u8),
    Lost,
    Nowhere,
    /// The tickets before ours, as bits.
    View(u16),
    /// Our ticket has gone, with the line.
    NoView,
    /// The one that was watched is there.
    Known,
    /// A FIFO tells of it, or none.
    Watches(u8),
    Gone,
}

impl Answer {
    /// What a look at the bids showed.
    pub fn is_of_look(self) -> bool {
        matches!(self, Answer::Rival(..) | Answer::Alone | Answer::Unseen)
    }
}
