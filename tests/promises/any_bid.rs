//! Whatever bytes a bid holds, the library never panics, never deletes the bid of a live owner, and never lets a
//! claimant in beside a live owner. A small oracle says what is right; it reads the table of `docs/contract.md`,
//! section 4, row by row.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::{bid_name, boot_id, pid_namespace, vouch_for, Bid, Kind, Puppet, Scratch};
use lockfolder::{BidState, ErrorKind, LockFolder};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{json, Map, Value};

/// A process that lives as long as the test, and a PID that no process has.
struct Processes {
    live: Puppet,
    dead: u32,
}

fn processes() -> &'static Processes {
    static PROCESSES: OnceLock<Processes> = OnceLock::new();
    PROCESSES.get_or_init(|| {
        // Linux gives no PID as large as 2^22.
        Processes { live: Puppet::new(Kind::C), dead: 1 << 22 }
    })
}

/// Whether the contract (`docs/contract.md`, section 4) judges these bytes by their age: they are empty, or NUL bytes
/// alone, or the beginning of an object that breaks off.
fn is_cut_off(bytes: &[u8]) -> bool {
    let breaks_off = || serde_json::from_slice::<Value>(bytes).is_err_and(|e| e.is_eof());
    let is_blank = bytes.iter().all(|&byte| byte == 0); // also if it is empty
    bytes.len() <= 4096 && (is_blank || bytes[0] == b'{' && breaks_off())
}

/// The contract's verdict on a bid without a lock of the kernel, on a local filesystem.
fn verdict(bytes: &[u8]) -> BidState {
    let value = if bytes.len() > 4096 { None } else { serde_json::from_slice::<Value>(bytes).ok() };
    let Some(Value::Object(said)) = value else {
        return BidState::Malformed;
    };
    let Some(pid) = said.get("PID").and_then(Value::as_i64).filter(|pid| (1..=i64::from(i32::MAX)).contains(pid))
    else {
        return BidState::Malformed;
    };
    let another =
        |key: &str, ours: Value| said.get(key).is_some_and(|it| it.is_string() == ours.is_string() && *it != ours);
    let another_boot = another("BOOT", json!(boot_id()));
    let another_namespace = said.get("PIDNS").and_then(Value::as_u64).is_some_and(|it| it != pid_namespace());
    if another_boot || another_namespace {
        return BidState::Stale; // the kernel says that the owner is gone
    }
    let truth = match pid {
        pid if pid == i64::from(processes().live.pid()) => Bid::of(processes().live.pid()),
        pid if pid == i64::from(std::process::id()) => Bid::of(std::process::id()),
        _ => return BidState::Stale,
    };
    let same = match (said.get("START").and_then(Value::as_u64), said.get("CREATED").and_then(Value::as_i64)) {
        (Some(start), _) => start == truth.number("START") as u64,
        (None, Some(created)) => (i128::from(created) - i128::from(truth.number("CREATED"))).abs() <= 2,
        (None, None) => true,
    };
    if same {
        BidState::Live
    } else {
        BidState::Stale
    }
}

fn check(folder: &Path, bytes: &[u8]) -> Result<(), TestCaseError> {
    let path = folder.join(bid_name("any"));
    std::fs::write(&path, bytes).unwrap();
    let expected = verdict(bytes);
    let handle = LockFolder::open(folder).unwrap();
    let seen = handle.bids().map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(seen.len(), 1);
    prop_assert_eq!(seen[0].state, expected, "{}", String::from_utf8_lossy(bytes).trim_end());
    let stale = expected == BidState::Stale;
    prop_assert_eq!(handle.in_use().unwrap(), !stale);
    match handle.try_lock() {
        Ok(_guard) => prop_assert!(stale, "the lock was given beside {expected:?}"),
        Err(e) => {
            prop_assert_eq!(e.kind(), ErrorKind::Busy);
            prop_assert!(!stale);
            prop_assert!(e.to_string().contains(&bid_name("any")));
        }
    }
    prop_assert_eq!(path.exists(), !stale, "a bid that counts as live must stay, a stale bid must go");
    if expected == BidState::Malformed {
        // The bid is old and the grace is short. Still only a cut-off bid is ever deleted.
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        handle.set_malformed_grace(Duration::from_millis(1)).unwrap();
        let goes = is_cut_off(bytes);
        prop_assert_eq!(handle.reap_stale().unwrap(), usize::from(goes));
        prop_assert_eq!(path.exists(), !goes, "{}", String::from_utf8_lossy(bytes));
        prop_assert_eq!(handle.try_lock().is_ok(), goes);
    }
    drop(handle);
    let _ = std::fs::remove_file(&path);
    Ok(())
}

