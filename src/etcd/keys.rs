//! Keys: how ours is named and what it says, and what the key of another claimant says.

use std::ffi::CString;
use std::time::Duration;

use crate::etcd::requests::Entry;
use crate::owner::bid::{Bid, Flaw};
use crate::owner::liveness::{Probe, Verdict};
use crate::owner::rival::Rival;
use crate::sys::{self, Identity};

/// Our key, while it is in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The number of its lease, which names it.
    pub lease: u64,
    /// The revision that created it. The lease serves for many locks, and this number for one alone.
    pub created: u64,
}

/// The name of a claimant's key, as etcd's own recipe has it.
pub(super) fn key_of(prefix: &str, lease: u64) -> String {
    format!("{prefix}{lease:x}")
}

/// The value of our key: our bid, and when we posted it (Unix milliseconds), because etcd keeps no times.
pub(super) fn value(me: &Identity, command: Option<&String>, lease: Duration) -> String {
    let mut bid = Bid { lease: u32::try_from(lease.as_millis()).ok(), ..Bid::of(me) };
    if let Some(command) = command {
        bid.command = Some(command.clone());
    }
    let json = bid.to_json();
    let fields = json.trim_end().trim_end_matches('}');
    format!("{fields}, \"POSTED\": {}}}", sys::unix_nanos() / 1_000_000)
}

/// A key that is there belongs to a claimant whose lease is not over, so it is live.
pub(super) fn rival(prefix: &str, entry: &Entry) -> Rival {
    let name: Vec<u8> =
        entry.key.strip_prefix(prefix).unwrap_or(&entry.key).bytes().filter(|byte| *byte != 0).collect();
    let name = CString::new(name).expect("it has no NUL");
    let bid = Bid::parse(&entry.value).map_err(|_| Flaw::Mute);
    let posted = serde_json::from_slice::<serde_json::Value>(&entry.value).ok();
    let posted = posted.filter(|_| bid.is_ok()).and_then(|value| value.get("POSTED")?.as_i64());
    Rival::new(&(name, entry.created), bid, Verdict::Live, posted, Probe::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BidState;

    #[test]
    fn a_key_of_ours_says_who_we_are_and_another_programs_does_not() {
        let me = Identity::current().unwrap();
        let value = value(&me, Some(&"a \"b\"".to_owned()), Duration::from_secs(30));
        let entry = Entry { key: key_of("p/", 0xabc), value: value.into_bytes(), created: 7 };
        assert_eq!(entry.key, "p/abc");
        let ours = rival("p/", &entry);
        let bid = ours.bid.as_ref().unwrap();
        assert_eq!((bid.pid, bid.command.as_deref(), bid.lease), (me.pid, Some("a \"b\""), Some(30_000)));
        assert!(ours.modified.is_some_and(|posted| posted > 1_700_000_000_000) && ours.name.as_c_str() == c"abc");
        let other = rival("p/", &Entry { value: Vec::new(), ..entry });
        assert_eq!(other.state(), BidState::Live);
        assert!(other.holder().to_string().contains("etcdctl lock"), "{}", other.holder());
    }
}
