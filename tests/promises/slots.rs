//! Several at once: at most n hold the lock together, or any number of readers, and never a reader beside a writer.

use std::path::Path;

use crate::support::{bids_in, both, wait_until, Bid, Kind, Puppet, Scratch};

both!(
    at_most_n_hold_together,
    readers_hold_together_and_never_beside_a_writer,
    a_bid_says_how_many_it_tolerates,
    another_number_is_refused_with_both_numbers,
    slots_are_set_between_locks_only,
    a_bid_whose_name_and_content_do_not_agree_tolerates_nobody,
    neighbours_in_line_go_in_together,
    a_waiting_writer_comes_before_later_readers,
    the_death_of_any_holder_lets_the_first_in_line_in,
    holders_together_have_tokens_of_their_own,
    a_writer_keeps_its_turn_behind_readers_that_come_and_go,
    holders_keep_few_descriptors_of_each_other,
);

/// A puppet with a handle of so many slots.
fn of(kind: Kind, folder: &Path, slots: u32) -> Puppet {
    let mut puppet = Puppet::at(kind, folder);
    puppet.must(&format!("set_slots 0 {slots}"));
    puppet
}

fn several<const N: usize>(kind: Kind, folder: &Path, slots: u32) -> [Puppet; N] {
    [(); N].map(|()| of(kind, folder, slots))
}

fn line(folder: &Path) -> usize {
    std::fs::read_dir(folder.join(".lockfolder/queue")).map_or(0, Iterator::count)
}

/// Begins to wait, and returns when it stands in line.
fn wait_in_line(puppet: &mut Puppet, folder: &Path) {
    let before = line(folder);
    puppet.tell("wait 0 -1");
    wait_until(|| line(folder) > before);
}

fn at_most_n_hold_together(kind: Kind) {
    let scratch = Scratch::shm();
    let [mut a, mut b, mut c, mut d] = several(kind, &scratch.folder(), 3);
    for holder in [&mut a, &mut b, &mut c] {
        holder.must("lock 0");
    }
    assert_eq!(d.ask("lock 0"), "LF_BUSY");
    let why = d.why(0);
    assert!(why.contains("3 of 3 places are taken, one of them: held by PID"), "{why}");
    assert!(why.contains(&format!("PID {}", c.pid())), "{why}");
    let mut alone = Puppet::at(kind, &scratch.folder());
    assert_eq!(alone.ask("lock 0"), "LF_BUSY");
    b.must("unlock 0");
    d.must("lock 0");
    assert_eq!(b.ask("lock 0"), "LF_BUSY");
    for holder in [&mut a, &mut c, &mut d] {
        assert_eq!(alone.ask("lock 0"), "LF_BUSY");
        holder.must("holds 0");
        holder.must("unlock 0");
    }
    alone.must("lock 0");
    assert_eq!(a.ask("lock 0"), "LF_BUSY");
}

fn readers_hold_together_and_never_beside_a_writer(kind: Kind) {
    let scratch = Scratch::shm();
    let mut readers: [Puppet; 5] = several(kind, &scratch.folder(), 0);
    let mut writer = Puppet::at(kind, &scratch.folder());
    writer.must("lock 0");
    for reader in &mut readers {
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
    }
    writer.must("unlock 0");
    for reader in &mut readers {
        reader.must("lock 0");
        assert_eq!(writer.ask("lock 0"), "LF_BUSY");
    }
    assert_eq!(bids_in(&scratch.folder()).len(), 5);
    for reader in &mut readers {
        assert_eq!(writer.ask("lock 0"), "LF_BUSY");
        reader.must("unlock 0");
    }
    writer.must("lock 0");
}

fn a_bid_says_how_many_it_tolerates(kind: Kind) {
    let scratch = Scratch::shm();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for (slots, version, says) in [(1, '7', None), (3, '8', Some(3)), (0, '8', Some(0)), (1, '7', None)] {
        puppet.must(&format!("set_slots 0 {slots}"));
        puppet.must("lock 0");
        let [bid] = &bids_in(&scratch.folder())[..] else { panic!("one bid") };
        let name = bid.file_name().unwrap().to_str().unwrap();
        assert_eq!(name.as_bytes()[14], version as u8, "{name}");
        let content: serde_json::Value = serde_json::from_slice(&std::fs::read(bid).unwrap()).unwrap();
        assert_eq!(content.get("SLOTS").and_then(serde_json::Value::as_u64), says, "{content}");
        puppet.must("unlock 0");
    }
}

