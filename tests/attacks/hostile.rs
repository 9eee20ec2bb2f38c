//! A user does all the harm to a folder that it can. That costs time. It lets no second claimant in and wedges none, and nothing outside the
//! folder is read, written, followed or deleted. (Bad bids are in bad_bids.rs, more bad sub-folders in folders.rs, swapped FIFOs in
//! fifos.rs.)

use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::fs::symlink;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::support::{bid_name, both, listing, root_or_skip, Bid, Kind, Puppet, Scratch};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{mknodat, FileType, Mode, CWD};
use rustix::io::Errno;

both!(
    a_bid_that_is_swapped_for_a_link_leads_nowhere,
    a_queue_that_is_no_folder_leads_nowhere,
    forged_tickets_and_beacons_cost_time_and_nothing_else,
    forged_tokens_are_only_numbers,
    permissions_that_are_taken_away_midway_are_an_error,
);

/// The things outside the lock folder. The kernel tells whether a process looked at them.
struct Outside {
    path: PathBuf,
    watch: OwnedFd,
}

impl Outside {
    /// A folder with the bid of a dead process, a FIFO, and one more folder.
    fn beside(scratch: &Scratch) -> Outside {
        let path = scratch.join("outside");
        fs::create_dir_all(path.join("inner")).unwrap();
        Bid::of(std::process::id()).with("START", 1).write(&path.join(bid_name("stale")));
        mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        // A close tells nothing that the opening did not tell. And the close may be that of the file that was just written: at that
        // moment another test starts a process, which has the file open until it executes its program.
        let events = WatchFlags::ALL_EVENTS - WatchFlags::CLOSE_WRITE - WatchFlags::CLOSE_NOWRITE;
        for name in ["", "inner", &bid_name("stale"), "fifo"] {
            inotify::add_watch(&watch, path.join(name), events).unwrap();
        }
        Outside { path, watch }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    #[track_caller]
    fn is_untouched(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        match inotify::Reader::new(&self.watch, &mut buffer).next() {
            Err(Errno::AGAIN) => {}
            event => panic!("a process used a thing outside: {event:?}"),
        };
    }
}

/// Processor time that a process has used, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_live_bid_among_a_hundred_thousand_is_found() {
    let mut used = Vec::new();
    for count in [10_000, 100_000] {
        let scratch = Scratch::shm();
        let folder = scratch.folder();
        let stale = Bid::of(std::process::id()).with("START", 1).post(&folder);
        for number in 1..count {
            fs::hard_link(&stale, folder.join(format!("00000000-0000-4000-8000-{:012}.json", 1_000_000 + number)))
                .unwrap();
        }
        let live = folder.join("ffffffff-0000-4000-8000-000000000000.json");
        Bid::of(std::process::id()).write(&live);
        let mut puppet = Puppet::at(Kind::C, &folder);
        assert_eq!(puppet.must("in_use 0").number(), 1);
        assert_eq!(listing(&folder).len(), count + 1, "a question deletes nothing");
        let before = ticks(puppet.pid());
        assert_eq!(puppet.ask("lock 0"), "LF_BUSY");
        used.push(ticks(puppet.pid()) - before);
        assert_eq!(listing(&folder), [live.file_name().unwrap().to_str().unwrap()]);
        fs::remove_file(&live).unwrap();
        puppet.must("lock 0");
    }
    // Ten times as many bids take ten times as long, and not a hundred times. The half second covers the noise.
    let per_second = rustix::param::clock_ticks_per_second();
    assert!(used[1] <= used[0] * 40 + per_second / 2, "{used:?} ticks: more than in proportion");
}

