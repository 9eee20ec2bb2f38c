//! The names of our files in the hidden sub-folder, as numbers.
//!
//! Others can write there. So what is read from a file, a FIFO or a listing names nothing by itself: it is taken apart into numbers
//! here, exactly, and the names that reach the system are only ever made of such numbers. No name that is made here can hold
//! a `/`, so none leads out of its folder.

use std::ffi::{CStr, CString};

use crate::owner::bid::SUFFIX;

/// The one sub-folder, which holds all that is not a bid.
pub(crate) const HIDDEN: &CStr = c".lockfolder";

/// The folder in it, while claimants wait.
pub(crate) const QUEUE: &CStr = c"queue";

/// Exactly 16 lowercase hexadecimal digits. (`u64::from_str_radix` also takes a sign and capitals, by which one number
/// would have many names.)
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digit = |digit: &u8| match digit {
        b'0'..=b'9' => Some(u64::from(digit - b'0')),
        b'a'..=b'f' => Some(u64::from(digit - b'a' + 10)),
        _ => None,
    };
    match digits.len() {
        16 => digits.iter().try_fold(0, |number, next| Some(number << 4 | digit(next)?)),
        _ => None,
    }
}

fn name(text: String) -> CString {
    CString::new(text).expect("digits and a suffix have no NUL")
}

/// What a claim's files are named by: 16 hexadecimal digits of chance. (Short, for the line of the waiting is a folder of
/// names that hold them, and is read often.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClaimId(pub u64);

const BEACONS: [&str; 2] = [".beacon-1", ".beacon-2"];

impl ClaimId {
    /// The name of the claim itself.
    pub fn file(self) -> CString {
        let mut file = format!("{:016x}", self.0).into_bytes();
        file.extend_from_slice(SUFFIX);
        CString::new(file).expect("digits and a suffix have no NUL")
    }

    /// The claim whose file has this name.
    pub fn of_file(name: &CStr) -> Option<ClaimId> {
        hexadecimal(name.to_bytes().strip_suffix(SUFFIX)?).map(ClaimId)
    }

    /// The FIFOs by which others are told that a claimant left the line, once it was in one. Two, for when it comes again at
    /// once, the next in line has hardly woken up, and still watches the last.
    pub fn beacons(self) -> [CString; 2] {
        BEACONS.map(|suffix| name(format!("{:016x}{suffix}", self.0)))
    }

    /// The claim that a file of this name would be a beacon of.
    pub fn of_beacon(name: &CStr) -> Option<ClaimId> {
        let digits = BEACONS.iter().find_map(|suffix| name.to_bytes().strip_suffix(suffix.as_bytes()))?;
        hexadecimal(digits).map(ClaimId)
    }
}

/// A place in the line of the waiting: when its owner came (Unix nanoseconds), and the owner's claim. Tickets sort as their names do:
/// by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    pub arrival: u64,
    pub claim: ClaimId,
}

impl Ticket {
    /// How many digits its name has.
    pub(crate) const LENGTH: usize = 32;

    pub fn file(self) -> CString {
        name(format!("{:016x}{:016x}", self.arrival, self.claim.0))
    }

    /// The ticket of this name.
    pub fn parse(name: &[u8]) -> Option<Ticket> {
        let (arrival, claim) = name.split_at_checked(Ticket::LENGTH / 2)?;
        Some(Ticket { arrival: hexadecimal(arrival)?, claim: ClaimId(hexadecimal(claim)?) })
    }
}

/// A fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub u64);

const FENCE: &str = "fence-";

impl Token {
    pub fn file(self) -> CString {
        name(format!("{FENCE}{}", self.0))
    }

