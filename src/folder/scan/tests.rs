use std::ffi::CString;

use super::*;
use crate::scratch::{bid_name, Scratch};

struct Folder {
    path: Scratch,
    dir: Dir,
    me: Arc<Identity>,
    seen: Sightings,
}

impl Folder {
    fn new() -> Folder {
        let path = Scratch::new();
        Folder { dir: Dir::open(&path).unwrap(), path, me: Identity::current().unwrap(), seen: Sightings::default() }
    }

    /// The path of the bid for this word (see `bid_name`).
    fn at(&self, word: &str) -> std::path::PathBuf {
        self.path.join(bid_name(word))
    }

    fn post(&self, word: &str, pid: u32) {
        std::fs::write(self.at(word), Bid { pid, ..Bid::default() }.to_json()).unwrap();
    }

    fn scanner(&self) -> Scanner<'_> {
        Scanner::local(&self.dir, &self.me, &self.seen)
    }

    /// The name and the verdict of the rival that a check finds.
    fn rival(&self, memory: &mut Memory) -> Option<(String, Verdict)> {
        let rival = self.scanner().check(memory, None).unwrap().rival?;
        Some((rival.name.to_str().unwrap().into(), rival.verdict))
    }
}

fn live(word: &str) -> Option<(String, Verdict)> {
    Some((bid_name(word), Verdict::Live))
}

fn name_of(word: &str) -> CString {
    CString::new(bid_name(word)).unwrap()
}

/// Linux never gives a PID this large.
const DEAD: u32 = 1 << 22;

/// Our bids are always one file under a new name each time. A Python peer's bids are a new file each time under one
/// name.
#[test]
fn a_known_rival_is_recognised_by_its_name_and_its_file() {
    let (folder, mut memory) = (Folder::new(), Memory::default());
    let at = |word: &str| folder.at(word);
    folder.post("m", folder.me.pid);
    assert_eq!(folder.rival(&mut memory), live("m"));
    std::fs::rename(at("m"), at("n")).unwrap();
    assert_eq!(folder.rival(&mut memory), live("n"), "another name");
    folder.post("l", folder.me.pid);
    assert_eq!(folder.rival(&mut memory), live("l"), "the first of two");
    folder.post("other", DEAD);
    std::fs::rename(at("other"), at("l")).unwrap();
    assert_eq!(folder.rival(&mut memory), live("n"), "another file");
    assert!(!at("l").exists());
}

/// A known rival is not read again while its owner lives, because that would cost as much as the whole rest of a
/// scan.
#[test]
fn a_known_rival_is_not_read_again() {
    let ours = bid::BidName::new(1, [7; 8], Slots::One).as_c_str().to_str().unwrap().to_owned();
    for (name, is_read_again) in [(ours, false), (bid_name("python"), true)] {
        let (folder, mut memory) = (Folder::new(), Memory::default());
        let post = |pid| std::fs::write(folder.path.join(&name), Bid { pid, ..Bid::default() }.to_json()).unwrap();
        post(folder.me.pid);
        let first = folder.rival(&mut memory);
        assert_eq!(first, Some((name.clone(), Verdict::Live)));
        post(DEAD); // in reality no bid of ours is ever overwritten
        assert_eq!(folder.rival(&mut memory), first.filter(|_| !is_read_again));
        assert_eq!(folder.rival(&mut Memory::default()), None);
    }
}

/// A waiter that looks for days, and finds the lock free now and then, keeps no more of the past than one look showed.
#[test]
fn what_is_kept_of_past_rivals_does_not_grow() {
    let (folder, mut memory) = (Folder::new(), Memory::default());
    for _ in 0..10 {
        folder.post("m", folder.me.pid);
        assert_eq!(folder.rival(&mut memory), live("m"));
        std::fs::remove_file(folder.at("m")).unwrap();
        for _ in 0..2 {
            assert_eq!(folder.rival(&mut memory), None);
            assert_eq!(memory.past.len(), 1);
        }
    }
    memory.close();
    assert!(memory.past.is_empty());
}