/// The bid is swapped again and again, so some swaps fall between a look and the opening that follows.
fn a_bid_that_is_swapped_for_a_link_leads_nowhere(kind: Kind) {
    let scratch = Scratch::shm();
    let (folder, spare) = (scratch.folder(), scratch.join("spare"));
    fs::create_dir(&folder).unwrap();
    let outside = Outside::beside(&scratch);
    let mut puppets = [Puppet::at(kind, &folder), Puppet::at(Kind::C, &folder)];
    let over = AtomicBool::new(false);
    let swap = || {
        let live = Bid::of(std::process::id());
        for target in [&bid_name("stale"), "fifo", "inner", "nothing"].iter().cycle() {
            if over.load(Ordering::Relaxed) {
                break;
            }
            live.write(&spare);
            fs::rename(&spare, folder.join(bid_name("x"))).unwrap();
            symlink(outside.join(target), &spare).unwrap();
            fs::rename(&spare, folder.join(bid_name("x"))).unwrap();
        }
    };
    fs::write(folder.join(bid_name("x")), "").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(swap);
        puppets.iter_mut().for_each(|puppet| puppet.tell("spin 0 20000 %%"));
        // The thread is joined also if a puppet fails.
        let had = catch_unwind(AssertUnwindSafe(|| puppets.iter_mut().map(Puppet::hear).collect::<Vec<_>>()));
        over.store(true, Ordering::Relaxed);
        had.unwrap()
            .iter()
            .for_each(|had| assert_eq!(had.number(), 0, "the name is always taken, by what counts as live"));
    });
    outside.is_untouched();
    assert_eq!(listing(&outside.path), [bid_name("stale").as_str(), "fifo", "inner"]);
    fs::remove_file(folder.join(bid_name("x"))).unwrap();
    puppets[0].must("lock 0");
}

