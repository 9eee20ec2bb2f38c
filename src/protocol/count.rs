//! The count of check-bid-check: which of the live rivals that a look shows keeps a claimant out.

use crate::slots::Slots;

/// Counts the live rivals that one look shows, in the order of their names.
///
/// A claimant of n slots may hold the lock if its look shows fewer than n rivals, and tolerates each of them. The first rival that
/// keeps it out is therefore the first that it does not tolerate, or the n-th. If that rival's name precedes ours, then so
/// many claimants precede us as there are places, or one that must be alone.
pub(crate) struct Count {
    ours: Slots,
    company: u32,
}

impl Count {
    pub fn new(ours: Slots) -> Count {
        Count { ours, company: 0 }
    }

    /// Whether this rival, after those that were counted before, keeps us out. After the first that does, no other one need be
    /// counted.
    pub fn is_kept_out_by(&mut self, rival: Slots) -> bool {
        if !self.ours.tolerates(rival) {
            return true;
        }
        self.company += 1;
        match self.ours {
            Slots::One => true,
            Slots::AtMost(places) => self.company >= places,
            Slots::Any => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots::{Any, AtMost, One};

    /// The index of the rival that keeps a claimant out.
    fn first(ours: Slots, rivals: &[Slots]) -> Option<usize> {
        let mut count = Count::new(ours);
        rivals.iter().position(|rival| count.is_kept_out_by(*rival))
    }

    #[test]
    fn the_first_that_is_not_tolerated_or_takes_the_last_place_keeps_us_out() {
        let three = AtMost(3);
        for (ours, rivals, kept_out_by) in [
            (One, &[][..], None),
            (One, &[Any, One], Some(0)),
            (Any, &[Any, Any, Any, Any], None),
            (Any, &[Any, One, Any], Some(1)),
            (three, &[three, three], None),
            (three, &[three, three, three], Some(2)),
            (three, &[three, One, three], Some(1)),
            (three, &[AtMost(4)], Some(0)),
            (three, &[Any], Some(0)),
            (Any, &[three], Some(0)),
        ] {
            assert_eq!(first(ours, rivals), kept_out_by, "{ours:?} among {rivals:?}");
        }
    }
}
