use std::ffi::{c_char, CString};
use std::ptr;

use super::convert::{call, guarded, lf_folder, out};
use super::status::lf_status;
use crate::BidInfo;
use crate::BidState;

/// The state of a bid: what is known of its owner.
pub type lf_bid_state = i32;

/// The bid of this handle.
pub const LF_BID_OWN: lf_bid_state = 0;
/// Its owner is alive.
pub const LF_BID_LIVE: lf_bid_state = 1;
/// Its owner is provably gone.
pub const LF_BID_STALE: lf_bid_state = 2;
/// Its owner can't be judged from here: it is on another host or in another container, or we may not read the bid. It
/// counts as live.
pub const LF_BID_UNKNOWN: lf_bid_state = 3;
/// It is named like a bid but is cut off, or is not a bid. It counts as live. (A cut-off one counts as stale after
/// the grace of `lf_set_malformed_grace`.)
pub const LF_BID_MALFORMED: lf_bid_state = 4;

/// One bid. Read it only through the pointer of `lf_bid_list_get`, and never copy or allocate one: later versions add
/// fields at its end. Everything in it belongs to the list.
#[repr(C)]
pub struct lf_bid {
    /// File name in the lock folder.
    pub name: *const c_char,
    /// The owner's host name, UTF-8; NULL if the bid does not say. It is what the bid says: any user of the folder may
    /// have written any characters, so escape it before you print it.
    pub host: *const c_char,
    /// The owner's command name, UTF-8; NULL if the bid does not say. Escape it too.
    pub command: *const c_char,
    /// The owner's PID, in its own PID namespace; 0 if the bid can't be read.
    pub pid: i64,
    /// When the owner's process started, Unix seconds; -1 if unknown.
    pub created: i64,
    /// Milliseconds since the bid was posted, by the wall clock; never below 0.
    pub age_ms: i64,
    /// One of `LF_BID_…`.
    pub state: lf_bid_state,
}

/// A snapshot of a folder's bids, ordered by name. Opaque: made by `lf_bids`, freed by `lf_bid_list_free`. It never
/// changes, so any thread may read it. It stays valid after its handle was closed.
pub struct lf_bid_list {
    bids: Vec<lf_bid>,
    /// What the pointers in `bids` point to.
    _strings: Vec<CString>,
}

impl lf_bid_list {
    fn new(infos: Vec<BidInfo>) -> lf_bid_list {
        let mut strings = Vec::new();
        let mut keep = |bytes: Vec<u8>| {
            // A NUL can be in what a bid says, and would end a C string too early.
            let bytes: Vec<u8> = bytes.iter().map(|&b| if b == 0 { b'?' } else { b }).collect();
            let string = CString::new(bytes).expect("no NUL is left");
            let pointer = string.as_ptr(); // stays when the string moves: it points to the heap
            strings.push(string);
            pointer
        };
        let bids = infos
            .into_iter()
            .map(|bid| lf_bid {
                name: keep(bid.name.into_encoded_bytes()),
                host: bid.host.map_or(ptr::null(), |s| keep(s.into_bytes())),
                command: bid.command.map_or(ptr::null(), |s| keep(s.into_bytes())),
                pid: bid.pid.map_or(0, i64::from),
                created: bid.created.unwrap_or(-1),
                age_ms: i64::try_from(bid.age.as_millis()).unwrap_or(i64::MAX),
                state: match bid.state {
                    BidState::Own => LF_BID_OWN,
                    BidState::Live => LF_BID_LIVE,
                    BidState::Stale => LF_BID_STALE,
                    BidState::Unknown => LF_BID_UNKNOWN,
                    BidState::Malformed => LF_BID_MALFORMED,
                },
            })
            .collect();
        lf_bid_list { bids, _strings: strings }
    }
}

/// Gives a snapshot of the bids, with the state of each.
///
/// A bid is an entry whose name is a UUID and `.json`. Other entries are not listed. The call changes nothing in the
/// folder. On `LF_OK`, `*out` is a list that `lf_bid_list_free` frees. After a failure it is NULL.
///
/// Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
/// `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn lf_bids(folder: *mut lf_folder, out: *mut *mut lf_bid_list) -> lf_status {
    // SAFETY: by the caller's promise.
    unsafe {
        if !out.is_null() {
            out.write(ptr::null_mut());
        }
        call(folder, |folder| {
            let place = self::out(out, "out")?;
            let list = Box::new(lf_bid_list::new(folder.bids()?));
            place.write(Box::into_raw(list));
            Ok(())
        })
    }
}

/// Gives the number of bids in a list. It is 0 for NULL.
#[no_mangle]
pub unsafe extern "C" fn lf_bid_list_len(list: *const lf_bid_list) -> usize {
    // SAFETY: by the caller's promise.
    unsafe { list.as_ref() }.map_or(0, |list| list.bids.len())
}

/// Gives the bid at an index of a list.
///
/// The first index is 0. The result is NULL past the end, and for a NULL list. The bid belongs to the list, and is
/// valid until `lf_bid_list_free`.
#[no_mangle]
pub unsafe extern "C" fn lf_bid_list_get(list: *const lf_bid_list, index: usize) -> *const lf_bid {
    // SAFETY: by the caller's promise.
    let bid = unsafe { list.as_ref() }.and_then(|list| list.bids.get(index));
    bid.map_or(ptr::null(), ptr::from_ref)
}

/// Frees a list and everything in it. NULL is allowed.
#[no_mangle]
pub unsafe extern "C" fn lf_bid_list_free(list: *mut lf_bid_list) {
    if !list.is_null() {
        let _ = guarded(|| {
            // SAFETY: by the caller's promise it came from `Box::into_raw` in `lf_bids`.
            drop(unsafe { Box::from_raw(list) });
            Ok(())
        });
    }
}
