//! The names of our files in the hidden sub-folder, as numbers.
//!
//! Other users can write there, so we never use a name that we read from a file, a FIFO or a listing. We parse it into
//! numbers here, strictly, and build each name that reaches the system from such numbers alone. A name that is built
//! here contains no `/`, so it can't lead out of its folder.

use std::ffi::{CStr, CString};

use uuid::Uuid;

use crate::owner::bid::{self, SUFFIX};

/// The only sub-folder. It holds everything that is not a bid.
pub(crate) const HIDDEN: &CStr = c".lockfolder";

/// Whether a change of this name in the lock folder may free the lock or cost us our place in line. A change of another
/// file can do neither.
pub(crate) fn may_matter(name: &CStr) -> bool {
    bid::may_name_bid(name) || name.to_bytes().eq_ignore_ascii_case(HIDDEN.to_bytes())
}

/// The folder of tickets in the sub-folder. It exists while claimants wait.
pub(crate) const QUEUE: &CStr = c"queue";

/// The folder of leases in the sub-folder. It exists since the first lease was renewed.
pub(crate) const LEASES: &CStr = c"leases";

/// The mark in the sub-folder that other hosts use the lock folder too. A host that sees its own disk learns it from this.
pub(crate) const SHARED: &CStr = c"shared";

/// Parses exactly 16 lowercase hexadecimal digits. (`u64::from_str_radix` also accepts a sign and capital letters, so
/// one number would have many names.)
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

/// The number in the names of a claim's files: 16 random hexadecimal digits. (It is short because each ticket's name
/// contains one, and the folder of tickets is read often.)
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

    /// The names of the claimant's hand-off FIFOs, its beacons (see `queue.rs`). They are made once the claimant has
    /// stood in line. There are two, because a claimant may queue again before its successor has stopped watching the
    /// previous FIFO.
    pub fn beacons(self) -> [CString; 2] {
        BEACONS.map(|suffix| name(format!("{:016x}{suffix}", self.0)))
    }

    /// The claim whose beacon has this name.
    pub fn of_beacon(name: &CStr) -> Option<ClaimId> {
        let digits = BEACONS.iter().find_map(|suffix| name.to_bytes().strip_suffix(suffix.as_bytes()))?;
        hexadecimal(digits).map(ClaimId)
    }
}

/// A place in the line of waiters: the arrival of its owner (Unix nanoseconds), and the owner's claim. Tickets sort by
/// arrival, and so do their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    pub arrival: u64,
    pub claim: ClaimId,
}

impl Ticket {
    /// The length of a ticket's name.
    pub(crate) const LENGTH: usize = 32;

    pub fn file(self) -> CString {
        name(format!("{:016x}{:016x}", self.arrival, self.claim.0))
    }

    /// Parses the name of a ticket.
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

    /// The token whose file has this name. Each number has exactly one name, without a sign and without leading zeros.
    pub fn of_file(name: &CStr) -> Option<Token> {
        let token = name.to_str().ok()?.strip_prefix(FENCE)?.parse().ok().map(Token)?;
        (*token.file() == *name).then_some(token)
    }
}

/// A number of a bid's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseName {
    pub bid: Uuid,
    pub number: u64,
}

impl LeaseName {
    pub fn file(self) -> CString {
        name(format!("{}-{}", self.bid.hyphenated(), self.number))
    }

    /// The number whose file has this name. Each number has exactly one name.
    pub fn of_file(file: &CStr) -> Option<LeaseName> {
        let (bid, number) = file.to_str().ok()?.rsplit_once('-')?;
        let parsed = LeaseName { bid: Uuid::try_parse(bid).ok()?, number: number.parse().ok()? };
        // A row is counted up by one at a time, so a huge number is no number of ours.
        (*parsed.file() == *file && parsed.number < u64::MAX / 2).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClaimId = ClaimId(0xab);

    /// Other text that somebody may have written where we expect a name. The first is as long as a ticket's name and
    /// leads to a file outside.
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
    fn only_bids_and_the_sub_folder_matter_in_any_spelling() {
        let matter = [
            c"01890a5d-ac96-774b-bcce-b302099a8057.json",
            c"01890A5D-AC96-774B-BCCE-B302099A8057.JSON",
            c"{01890a5dac96774bbcceb302099a8057}.Json",
            c".lockfolder",
            c".LockFolder",
            c"01890a5d-ac96-774b-bcce-b302099a8057.j\u{17f}on", // folds to an s
            c"\u{e9}t\u{e9}.txt",
        ];
        assert!(matter.into_iter().all(may_matter));
        let strangers =
            [c"package.json", c"01890a5dac96774bbcceb302099a8057", c".lockfolder2", c"lockfolder", c"note", c".json"];
        assert!(!strangers.into_iter().any(may_matter));
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

    #[test]
    fn a_number_of_a_lease_has_one_name() {
        let name = LeaseName { bid: Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057), number: 12 };
        assert_eq!(name.file(), c"01890a5d-ac96-774b-bcce-b302099a8057-12".to_owned());
        assert_eq!(LeaseName::of_file(&name.file()), Some(name));
        let others = [
            c"01890a5d-ac96-774b-bcce-b302099a8057-012",
            c"01890a5d-ac96-774b-bcce-b302099a8057-+1",
            c"01890A5D-ac96-774b-bcce-b302099a8057-1",
            c"01890a5dac96774bbcceb302099a8057-1",
            c"01890a5d-ac96-774b-bcce-b302099a8057-",
            c"01890a5d-ac96-774b-bcce-b302099a8057",
            c"01890a5d-ac96-774b-bcce-b302099a8057-18446744073709551615",
        ];
        assert!(others.iter().chain(&PATHS).all(|name| LeaseName::of_file(name).is_none()));
    }
}
