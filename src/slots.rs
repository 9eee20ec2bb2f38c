//! How many may hold a lock together. All rooms use this, and it uses nothing else of the crate.

/// How many claimants may hold the lock together: see [`LockFolder::set_slots`](crate::LockFolder::set_slots).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Slots {
    /// Only this one: an exclusive lock, as a writer needs it.
    #[default]
    One,
    /// So many, this one included: a semaphore. All claimants of the folder that share it must name the same number. `AtMost(1)` is
    /// [`Slots::One`], and `AtMost(0)` is an error.
    AtMost(u32),
    /// Any number: a shared lock, as readers need it.
    Any,
}

impl Slots {
    /// The number that bids state, and C programs. Zero is [`Slots::Any`].
    pub(crate) const fn number(self) -> u32 {
        match self {
            Slots::One => 1,
            Slots::AtMost(n) => n,
            Slots::Any => 0,
        }
    }

    /// The slots with this number, so that equal ones have equal values.
    pub(crate) const fn of_number(number: u32) -> Slots {
        match number {
            0 => Slots::Any,
            1 => Slots::One,
            n => Slots::AtMost(n),
        }
    }

    /// Whether another claimant may hold the lock at the same time.
    pub(crate) const fn tolerates_company(self) -> bool {
        !matches!(self, Slots::One)
    }

    /// Whether a claimant with `other` may hold the lock at the same time. Both answer alike. Two claimants that name different
    /// numbers tolerate each other no more than two exclusive ones.
    pub(crate) fn tolerates(self, other: Slots) -> bool {
        self.tolerates_company() && self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_with_the_same_number_tolerate_each_other() {
        let all = [Slots::One, Slots::AtMost(2), Slots::AtMost(3), Slots::Any];
        for one in all {
            for other in all {
                assert_eq!(one.tolerates(other), one == other && one != Slots::One, "{one:?} {other:?}");
            }
            assert_eq!(Slots::of_number(one.number()), one);
        }
        assert_eq!(Slots::default(), Slots::One);
    }
}