fn another_number_is_refused_with_both_numbers(kind: Kind) {
    let scratch = Scratch::shm();
    let mut three = of(kind, &scratch.folder(), 3);
    let mut five = of(kind, &scratch.folder(), 5);
    let mut any = of(kind, &scratch.folder(), 0);
    three.must("lock 0");
    for (other, number) in [(&mut five, "5 slots"), (&mut any, "any number of slots")] {
        for call in ["lock 0", "wait 0 -1", "wait 0 0"] {
            assert_eq!(other.ask(call), "LF_ERR_INVALID", "{call}");
            let why = other.why(0);
            assert!(why.contains(number) && why.contains("3 slots"), "{why}");
            assert!(why.contains(&format!("PID {}", three.pid())), "{why}");
        }
    }
    three.must("unlock 0");
    five.must("lock 0");
    assert_eq!(three.ask("lock 0"), "LF_ERR_INVALID");
    assert_eq!(bids_in(&scratch.folder()).len(), 1);
}

fn slots_are_set_between_locks_only(kind: Kind) {
    let scratch = Scratch::shm();
    let [mut holder, mut waiter] = [(); 2].map(|()| Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    assert_eq!(holder.ask("set_slots 0 2"), "LF_ERR_ALREADY_HELD");
    waiter.start_to_wait(0, -1);
    assert_eq!(waiter.ask("set_slots 0 2"), "LF_BUSY");
    holder.must("holds 0");
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK");
    assert_eq!(waiter.ask("set_slots 0 2"), "LF_ERR_ALREADY_HELD");
}

/// Only a name of version 8 and a content that says so are tolerated together.
fn a_bid_whose_name_and_content_do_not_agree_tolerates_nobody(kind: Kind) {
    let scratch = Scratch::shm();
    let mut reader = of(kind, &scratch.folder(), 0);
    let own = || Bid::of(std::process::id());
    let [of_7, of_8] = ["7", "8"].map(|version| format!("018bcfe5-687b-{version}abc-89ab-cdef01234567.json"));
    let odd = of_8.to_uppercase().replace(".JSON", ".json");
    let content = |bid: Bid| serde_json::Value::Object(bid.0).to_string();
    let (shared, plain) = (content(own().with("SLOTS", 0)), content(own()));
    for (name, content, is_tolerated) in [
        (&of_8, shared.clone(), true),
        (&of_8, plain.clone(), false),
        (&of_7, shared.clone(), false),
        (&odd, shared.clone(), false),
        (&of_8, content(own().with("SLOTS", "0")), false),
        (&of_8, content(own().with("SLOTS", -1)), false),
        (&of_8, content(own().with("SLOTS", 1)), false),
        (&of_8, content(own().with("SLOTS", 4_294_967_296u64)), false),
        (&of_8, shared[..shared.len() - 1].to_owned(), false),
        (&of_8, String::new(), false),
        (&of_8, "[]".to_owned(), false),
    ] {
        let bid = scratch.folder().join(name);
        std::fs::write(&bid, &content).unwrap();
        let answer = reader.ask("lock 0");
        assert_eq!(answer, if is_tolerated { "LF_OK" } else { "LF_BUSY" }, "{name} {content}");
        if is_tolerated {
            reader.must("unlock 0");
        }
        std::fs::remove_file(bid).unwrap();
    }
}

fn neighbours_in_line_go_in_together(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let [mut first, mut last] = [(); 2].map(|()| Puppet::at(kind, &folder));
    let mut readers: [Puppet; 4] = several(kind, &folder, 0);
    first.must("lock 0");
    for reader in &mut readers {
        wait_in_line(reader, &folder);
    }
    wait_in_line(&mut last, &folder);
    first.must("unlock 0");
    for reader in &mut readers {
        assert_eq!(reader.hear(), "LF_OK");
    }
    assert_eq!(bids_in(&folder).len(), 4);
    assert!(!last.has_answered());
    for reader in &mut readers {
        assert!(!last.has_answered());
        reader.must("unlock 0");
    }
    assert_eq!(last.hear(), "LF_OK");
}

fn a_waiting_writer_comes_before_later_readers(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let [mut inside, mut later, mut tries] = several(kind, &folder, 0);
    let mut writer = Puppet::at(kind, &folder);
    inside.must("lock 0");
    wait_in_line(&mut writer, &folder);
    wait_in_line(&mut later, &folder);
    for call in ["lock 0", "wait 0 0", "wait 0 20"] {
        let refused = if call == "lock 0" { "LF_BUSY" } else { "LF_TIMEOUT" };
        assert_eq!(tries.ask(call), refused, "{call}");
        let why = tries.why(0);
        assert!(why.contains("waits for the lock comes first") && why.contains(&inside.pid().to_string()), "{why}");
    }
    // Longer than a stopped first in line would keep its place.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(!later.has_answered() && !writer.has_answered());
    inside.must("unlock 0");
    assert_eq!(writer.hear(), "LF_OK");
    assert!(!later.has_answered());
    writer.must("unlock 0");
    assert_eq!(later.hear(), "LF_OK");
}

fn the_death_of_any_holder_lets_the_first_in_line_in(kind: Kind) {
    for dies in 0..3 {
        let scratch = Scratch::shm();
        let folder = scratch.folder();
        let mut holders: [Puppet; 3] = several(kind, &folder, 3);
        holders.iter_mut().for_each(|holder| drop(holder.must("lock 0")));
        let mut waiter = of(kind, &folder, 3);
        wait_in_line(&mut waiter, &folder);
        wait_until(|| crate::support::state_of(waiter.pid()) == Some('S'));
        holders[dies].kill();
        assert_eq!(waiter.hear(), "LF_OK", "{dies}");
        waiter.must("unlock 0");
    }
}

fn holders_together_have_tokens_of_their_own(kind: Kind) {
    let scratch = Scratch::shm();
    let mut holders: [Puppet; 3] = several(kind, &scratch.folder(), 3);
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let largest = given.last().copied().unwrap_or(0);
        holders.iter_mut().for_each(|holder| drop(holder.must("lock 0")));
        holders.iter_mut().for_each(|holder| holder.tell("fence 0"));
        for holder in &mut holders {
            let token = holder.hear().number();
            assert!(token > largest && given.insert(token), "{token} after {given:?}");
        }
        holders.iter_mut().for_each(|holder| drop(holder.must("unlock 0")));
    }
    holders[0].must("lock 0");
    assert!(holders[0].must("fence 0").number() > *given.last().unwrap());
    let fences = crate::support::listing(&scratch.folder().join(".lockfolder"));
    assert_eq!(fences.iter().filter(|name| name.starts_with("fence-")).count(), 1, "{fences:?}");
}

