//! A waiter that has nothing to do sleeps, also where something is in the way of what should wake it.

mod c;
#[allow(dead_code)] // containers
#[path = "filesystems/stage.rs"]
mod stage;
mod support;

use std::fs;

use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit};
use stage::Stage;
use support::{both, wait_until, Kind, Puppet, Scratch};

both!(a_waiter_that_may_wait_for_no_descriptor_sleeps, where_a_listing_comes_in_small_pieces_a_waiter_sleeps,);

/// It gives up the processor by itself, again and again. One that spins never does.
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
    let limit = getrlimit(Resource::Nofile); // which it inherited
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    // Something leaves the folder, which wakes it. Then poll(2) refuses.
    fs::write(folder.join("note"), "").unwrap();
    fs::remove_file(folder.join("note")).unwrap();
    sleeps(&waiter);
    holder.must("unlock 0");
    wait_until(|| !support::bids_in(&folder).is_empty());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}

/// fuse-overlayfs gives a listing in pieces that leave room for more. Who takes the first piece for all does not see the holder's bid
/// among many other files, bids, withdraws, and is woken by that.
fn where_a_listing_comes_in_small_pieces_a_waiter_sleeps(kind: Kind) {
    if !support::root_or_skip("fuse-overlayfs") || !c::need("fuse-overlayfs", &["fuse-overlayfs"]) {
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
    holder.open(0, &folder);
    waiter.open(0, &folder);
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    wait_until(|| fs::read_dir(stage.seen(&folder.join(".lockfolder/queue"))).is_ok_and(|queue| queue.count() == 1));
    // No bid comes or goes while it waits, so it is woken by nothing but its looks, some seconds apart.
    let changed = || fs::metadata(stage.seen(&folder)).unwrap().modified().unwrap();
    let (before, slept) = (changed(), waiter.sleeps());
    wait_until(|| waiter.sleeps() >= slept + 2);
    assert_eq!(changed(), before, "it bids and withdraws");
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
}