    /// The token whose file has this name. A number has one name alone: without a sign or a zero in front.
    pub fn of_file(name: &CStr) -> Option<Token> {
        let token = name.to_str().ok()?.strip_prefix(FENCE)?.parse().ok().map(Token)?;
        (*token.file() == *name).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClaimId = ClaimId(0xab);

    /// What else somebody may have written where a name is expected. The first is as long as a ticket's name, and leads to a file outside.
    const PATHS: [&CStr; 6] =
        [c"../../../../sec/0123456789abcdef", c"../../../../../../../etc/passwd", c"..", c"/", c"", c"."];

    #[test]
    fn a_claim_has_one_name_and_one_for_each_beacon() {
        assert_eq!(ID.file(), c"00000000000000ab.json".to_owned());
        assert_eq!(ClaimId::of_file(&ID.file()), Some(ID));
        let beacons = ID.beacons();
        assert_ne!(beacons[0], beacons[1]);
        assert_eq!(beacons.each_ref().map(|beacon| ClaimId::of_beacon(beacon)), [Some(ID); 2]);
        let others = [
            c"ab.json",
            c"00000000000000AB.json",
            c"+0000000000000ab.json",
            c"-0000000000000ab.json",
            c"0x000000000000ab.json",
            c" 0000000000000ab.json",
            c"000000000000000ab.json",
            c"0000000000000ab.json",
            c"00000000000000ag.json",
            c"00000000000000ab.json.json",
            c"00000000000000ab",
            c"../0123456789abcd.json",
            c"dir/0123456789ab.json",
        ];
        for other in others.into_iter().chain(PATHS) {
            assert_eq!(ClaimId::of_file(other), None, "{other:?}");
        }
        let others = [c"00000000000000ab.json", c"00000000000000ab.beacon-3", c"fence-1", c"+0000000000000ab.beacon-1"];
        for other in others.into_iter().chain([c"../0123456789abc.beacon-1", c".beacon-1", c"x.beacon-2"]).chain(PATHS)
        {
            assert_eq!(ClaimId::of_beacon(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_ticket_sorts_by_arrival_and_names_its_claim() {
        let (early, late) =
            (Ticket { arrival: 0xfff, claim: ClaimId(u64::MAX) }, Ticket { arrival: 0x1000, claim: ClaimId(0) });
        assert!(early < late && early.file() < late.file());
        for ticket in [early, late] {
            assert_eq!(ticket.file().count_bytes(), Ticket::LENGTH);
            assert_eq!(Ticket::parse(ticket.file().to_bytes()), Some(ticket));
        }
    }

    #[test]
    fn other_names_are_no_tickets() {
        let others = [
            c"x.json",
            c"0000000000001000",
            c"000000000000100000000000000000000",
            c"0000000000001000000000000000000",
            c"00000000000010000000000000000g00",
            c"0000000000001000000000000000000A",
            c"A0000000000010000000000000000000",
            c"+0000000000010000000000000000000",
            c"0000000000001000+000000000000000",
            c"000000000000100/0000000000000000",
            c"0000000000001000/000000000000000",
        ];
        for other in others.into_iter().chain(PATHS) {
            assert_eq!(Ticket::parse(other.to_bytes()), None, "{other:?}");
        }
        assert_eq!(Ticket::parse(b"0123456789abcde\xff0123456789abcdef"), None);
        assert_eq!(Ticket::parse(b"0123456789abcdef0123456789abcde\0"), None);
    }

    #[test]
    fn a_token_has_one_name() {
        for token in [0, 1, 42, u64::MAX].map(Token) {
            assert_eq!(Token::of_file(&token.file()), Some(token));
        }
        let others = [
            c"fence-",
            c"fence-x",
            c"fence--1",
            c"fence-+9",
            c"fence-007",
            c"fence-00",
            c"fence-9 ",
            c"fence-0x9",
            c"fence-1e9",
            c"fence-18446744073709551616",
            c"fence-../1",
            c"other-9",
        ];
        for other in others.into_iter().chain(PATHS) {
            assert_eq!(Token::of_file(other), None, "{other:?}");
        }
    }
}
