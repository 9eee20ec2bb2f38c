//! The bid: the small JSON file by which a claimant says "I want this lock", and the bid's name.

use std::ffi::{CStr, CString};

use serde_json::Value;

use crate::slots::Slots;
use crate::sys::Identity;

/// The maximum size of a bid. A reader reads one byte more, to see that a file is too large.
pub(crate) const MAX_BYTES: usize = 4096;

/// The maximum depth of nesting in a bid. Each level costs the reader some of its stack, and a thread may have little
/// stack.
const MAX_NESTING: usize = 8;

pub(crate) const SUFFIX: &[u8] = b".json";

/// Whether this is the name of a bid: a UUID and `.json`. A file with any other name (`package.json`) belongs to
/// somebody else.
pub(crate) fn is_bid_name(name: &CStr) -> bool {
    uuid_of(name).is_some()
}

/// Whether a change of this name may be a change of a bid. If a folder ignores case, the event has the spelling that
/// the writer used. Which other spellings are one name there depends on the filesystem; among ASCII names only the case
/// of letters can differ.
pub(crate) fn may_name_bid(name: &CStr) -> bool {
    !name.to_bytes().is_ascii()
        || CString::new(name.to_bytes().to_ascii_lowercase()).is_ok_and(|name| is_bid_name(&name))
}

/// The UUID in the name of a bid: hex digits of either case, with or without hyphens, with or without braces.
fn uuid_of(name: &CStr) -> Option<uuid::Uuid> {
    let stem = name.to_bytes().strip_suffix(SUFFIX)?;
    let digits = match stem {
        [b'{', inside @ .., b'}'] => inside,
        bare => bare,
    };
    // On its own the parser would accept more: a prefix `urn:uuid:`, and braces inside our braces.
    let is_usual = matches!(digits.len(), 32 | 36);
    is_usual.then(|| uuid::Uuid::try_parse_ascii(digits).ok()).flatten()
}

/// The UUID in the name of a bid, if it is written as we write it. So each UUID has exactly one such name.
pub(crate) fn canonical(name: &CStr) -> Option<uuid::Uuid> {
    let mut written = [0; uuid::fmt::Hyphenated::LENGTH];
    let found = uuid_of(name)?;
    let is_canonical =
        name.to_bytes().strip_suffix(SUFFIX)? == found.hyphenated().encode_lower(&mut written).as_bytes();
    is_canonical.then_some(found)
}

/// Why a file with the name of a bid tells no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It may be a bid that is still being written, or whose writer died meanwhile: it is empty, or it is the beginning
    /// of a JSON object that breaks off.
    CutOff(&'static str),
    /// It is not a bid and can't become one. It belongs to somebody else, so we must not delete it.
    Foreign(&'static str),
    /// We may not read it, or can't read it now.
    Denied,
    /// Another program made it, which does not say who it is.
    #[cfg(feature = "etcd")]
    Mute,
}

/// What a bid says of its owner. Only `pid` is always there. `created` comes from the Python package; the other fields
/// are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bid {
    pub pid: u32,
    /// When the process started, in whole Unix seconds.
    pub created: Option<i64>,
    /// When the process started, in the system's own unit. No change of the clock moves it.
    pub start: Option<u64>,
    /// The ID of the owner's boot.
    pub boot: Option<String>,
    /// The number of the owner's PID namespace.
    pub pidns: Option<u64>,
    pub host: Option<String>,
    pub command: Option<String>,
    /// The number of the bid's file. A copy of the bid is another file.
    pub inode: Option<u64>,
    /// When that file was made, in Unix nanoseconds. A number can be used again; a moment can't.
    pub born: Option<u64>,
    /// The bid was posted on a filesystem that shows the files of other filesystems.
    pub overlay: bool,
    /// The bid was posted where other machines can write too. A machine for which the folder is local (the server of an
    /// export) can't judge its owner.
    pub shared: bool,
    /// The length of the owner's lease in milliseconds, where it has one. An owner that has a lease and sees a disk of its own
    /// (`shared` is false) is a process of the kernel that has the disk, so that kernel can judge it.
    pub lease: Option<u32>,
    /// How many its owner lets hold the lock together, if that is not one.
    pub slots: Option<u32>,
}