fn a_queue_that_is_no_folder_leads_nowhere(kind: Kind) {
    let scratch = Scratch::shm();
    let outside = Outside::beside(&scratch);
    let queue = scratch.folder().join(".lockfolder/queue");
    let (mut holder, mut waiter) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    let forgeries: [(&str, &dyn Fn()); 4] = [
        ("a link to a folder", &|| symlink(outside.join("inner"), &queue).unwrap()),
        ("a link to nothing", &|| symlink(outside.join("nothing"), &queue).unwrap()),
        ("a file", &|| fs::write(&queue, "precious").unwrap()),
        ("a FIFO", &|| mknodat(CWD, &queue, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
    ];
    for (what, forge) in forgeries {
        holder.must("lock 0");
        forge();
        waiter.start_to_wait(0, -1);
        holder.must("unlock 0");
        assert_eq!(waiter.ask("join 1"), "LF_OK", "{what}");
        assert_eq!(waiter.must("reap 0").number(), 0);
        waiter.must("unlock 0");
        assert!(queue.symlink_metadata().is_ok(), "{what}");
        fs::remove_file(&queue).unwrap();
        outside.is_untouched();
    }
}

/// Tickets that sort before all others: of claims that do not exist, of a claim that exists, and of all kinds of files.
fn forge_line(folder: &Path, outside: &Outside, live_claim: &str) {
    let (hidden, queue) = (folder.join(".lockfolder"), folder.join(".lockfolder/queue"));
    fs::create_dir_all(&queue).unwrap();
    for number in 0..1000_u64 {
        let (ticket, beacon) =
            (queue.join(format!("{number:016x}{number:016x}")), hidden.join(format!("{number:016x}.beacon-1")));
        for (n, path) in [ticket, beacon].into_iter().enumerate() {
            match (number + n as u64) % 10 {
                0..=4 => drop(File::create(path).unwrap()),
                5 => symlink(outside.join(&bid_name("stale")), path).unwrap(),
                6 => symlink(outside.join("fifo"), path).unwrap(),
                7 => symlink(outside.join("inner"), path).unwrap(),
                8 => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
                _ if number < 300 => fs::create_dir(path).unwrap(),
                _ => fs::write(path, "precious").unwrap(),
            }
        }
    }
    symlink(outside.join("fifo"), hidden.join("tail")).unwrap();
    // These tickets seem to wait, and their claimants never come forward.
    File::create(queue.join(format!("{:016x}{live_claim}", 1))).unwrap();
    symlink(outside.join("fifo"), queue.join(format!("{:016x}{live_claim}", 2))).unwrap();
    // These are no tickets.
    fs::write(queue.join("README"), "").unwrap();
    fs::write(queue.join("zz".repeat(16)), "").unwrap();
}

fn forged_tickets_and_beacons_cost_time_and_nothing_else(kind: Kind) {
    let scratch = Scratch::shm();
    let outside = Outside::beside(&scratch);
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    let claim = listing(&folder.join(".lockfolder")).pop().unwrap().replace(".json", "");
    forge_line(&folder, &outside, &claim);
    waiter.start_to_wait(0, -1);
    // The waiter looks, and sleeps: briefly at first, then for 25 to 50 ms. (A look may block once, too.)
    let slept_until = |count: u64| crate::support::wait_until(|| waiter.sleeps() >= count);
    slept_until(waiter.sleeps() + 20);
    let (began, before) = (Instant::now(), waiter.sleeps());
    slept_until(before + 50);
    let looks = waiter.sleeps() - before;
    let explained = 2 * (began.elapsed().as_millis() as u64 / 25 + 1);
    assert!(looks <= explained, "{looks} looks, and {explained} are explained");
    assert!(!waiter.has_answered());
    holder.must("unlock 0");
    let joined = waiter.ask("join 1");
    assert_eq!(joined, "LF_OK", "{}", waiter.why(0));
    waiter.must("holds 0");
    assert_eq!(waiter.must("reap 0").number(), 0);
    waiter.must("unlock 0");
    holder.must("wait 0 -1");
    holder.must("fence 0");
    outside.is_untouched();
}

fn forged_tokens_are_only_numbers(kind: Kind) {
    let scratch = Scratch::shm();
    let outside = Outside::beside(&scratch);
    let hidden = scratch.folder().join(".lockfolder");
    let mut puppet = Puppet::at(kind, &scratch.folder());
    puppet.must("lock 0");
    for odd in [
        "fence-",
        "fence--1",
        "fence-+99",
        "fence-18446744073709551616",
        "fence-0x99",
        "fence-1e9",
        "fence-99 ",
        "fence-00099",
    ] {
        fs::write(hidden.join(odd), "").unwrap();
    }
    fs::create_dir(hidden.join("fence-40")).unwrap();
    symlink(outside.join(&bid_name("stale")), hidden.join("fence-41")).unwrap();
    symlink(outside.join("nothing"), hidden.join("fence-42")).unwrap();
    assert_eq!(puppet.must("fence 0").number(), 43);
    assert_eq!(puppet.must("fence 0").number(), 44);
    fs::write(hidden.join(format!("fence-{}", u64::MAX - 1)), "").unwrap();
    assert_eq!(puppet.must("fence 0").number(), u64::MAX);
    assert_eq!(puppet.ask("fence 0"), "LF_ERR_IO", "there is no larger one");
    puppet.must("holds 0");
    outside.is_untouched();
}

fn permissions_that_are_taken_away_midway_are_an_error(kind: Kind) {
    if !root_or_skip("another user") {
        return;
    }
    let scratch = Scratch::shm();
    let (folder, hidden) = (scratch.folder_with_mode(0o777), scratch.folder().join(".lockfolder"));
    let mut root = Puppet::at(kind, &folder);
    let mut nobody = crate::support::nobody(kind);
    nobody.open(0, &folder);

    // The rights are taken from a holder: it still holds, until it can unlock.
    nobody.must("lock 0");
    crate::support::set_mode(&folder, 0o555);
    assert_eq!(nobody.ask("unlock 0"), "LF_ERR_IO");
    assert_eq!(nobody.code(0), Errno::ACCESS.raw_os_error());
    nobody.must("holds 0");
    assert_eq!(root.ask("lock 0"), "LF_BUSY");
    crate::support::set_mode(&folder, 0o777);
    nobody.must("unlock 0");
    // The rights are taken from a claimant that had the lock, and from one that waits: each gets an error, and leaves no bid.
    for (path, bits) in [(&folder, 0o555), (&folder, 0o000), (&hidden, 0o000)] {
        crate::support::set_mode(path, bits);
        assert_eq!(nobody.ask("lock 0"), "LF_ERR_IO", "{} {bits:o}", path.display());
        assert_eq!(nobody.code(0), Errno::ACCESS.raw_os_error());
        crate::support::set_mode(path, 0o777);
        root.must("lock 0");
        nobody.start_to_wait(0, -1);
        crate::support::set_mode(path, bits);
        root.must("unlock 0");
        assert_eq!(nobody.ask("join 1"), "LF_ERR_IO", "{} {bits:o}", path.display());
        crate::support::set_mode(path, 0o777);
        assert_eq!(listing(&folder), [".lockfolder"]);
        nobody.must("wait 0 -1");
        nobody.must("unlock 0");
    }
}