/// A value for a key: the true value, one near it, one far from it, one of another type, or none.
fn value(key: &str, truth: Value) -> impl Strategy<Value = Option<Value>> {
    // The PID after a live one may belong to a process that the oracle does not know. A PID past the largest belongs to
    // none.
    let step = if key == "PID" { 1 << 22 } else { 1 };
    let near = truth.as_i64().map_or(Value::Null, |n| json!(n + step));
    let double = truth.as_i64().map_or(Value::Null, |n| json!(n as f64));
    let text = json!(truth.to_string());
    prop_oneof![
        6 => Just(Some(truth)),
        3 => Just(None),
        1 => Just(Some(near)),
        1 => Just(Some(double)),
        1 => Just(Some(text)),
        1 => Just(Some(Value::Null)),
        1 => any::<i64>().prop_map(|n| Some(json!(n))),
        1 => any::<u64>().prop_map(|n| Some(json!(n))),
        1 => any::<String>().prop_map(|s| Some(json!(s))),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1)].prop_map(|n| Some(json!(n))),
        1 => Just(Some(json!([1, {"PID": 1}]))),
    ]
}

fn bids() -> impl Strategy<Value = Vec<u8>> {
    let live = processes().live.pid();
    let owner = prop_oneof![4 => Just(live), 1 => Just(std::process::id()), 2 => Just(processes().dead)];
    let said = owner.prop_flat_map(move |pid| {
        let truth = if pid == processes().dead { Bid::of(live).with("PID", pid) } else { Bid::of(pid) };
        let keys: Vec<String> = truth.0.keys().cloned().collect();
        let values: Vec<_> = truth.0.iter().map(|(key, truth)| value(key, truth.clone())).collect();
        (Just(keys), values, any::<String>(), proptest::option::of(any::<String>()))
    });
    let whole = said.prop_map(|(keys, values, text, unknown)| {
        let mut said = Map::new();
        for (key, value) in keys.into_iter().zip(values) {
            value.into_iter().for_each(|value| drop(said.insert(key.clone(), value)));
        }
        said.insert("HOST".into(), json!(text));
        if let Some(key) = unknown {
            said.entry(key).or_insert(json!({"a": [null]}));
        }
        Value::Object(said).to_string().into_bytes()
    });
    // Some bids are cut off, some have a byte changed, some are too long.
    let damage = (any::<prop::sample::Index>(), any::<u8>(), 0..8);
    (whole, damage).prop_map(|(mut bytes, (at, byte, how))| {
        let at = at.index(bytes.len());
        match how {
            0 => bytes.truncate(at),
            1 if !byte.is_ascii_digit() => bytes[at] = byte, // a digit could make it the PID of another live process
            2 if byte < 64 => bytes.resize(4096 + usize::from(byte) - 32, b' '),
            _ => {}
        }
        bytes
    })
}

fn holds_for(cases: u32, strategy: impl Strategy<Value = Vec<u8>>) {
    let scratch = Scratch::shm();
    std::fs::create_dir(scratch.folder()).unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&strategy, |bytes| check(&scratch.folder(), &bytes));
    if let Err(e) = result {
        panic!("{e}");
    }
}

#[test]
fn arbitrary_bytes_are_judged_by_the_contract() {
    holds_for(400, proptest::collection::vec(any::<u8>(), 0..200));
}

#[test]
fn arbitrary_bids_are_judged_by_the_contract() {
    holds_for(1500, bids());
}

/// The same bytes, published by a live process with the kernel's lock. Whatever they say, the bid is never deleted.
#[test]
fn a_bid_of_another_container_that_the_kernel_vouches_for_is_never_deleted() {
    let scratch = Scratch::shm();
    std::fs::create_dir(scratch.folder()).unwrap();
    let handle = LockFolder::open(scratch.folder()).unwrap();
    let path = scratch.folder().join(bid_name("any"));
    let elsewhere =
        |pid: u32, boot: &str| Bid::of(std::process::id()).with("PID", pid).with("PIDNS", 7).with("BOOT", boot);
    for boot in [boot_id().as_str(), "another boot"] {
        for pid in [1, processes().dead, std::process::id()] {
            elsewhere(pid, boot).write(&path);
            let proof = vouch_for(&path);
            for _ in 0..3 {
                assert_eq!(handle.try_lock().unwrap_err().kind(), ErrorKind::Busy);
            }
            assert_eq!(handle.reap_stale().unwrap(), 0);
            assert_eq!(handle.bids().unwrap()[0].state, BidState::Live);
            drop(proof);
            assert!(handle.try_lock().is_ok());
            assert!(!path.exists());
        }
    }
}