/// While readers overlap, the lock is never free for a writer. So the writer has not missed its turn, although the oldest reader is another
/// one at each look.
fn a_writer_keeps_its_turn_behind_readers_that_come_and_go(kind: Kind) {
    let scratch = Scratch::shm();
    let readers: [Puppet; 8] = several(kind, &scratch.folder(), 0);
    let mut writer = Puppet::at(kind, &scratch.folder());
    let mut late = of(kind, &scratch.folder(), 0);
    let mut readers = Vec::from(readers);
    readers.iter_mut().for_each(|reader| drop(reader.must("lock 0")));
    wait_in_line(&mut writer, &scratch.folder());
    wait_in_line(&mut late, &scratch.folder());
    for reader in &mut readers {
        std::thread::sleep(std::time::Duration::from_secs(1)); // about as long as between two looks at the line
        reader.must("unlock 0");
    }
    assert!(!late.has_answered(), "it came after the writer");
    assert_eq!(writer.hear(), "LF_OK");
    writer.must("unlock 0");
    assert_eq!(late.hear(), "LF_OK");
}

/// What a claimant remembers of the others has descriptors. A program may hold by many handles.
fn holders_keep_few_descriptors_of_each_other(kind: Kind) {
    for slots in [0, 33, 1000] {
        let scratch = Scratch::shm();
        let mut puppet = Puppet::new(kind);
        let open = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let mut before = 0;
        for handle in 0..33 {
            if handle == 1 {
                before = open(puppet.pid());
            }
            puppet.open(handle, &scratch.folder());
            puppet.must(&format!("set_slots {handle} {slots}"));
            puppet.must(&format!("lock {handle}"));
        }
        let of_each = (open(puppet.pid()) - before) as f64 / 32.0;
        assert!(of_each <= 3.0 + 2.0 * 4.0, "{of_each} descriptors for each handle with {slots} slots");
    }
}
