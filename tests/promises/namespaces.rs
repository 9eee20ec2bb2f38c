//! Containers: a neighbour in another namespace is never robbed, and its death frees the folder at once.

use crate::support::containers::{contained, each_filesystem, is_respected_until_it_dies};
use crate::support::{both, Bid, Kind, Puppet};

both!(
    a_live_neighbour_inside_is_never_robbed_and_its_death_frees_the_folder,
    a_live_neighbour_outside_is_never_robbed_and_its_death_frees_the_folder,
    two_containers_that_are_both_pid_1_exclude_each_other,
    a_dead_predecessor_with_our_pid_1_is_stale,
    a_dead_predecessor_with_our_pid_and_namespace_number_is_stale,
    a_killed_container_leaves_nothing_after_the_next_holder,
    a_foreign_proc_misleads_nobody,
    another_mount_namespace_changes_nothing,
    after_exec_a_bid_judged_by_its_lock_is_stale,
    a_program_started_by_a_holder_keeps_no_proof_of_life,
    a_forked_child_can_only_make_its_dead_parent_look_alive,
);

fn a_live_neighbour_inside_is_never_robbed_and_its_death_frees_the_folder(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut reader = Puppet::at(kind, &scratch.folder());
        is_respected_until_it_dies(contained(kind, scratch), &mut reader);
    });
}

fn a_live_neighbour_outside_is_never_robbed_and_its_death_frees_the_folder(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut reader = contained(kind, scratch);
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut reader);
    });
}

fn two_containers_that_are_both_pid_1_exclude_each_other(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut reader = contained(kind, scratch);
        is_respected_until_it_dies(contained(kind, scratch), &mut reader);
    });
}

fn a_dead_predecessor_with_our_pid_1_is_stale(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        for _ in 0..3 {
            let mut container = contained(kind, scratch);
            container.must("lock 0");
            // The next namespace may well get the same number. A start is told in ticks of 10 ms, and with the same number, PID and start
            // the bid would be true of the next process.
            container.kill_and_reap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        contained(kind, scratch).must("lock 0");
        Puppet::at(kind, &scratch.folder()).must("lock 0");
    });
}

fn a_dead_predecessor_with_our_pid_and_namespace_number_is_stale(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut container = contained(kind, scratch);
        let link = std::fs::read_link(format!("/proc/{}/ns/pid", container.pid())).unwrap();
        let number: u64 = link.to_str().unwrap()["pid:[".len()..].trim_end_matches(']').parse().unwrap();
        let own = Bid::of(container.pid()).with("PID", 1).with("PIDNS", number);
        let start = own.number("START");
        let path = own.clone().with("START", start - 1).post(&scratch.folder());
        container.must("lock 0");
        container.must("unlock 0");
        assert!(!path.exists());
        own.post(&scratch.folder());
        assert_eq!(container.ask("lock 0"), "LF_BUSY", "the bid is true of PID 1");
    });
}

fn a_killed_container_leaves_nothing_after_the_next_holder(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut holder = contained(kind, scratch);
        holder.must("lock 0");
        holder.kill_and_reap();
        let mut next = contained(kind, scratch);
        next.must("lock 0");
        next.must("unlock 0");
        next.must("close 0");
        assert_eq!(crate::support::listing(&scratch.folder()), [".lockfolder"]);
        let left = crate::support::listing(&scratch.folder().join(".lockfolder"));
        assert!(left.iter().all(|name| name == "shared" || name == "leases"), "{left:?}");
    });
}

/// A PID namespace without a `/proc` of its own: under "PID 2" this `/proc` shows another process.
fn a_foreign_proc_misleads_nobody(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let mut first = Puppet::behind(&["unshare", "--pid", "--fork", "--kill-child"], kind);
        first.open(0, &scratch.folder());
        let target = first.pid().to_string();
        let inside = ["nsenter", "--pid", "--target", &target];
        let mut reader = Puppet::behind(&inside, kind);
        reader.open(0, &scratch.folder());
        let mut holder = Puppet::behind(&inside, kind);
        holder.open(0, &scratch.folder());
        is_respected_until_it_dies(holder, &mut reader);
        // A process that sees another `/proc` must judge the same.
        let mut holder = Puppet::behind(&inside, kind);
        holder.open(0, &scratch.folder());
        is_respected_until_it_dies(holder, &mut Puppet::at(kind, &scratch.folder()));
        is_respected_until_it_dies(Puppet::at(kind, &scratch.folder()), &mut first);
    });
}

fn another_mount_namespace_changes_nothing(kind: Kind) {
    each_filesystem("another mount namespace", |scratch| {
        // The folder has another path there.
        let elsewhere = scratch.join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::create_dir_all(scratch.folder()).unwrap();
        let bind = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let (folder, there) = (scratch.folder(), elsewhere.display().to_string());
        let mount = ["unshare", "--mount", "sh", "-c", bind, folder.to_str().unwrap(), &there];
        let mut inside = Puppet::behind(&mount, kind);
        inside.open(0, &elsewhere);
        let mut outside = Puppet::at(kind, &folder);
        outside.must("lock 0");
        assert_eq!(inside.ask("lock 0"), "LF_BUSY");
        outside.must("unlock 0");
        is_respected_until_it_dies(inside, &mut outside);
    });
}

fn after_exec_a_bid_judged_by_its_lock_is_stale(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let (mut holder, mut reader) = (Puppet::at(kind, &scratch.folder()), contained(kind, scratch));
        holder.must("lock 0");
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        holder.tell("exec");
        crate::support::wait_until(|| reader.bids(0)[0].state == "STALE");
        reader.must("lock 0");
    });
}

fn a_program_started_by_a_holder_keeps_no_proof_of_life(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        for how in ["posix_spawn", "vfork"] {
            let (mut holder, mut reader) = (Puppet::at(kind, &scratch.folder()), contained(kind, scratch));
            holder.must("lock 0");
            let program = holder.spawn(how);
            assert_eq!(reader.ask("lock 0"), "LF_BUSY");
            holder.kill();
            assert!(crate::support::state_of(program.0).is_some());
            reader.must("lock 0");
        }
    });
}

/// An open file also belongs to the child, and so does the lock that proves life. This error is on the safe side, and
/// lasts until the child closes the handle, execs or ends. Where the PID can be judged, the PID decides.
fn a_forked_child_can_only_make_its_dead_parent_look_alive(kind: Kind) {
    each_filesystem("another PID namespace", |scratch| {
        let (mut holder, mut reader) = (Puppet::at(kind, &scratch.folder()), contained(kind, scratch));
        holder.must("lock 0");
        let mut child = holder.fork();
        child.must("close 0");
        assert_eq!(reader.ask("lock 0"), "LF_BUSY", "a child that closes the handle does not give the proof away");
        let second = holder.fork();
        holder.kill();
        assert_eq!(reader.ask("lock 0"), "LF_BUSY");
        second.kill();
        reader.must("lock 0");
        reader.must("unlock 0");
    });
}
