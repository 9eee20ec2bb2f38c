//! The calls of the real code to its place, and the answers of the place.

use crate::protocol::Leaving;

/// No claimant, no ticket, no FIFO.
pub const NONE: u8 = u8::MAX;
/// A claimant or a ticket whose number the model has forgotten. The code must not ask for it.
pub const FORGOTTEN: u8 = u8::MAX - 1;

/// A call of the code to its place, which needs an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Glance,
    /// With the eyes of the first in line.
    GlanceForFirst,
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
    /// The ticket to watch, and the ticket that was watched so far.
    WatchPredecessor(u8, u8),
    HasHandedOver,
    Watch,
    Rival,
    /// The ticket, and the rival.
    IsOvertaken(u8, u8),
    RestoreOrder(u8),
    Discard(u8),
    PassOn,
    Tell,
    Leave(Leaving),
}

/// An answer of the place. Claimants, tickets and FIFOs are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A look shows this rival. The flag says whether its bid precedes ours.
    Rival(u8, bool),
    /// A look shows no rival. If the look is a check, it shows our bid alone.
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
    /// The ticket right before ours, if the tail holds it.
    Joined(u8),
    Lost,
    Nowhere,
    /// The tickets before ours, as bits.
    View(u16),
    /// Our ticket is gone, and the line too.
    NoView,
    /// The predecessor that was watched is still there.
    Known,
    /// The FIFO that tells what the predecessor does, or `NONE`.
    Watches(u8),
    Gone,
}

impl Answer {
    /// Whether this is the result of a look at the bids.
    pub fn is_of_look(self) -> bool {
        matches!(self, Answer::Rival(..) | Answer::Alone | Answer::Unseen)
    }
}