impl Bid {
    /// What a bid of this process says of its owner. It says nothing of the place.
    pub fn of(me: &Identity) -> Bid {
        Bid {
            pid: me.pid,
            created: Some(me.created),
            start: me.start,
            boot: me.boot.clone(),
            pidns: me.pidns,
            host: Some(me.host.clone()),
            command: Some(me.command.clone()),
            ..Bid::default()
        }
    }

    /// Reads a bid. A value of the wrong type counts as missing. Only the PID is required, because without it there is
    /// no owner to judge.
    pub fn parse(bytes: &[u8]) -> Result<Bid, Flaw> {
        if bytes.is_empty() {
            return Err(Flaw::CutOff("it is empty"));
        }
        if bytes.len() > MAX_BYTES {
            return Err(Flaw::Foreign("it is larger than 4 KiB"));
        }
        if bytes.iter().all(|&byte| byte == 0) {
            // The filesystem had the name and the length on the disk, and not yet the content.
            return Err(Flaw::CutOff("it is NUL bytes alone, as a power cut leaves a file"));
        }
        if nesting(bytes) > MAX_NESTING {
            return Err(Flaw::Foreign("it is nested too deeply"));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|e| match e.is_eof() && bytes[0] == b'{' {
            true => Flaw::CutOff("it breaks off"),
            false => Flaw::Foreign("it is not valid JSON"),
        })?;
        let pid = value
            .get("PID")
            .and_then(Value::as_u64)
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|&pid| pid > 0 && i32::try_from(pid).is_ok())
            .ok_or(Flaw::Foreign("it names no PID"))?;
        let says = |key: &str| value.get(key).is_some_and(|said| *said != Value::Bool(false));
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Bid {
            pid,
            created: value.get("CREATED").and_then(Value::as_i64),
            start: value.get("START").and_then(Value::as_u64),
            boot: text("BOOT"),
            pidns: value.get("PIDNS").and_then(Value::as_u64),
            host: text("HOST"),
            command: text("COMMAND"),
            inode: value.get("INODE").and_then(Value::as_u64),
            born: value.get("BORN").and_then(Value::as_u64),
            overlay: says("OVERLAY"),
            shared: says("SHARED"),
            lease: value.get("LEASE").and_then(Value::as_u64).map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
            // A number that is none of ours counts as missing, and then the owner tolerates nobody.
            slots: value.get("SLOTS").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()),
        })
    }

    /// The file's content, in the order of `docs/contract.md`, section 3, so that `cat` shows the important fields
    /// first.
    pub fn to_json(&self) -> String {
        let text = |s: &String| serde_json::to_string(s).expect("a string is JSON");
        let fields = [
            Some(("PID", self.pid.to_string())),
            self.created.map(|n| ("CREATED", n.to_string())),
            self.start.map(|n| ("START", n.to_string())),
            self.boot.as_ref().map(|s| ("BOOT", text(s))),
            self.pidns.map(|n| ("PIDNS", n.to_string())),
            self.host.as_ref().map(|s| ("HOST", text(s))),
            self.command.as_ref().map(|s| ("COMMAND", text(s))),
            self.inode.map(|n| ("INODE", n.to_string())),
            self.born.map(|n| ("BORN", n.to_string())),
            self.overlay.then(|| ("OVERLAY", "true".to_owned())),
            self.shared.then(|| ("SHARED", "true".to_owned())),
            self.lease.map(|ms| ("LEASE", ms.to_string())),
            self.slots.map(|n| ("SLOTS", n.to_string())),
        ];
        let fields: Vec<String> =
            fields.into_iter().flatten().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}\n", fields.join(", "))
    }
}

/// The name of a bid of ours: a UUID and `.json`. The UUID has version 7, or version 8 if the bid tolerates company. It is kept inline, so
/// that locking allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BidName([u8; BidName::LEN + 1]);

impl BidName {
    const LEN: usize = 36 + SUFFIX.len();

