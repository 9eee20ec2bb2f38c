//! A waiter without anything to do sleeps, even if something hinders what should wake it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::stage::Stage;
use crate::support::{all_waits, bid_name, both, state_of, wait_until, Kind, Puppet, Scratch};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit};

const TRUST: u32 = 4;

both!(a_waiter_that_may_wait_for_no_descriptor_sleeps, a_waiter_sleeps_if_a_listing_comes_in_small_pieces);

all_waits!(files_of_others_that_come_and_go_cause_no_look, bids_that_come_and_go_among_many_files_cost_a_waiter_little,);

/// A waiter that sleeps gives up the processor of its own accord, again and again. A waiter that spins never does.
#[track_caller]
fn sleeps(waiter: &Puppet) {
    let before = waiter.sleeps();
    wait_until(|| waiter.sleeps() >= before + 20);
}

fn a_waiter_that_may_wait_for_no_descriptor_sleeps(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    wait_until(|| fs::read_dir(folder.join(".lockfolder/queue")).is_ok_and(|queue| queue.count() == 1));
    let pid = Pid::from_raw(waiter.pid() as i32);
    let limit = getrlimit(Resource::Nofile); // the waiter inherited this limit
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    // A bid leaves the folder, which wakes the waiter. Then poll(2) fails.
    let bid = folder.join(bid_name("gone"));
    fs::write(&bid, "").unwrap();
    fs::remove_file(&bid).unwrap();
    sleeps(&waiter);
    holder.must("unlock 0");
    wait_until(|| !crate::support::bids_in(&folder).is_empty());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}

/// Each change wakes the first in line, because the kernel names the changed file only after it has woken a reader. But
/// a stranger's file is no reason to read the folder.
fn files_of_others_that_come_and_go_cause_no_look(kind: Kind) {
    const CHANGES: usize = 60;
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    wait_until(|| fs::read_dir(folder.join(".lockfolder/queue")).is_ok_and(|queue| queue.count() == 1));
    wait_until(|| state_of(waiter.pid()) == Some('S') && is_watched_by(&waiter));
    let looks = Looks::at(&folder);
    let mut quiet = 0;
    for number in 0..CHANGES {
        let slept = waiter.sleeps();
        let name = folder.join(["note", "notes.json", "file~", "0123.json.tmp"][number % 4]);
        fs::write(&name, "").unwrap();
        match number % 3 {
            0 => fs::remove_file(&name).unwrap(),
            1 => fs::rename(&name, folder.join("other")).unwrap(),
            _ => fs::rename(&name, scratch.join("elsewhere")).unwrap(),
        }
        wait_until(|| waiter.sleeps() > slept);
        quiet += usize::from(!looks.were_there());
    }
    // Without a reason, the waiter looks about every 2 s. Some of the changes may therefore be followed by a look.
    assert!(quiet >= CHANGES / 3, "{} of {CHANGES} changes were followed by a look", CHANGES - quiet);
    // The waiter still misses no unlock.
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}

/// A user makes and deletes bids all the time. Each may free the lock, but where a look takes long, not each is worth a look. A machine
/// that is slow or busy makes the share of the processor smaller, and never larger.
fn bids_that_come_and_go_among_many_files_cost_a_waiter_little(kind: Kind) {
    let scratch = Scratch::shm();
    let folder = scratch.folder();
    let (mut holder, mut waiter) = (Puppet::at(kind, &folder), Puppet::at(kind, &folder));
    for number in 0..30_000 {
        fs::write(folder.join(format!("note-{number}")), "").unwrap();
    }
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    wait_until(|| state_of(waiter.pid()) == Some('S') && is_watched_by(&waiter));
    let (bid, began, before) = (folder.join(bid_name("gone")), Instant::now(), processor_time(&waiter));
    while began.elapsed() < Duration::from_secs(2) {
        fs::write(&bid, "").unwrap();
        fs::remove_file(&bid).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let share = (processor_time(&waiter) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.35, "the waiter used {share:.2} of a processor");
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}

/// What the process has used: fields 14 and 15 of `/proc/PID/stat`, without and in the kernel.
fn processor_time(puppet: &Puppet) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", puppet.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// The waiter has an inotify watch on the folder.
fn is_watched_by(waiter: &Puppet) -> bool {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", waiter.pid())).unwrap();
    infos.flatten().any(|info| fs::read_to_string(info.path()).is_ok_and(|info| info.contains("inotify wd:")))
}

/// Reports, on the word of the kernel, whether a process listed a folder.
struct Looks(rustix::fd::OwnedFd);

impl Looks {
    fn at(folder: &Path) -> Looks {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, folder, WatchFlags::ACCESS).unwrap();
        Looks(watch)
    }

    /// The listings since the last call.
    fn were_there(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut were_there = false;
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|read| read > 0) {
            were_there = true;
        }
        were_there
    }
}

/// fuse-overlayfs returns a listing in pieces that are not full. A claimant that takes the first piece for the whole
/// listing misses the holder's bid among many other files. It then bids, withdraws, and is woken by its own withdrawal.
fn a_waiter_sleeps_if_a_listing_comes_in_small_pieces(kind: Kind) {
    if !crate::support::namespaces_or_skip("fuse-overlayfs") || !crate::c::need("fuse-overlayfs", &["fuse-overlayfs"]) {
        return;
    }
    let stage = Stage::new();
    stage.run(
        "mkdir $T/at && mount -t tmpfs tmpfs $T/at && cd $T/at && mkdir lower upper work at lower/lock && \
         for n in $(seq 2000); do echo >lower/lock/note-$n; done && \
         fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work at && mountpoint at",
    );
    let folder = stage.join("at/at/lock");
    let (mut holder, mut waiter) = (stage.puppet(kind), stage.puppet(kind));
    // Readers that list at the same time can miss a name on this filesystem. Here only one lists at a time.
    for puppet in [&mut holder, &mut waiter] {
        assert_eq!(puppet.try_open(0, 0, &folder), "LF_ERR_UNSUPPORTED");
        assert!(puppet.why_not_opened().contains("(fuse.fuse-overlayfs)"));
        assert_eq!(puppet.try_open(0, TRUST, &folder), "LF_OK");
    }
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    // No bid comes or goes while it waits: it looks, and looks again.
    let changed = || fs::metadata(stage.seen(&folder)).unwrap().modified().unwrap();
    let (before, slept) = (changed(), waiter.sleeps());
    wait_until(|| waiter.sleeps() >= slept + 20);
    assert_eq!(changed(), before, "the waiter bids and withdraws");
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}
