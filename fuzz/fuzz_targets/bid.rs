//! The reader of bids, fed with any bytes. A bid that was read can be written, and is then read as
//! the same bid.
#![no_main]

use std::ffi::CStr;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../src/owner/bid.rs"]
mod bid;
#[allow(dead_code)]
#[path = "../../src/slots.rs"]
mod slots;

use bid::{Bid, BidName, MAX_BYTES};
use slots::Slots;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Bid::parse(bytes) {
        assert!(bytes.len() <= MAX_BYTES);
        assert!((1..=i32::MAX as u32).contains(&read.pid));
        let again = read.to_json();
        if again.len() <= MAX_BYTES {
            assert_eq!(Bid::parse(again.as_bytes()), Ok(read));
        }
    }

    // A name, of a bid or not.
    if let Ok(name) = CStr::from_bytes_until_nul(bytes) {
        if bid::posted_at(name).is_some() {
            assert!(bid::is_bid_name(name));
        }
    }

    // A bid of ours, for any time and any random number.
    if let Some(&[now, chance]) = bytes.as_chunks::<8>().0.first_chunk() {
        let now = u64::from_le_bytes(now);
        for slots in [Slots::One, Slots::Any] {
            let name = BidName::new(now, chance, slots);
            assert!(bid::is_bid_name(name.as_c_str()));
            assert_eq!(bid::posted_at(name.as_c_str()), Some((now / 1_000_000) as i64));
            for later in [Slots::One, Slots::Any] {
                let later = BidName::new(now.saturating_add(1_000_000), [0; 8], later);
                assert!(now > u64::MAX - 1_000_000 || name.as_c_str() < later.as_c_str());
            }
        }
    }
});