    /// A name that sorts by arrival: the time in milliseconds, then the fraction of a millisecond in the 12 bits that
    /// RFC 9562 (section 6.2, method 3) allows for it, then 62 random bits. Both versions have the time in the same place, so they sort
    /// together.
    pub fn new(unix_nanos: u64, random: [u8; 8], slots: Slots) -> BidName {
        let fraction = (unix_nanos % 1_000_000) * 4096 / 1_000_000;
        let [high, low] = (fraction as u16).to_be_bytes();
        let [a, b, c, d, e, f, g, h] = random;
        let rest = [high, low, a, b, c, d, e, f, g, h];
        let mut uuid = uuid::Builder::from_unix_timestamp_millis(unix_nanos / 1_000_000, &rest);
        if slots.tolerates_company() {
            uuid.set_version(uuid::Version::Custom);
        }
        let uuid = uuid.into_uuid();
        let mut name = [0; Self::LEN + 1];
        uuid.hyphenated().encode_lower(&mut name[..36]);
        name[36..Self::LEN].copy_from_slice(SUFFIX);
        BidName(name)
    }

    pub fn uuid(&self) -> uuid::Uuid {
        uuid_of(self.as_c_str()).expect("made from one")
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.0).expect("36 characters, a suffix and one NUL")
    }
}

impl std::fmt::Debug for BidName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_c_str())
    }
}

/// The version of the names of bids that tolerate company.
const SHARED: usize = 8;

/// When a bid was posted, in Unix milliseconds, if its name says so (a UUID of one of our versions).
pub(crate) fn posted_at(name: &CStr) -> Option<i64> {
    let uuid = uuid_of(name)?;
    matches!(uuid.get_version_num(), 7 | SHARED).then(|| (uuid.as_u128() >> 80) as i64)
}

/// How many hold the lock together by a bid with this name and this content. Both must say that it tolerates company, in the way
/// that we write it. If they do not agree, or the content can't be read, the bid tolerates nobody.
pub(crate) fn slots(name: &CStr, bid: Result<&Bid, &Flaw>) -> Slots {
    let is_shared = canonical(name).is_some_and(|uuid| uuid.get_version_num() == SHARED);
    let stated = bid.ok().and_then(|bid| bid.slots);
    stated.filter(|_| is_shared).map_or(Slots::One, Slots::of_number)
}