#[test]
fn the_liveness_probe_tells_whether_a_rival_is_alive() {
    let folder = Folder::new();
    folder.post("live", folder.me.pid);
    folder.post("dead", DEAD);
    std::fs::write(folder.at("torn"), "").unwrap();
    let scanner = folder.scanner();
    let names = ["dead", "live", "torn"].map(name_of);
    let rivals = names.clone().map(|name| scanner.judge(&(name, 0)).unwrap().unwrap());
    let alive: Vec<_> = rivals.iter().map(|rival| (rival.name.as_c_str(), rival.is_alive())).collect();
    assert_eq!(alive, [(&*names[0], false), (&*names[1], true), (&*names[2], false)]);
    assert_eq!(format!("{:?}", rivals[1]), format!("{:?} Live", names[1]));
}

/// Our own bid woke us. The next bid therefore waits for a full listing. (tests/promises/asleep.rs has a filesystem
/// that shows this.)
#[test]
fn a_glance_is_not_trusted_after_a_bid_met_a_rival() {
    let (folder, mut memory) = (Folder::new(), Memory::default());
    folder.post("rival", folder.me.pid);
    folder.scanner().check(&mut memory, None).unwrap();
    assert!(!memory.was_surprised, "we had no bid");
    folder.scanner().check(&mut memory, Some(c"own.json")).unwrap();
    folder.scanner().check(&mut memory, None).unwrap();
    assert!(memory.was_surprised);
    std::fs::remove_file(folder.at("rival")).unwrap();
    folder.scanner().check(&mut memory, Some(c"own.json")).unwrap();
    assert!(!memory.was_surprised);
}

#[test]
fn a_bid_that_vanished_is_gone() {
    let folder = Folder::new();
    assert!(folder.scanner().judge(&(name_of("a"), 1)).unwrap().is_none());
}

#[test]
fn all_stale_bids_are_reaped_and_counted() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.post(name, DEAD);
    }
    folder.post("live", folder.me.pid);
    assert_eq!(folder.scanner().reap_all(&mut Watch::default(), Some(&name_of("b")), None).unwrap(), 2);
    let left: Vec<_> = folder.scanner().rivals().unwrap().into_iter().map(|rival| rival.name).collect();
    assert_eq!(left, [name_of("b"), name_of("live")]);
    assert!(!folder.scanner().reap(&name_of("a")), "it is already gone");
}

#[test]
fn a_bid_of_4_kib_is_read_and_a_larger_one_is_not() {
    let folder = Folder::new();
    for (size, verdict) in [(bid::MAX_BYTES, Verdict::Live), (bid::MAX_BYTES + 1, Verdict::Malformed)] {
        let content = format!("{:<size$}", format!("{{\"PID\": {}}}", folder.me.pid));
        std::fs::write(folder.at("a"), content).unwrap();
        assert_eq!(folder.scanner().rivals().unwrap()[0].verdict, verdict);
    }
}

#[test]
fn bids_that_are_only_shown_are_not_kept_open() {
    let folder = Folder::new();
    for word in ["one", "two", "three"] {
        std::fs::write(folder.path.join(bid_name(word)), Bid { pid: std::process::id(), ..Bid::default() }.to_json())
            .unwrap();
    }
    let rivals = folder.scanner().rivals().unwrap();
    assert_eq!(rivals.len(), 3);
    assert!(rivals.iter().all(|rival| rival.verdict == Verdict::Live && matches!(rival.probe, Probe::None)));
}

#[test]
fn a_rival_is_described_to_a_person() {
    let folder = Folder::new();
    folder.post("a", folder.me.pid);
    std::fs::write(folder.at("b"), "").unwrap();
    std::fs::write(folder.at("c"), "[]").unwrap();
    let said: Vec<_> = folder.scanner().rivals().unwrap().iter().map(|rival| rival.holder().to_string()).collect();
    let [a, b, c] = ["a", "b", "c"].map(bid_name);
    assert_eq!(said[0], format!("the bid {a} of PID {} is live", folder.me.pid));
    assert!(said[1].starts_with(&format!("the bid {b} can't be judged: it is empty")), "{}", said[1]);
    assert!(said[1].contains("lf_set_malformed_grace"), "what to do: {}", said[1]);
    let in_the_way = format!("the file {c} is in the way: it has the name of a bid, but it names no PID");
    assert!(said[2].starts_with(&in_the_way) && said[2].contains("Move it away"), "what to do: {}", said[2]);
}