/// The greatest number of arrays and objects that are open at once in a JSON text.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nesting_of_a_bid_is_counted_without_recursion() {
        for (json, deepest) in [
            ("", 0),
            ("{}", 1),
            (r#"{"PID": [1, [2], {"x": 3}], "y": [4]}"#, 3),
            (r#"{"[[[": "{{\"{{\\", "x": []}"#, 2),
            ("]]]}[[", 2),
            ("[[[[", 4),
        ] {
            assert_eq!(nesting(json.as_bytes()), deepest, "{json}");
        }
        let bid = |levels| format!("{{\"x\": {}{}, \"PID\": 7}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(Bid::parse(bid(MAX_NESTING - 1).as_bytes()).map(|bid| bid.pid), Ok(7));
        assert!(Bid::parse(bid(MAX_NESTING).as_bytes()).is_err());
    }

    #[test]
    fn a_written_bid_is_read_back() {
        let bid = Bid {
            pid: 4242,
            created: Some(1_700_000_000),
            start: Some(123_456),
            boot: Some("7d1f".into()),
            pidns: Some(4_026_531_836),
            host: Some("a \"host\"\n".into()),
            command: Some("make".into()),
            inode: Some(17),
            born: Some(1_700_000_000_123_456_789),
            overlay: true,
            shared: true,
            lease: Some(30_000),
            slots: Some(3),
        };
        assert_eq!(Bid::parse(bid.to_json().as_bytes()), Ok(bid));
    }

    #[test]
    fn a_python_bid_and_unknown_keys_are_read() {
        let bid = Bid::parse(br#"{"PID": 7, "CREATED": 1700000000, "NEW": [1], "START": "x"}"#).unwrap();
        assert_eq!((bid.pid, bid.created, bid.start), (7, Some(1_700_000_000), None));
    }

    #[test]
    fn a_file_that_names_no_owner_is_no_bid() {
        for foreign in [
            " ",
            "\n",
            "}",
            "[",
            "[]",
            "7",
            "{}",
            " {",
            "{ x",
            "{\"PID\": 1} x",
            r#"{"PID": 0}"#,
            r#"{"PID": -1}"#,
            r#"{"PID": 4242.5}"#,
            r#"{"PID": "1"}"#,
            r#"{"PID": 99999999999}"#,
            r#"{"PID": 4294967295}"#,
            r#"{"name": "app", "version": "1.0.0"}"#,
            "\u{feff}{\"PID\": 1}",
        ] {
            assert!(matches!(Bid::parse(foreign.as_bytes()), Err(Flaw::Foreign(_))), "{foreign:?}");
        }
        let flaw = |bytes: &[u8]| Bid::parse(bytes).unwrap_err();
        assert_eq!(flaw(b"{\"PID\": 1, \"X\": \"\xff\"}"), Flaw::Foreign("it is not valid JSON"));
        assert_eq!(flaw("[".repeat(MAX_BYTES).as_bytes()), Flaw::Foreign("it is nested too deeply"));
        let of_size = |size: usize| Bid::parse(format!("{:<size$}", "{\"PID\": 1}").as_bytes());
        assert!(of_size(MAX_BYTES).is_ok());
        assert_eq!(of_size(MAX_BYTES + 1), Err(Flaw::Foreign("it is larger than 4 KiB")));
        let too_long = "{\"X\": \"".to_owned() + &"x".repeat(MAX_BYTES);
        assert_eq!(flaw(too_long.as_bytes()), Flaw::Foreign("it is larger than 4 KiB"), "even if it also breaks off");
    }

    /// Wherever the writer of a bid is stopped, the file holds the beginning of an object.
    #[test]
    fn a_bid_that_breaks_off_anywhere_is_cut_off() {
        let whole = r#"{"PID": -4.2e+1, "A": [true, false, null, {"B": {}}], "HOST": "\u00e9\"\\ é", "": 0}"#;
        for length in 1..whole.len() {
            assert_eq!(Bid::parse(&whole.as_bytes()[..length]), Err(Flaw::CutOff("it breaks off")), "{length}");
        }
        assert_eq!(Bid::parse(b""), Err(Flaw::CutOff("it is empty")));
        assert!(matches!(Bid::parse(&[0; 203]), Err(Flaw::CutOff(_))));
        assert!(matches!(Bid::parse(b"\0\0{}"), Err(Flaw::Foreign(_))));
    }

    #[test]
    fn names_sort_by_arrival_below_a_millisecond() {
        let t = 1_700_000_000_123_000_000;
        let names: Vec<_> =
            [0, 250_000, 500_000, 1_000_000].map(|later| BidName::new(t + later, [0xff; 8], Slots::One)).to_vec();
        assert!(names.windows(2).all(|w| w[0].as_c_str() < w[1].as_c_str()), "{names:?}");
        assert_eq!(posted_at(names[0].as_c_str()), Some(1_700_000_000_123));
        assert!(is_bid_name(names[0].as_c_str()));
        assert_eq!(format!("{:?}", names[0]), format!("{:?}", names[0].as_c_str()));
    }

    #[test]
    fn only_a_uuid_and_json_is_a_bid() {
        let names = |stem: &str| [stem.to_owned(), stem.to_uppercase(), format!("{{{stem}}}")];
        let of = |name: String| std::ffi::CString::new(name).unwrap();
        for spelling in ["018bcfe5-687b-7abc-89ab-cdef01234567", "018bcfe5687b7abc89abcdef01234567"] {
            for stem in names(spelling) {
                let name = of(stem.clone() + ".json");
                assert!(is_bid_name(&name), "{name:?}");
                assert_eq!(posted_at(&name), Some(1_700_000_000_123), "{name:?}");
                for (before, after) in
                    [("", ""), ("", ".JSON"), ("", ".json~"), ("urn:uuid:", ".json"), (" ", ".json"), ("{", ".json")]
                {
                    let name = of([before, &stem, after].concat());
                    assert!(!is_bid_name(&name), "{name:?}");
                    assert_eq!(posted_at(&name), None, "{name:?}");
                }
            }
        }
        let others = [
            ".json",
            "x.json",
            "package.json",
            "{}.json",
            "018bcfe5-687b-7abc-89ab-cdef0123456.json",
            "018bcfe5-687b-7abc-89ab-cdef0123456g.json",
            "018bcfe5687b-7abc-89ab-cdef-01234567.json",
            "018bcfe5-687b-7abc-89ab-cdef01234567 .json",
            "{018bcfe5-687b-7abc-89ab-cdef01234567.json",
            "{{018bcfe5-687b-7abc-89ab-cdef01234567}}.json",
            "{{018bcfe5687b7abc89abcdef01234567}}.json",
            "018bcfe5687b7abc.json",
        ];
        for name in others {
            assert!(!is_bid_name(&of(name.into())), "{name}");
        }
    }
}
