//! A handle belongs to the process that opened it. A forked child can't use the handle, and can't harm it.

use crate::support::{both, listing, Kind, Puppet, Scratch};

both!(
    every_call_is_refused_in_a_child,
    every_call_is_refused_in_a_grandchild,
    closing_in_the_child_leaves_the_parents_lock,
    closing_in_the_child_leaves_the_parents_place_in_line,
    a_child_that_ends_leaves_the_parents_lock,
    a_parent_that_dies_frees_the_folder_although_its_child_lives,
    a_child_opens_its_own_handle_and_is_excluded,
    a_fork_while_another_thread_waits_does_no_harm,
    a_fork_while_another_thread_locks_does_no_harm,
    a_program_started_by_a_holder_does_not_hold,
);

fn is_refused_everything(child: &mut Puppet, handle: u32) {
    for call in ["lock", "cancel", "unlock", "holds", "in_use", "reap", "bids", "fence"] {
        assert_eq!(child.ask(&format!("{call} {handle}")), "LF_ERR_FORKED", "{call}");
    }
    for call in [format!("wait {handle} 0"), format!("wait {handle} -1"), format!("grace {handle} 5")] {
        assert_eq!(child.ask(&call), "LF_ERR_FORKED", "{call}");
    }
    assert!(child.why(handle).contains("parent"), "{:?}", child.why(handle));
    assert_eq!(child.code(handle), 0);
}

fn every_call_is_refused_in_a_child(kind: Kind) {
    let scratch = Scratch::new();
    let (mut parent, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    for held in [false, true] {
        if held {
            parent.must("lock 0");
        }
        let mut child = parent.fork();
        is_refused_everything(&mut child, 0);
        if held {
            parent.must("holds 0");
            assert_eq!(other.ask("lock 0"), "LF_BUSY");
        }
        // The errors of the child do not change the message of the parent.
        assert!(!parent.why(0).contains("parent"));
    }
    parent.must("unlock 0");
    other.must("lock 0");
}

fn every_call_is_refused_in_a_grandchild(kind: Kind) {
    let scratch = Scratch::new();
    let mut parent = Puppet::at(kind, &scratch.folder());
    let mut child = parent.fork(); // the child forks before it uses anything
    let mut grandchild = child.fork();
    is_refused_everything(&mut grandchild, 0);
    is_refused_everything(&mut child, 0);
    // A grandchild can't use the handles of its own parent either.
    child.open(1, &scratch.folder());
    let mut second = child.fork();
    is_refused_everything(&mut second, 0);
    is_refused_everything(&mut second, 1);
    child.must("lock 1");
    assert_eq!(parent.ask("lock 0"), "LF_BUSY");
}

fn closing_in_the_child_leaves_the_parents_lock(kind: Kind) {
    let scratch = Scratch::new();
    let (mut parent, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    parent.must("lock 0");
    let files = |scratch: &Scratch| (listing(&scratch.folder()), listing(&scratch.folder().join(".lockfolder")));
    let before = files(&scratch);
    let mut child = parent.fork();
    child.must("close 0");
    assert_eq!(files(&scratch), before);
    parent.must("holds 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
    parent.must("unlock 0");
    parent.must("lock 0");
    drop(child);
    parent.must("holds 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
}

fn closing_in_the_child_leaves_the_parents_place_in_line(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut parent) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    parent.start_to_wait(0, -1);
    let queue = scratch.folder().join(".lockfolder/queue");
    crate::support::wait_until(|| queue.exists() && listing(&queue).len() == 1);
    let files = |scratch: &Scratch| (listing(&scratch.folder().join(".lockfolder")), listing(&queue));
    let before = files(&scratch);
    let mut child = parent.fork();
    child.must("close 0");
    assert_eq!(files(&scratch), before);
    holder.must("unlock 0");
    parent.must("join 1");
    assert_eq!(files(&scratch), before, "a holder keeps its place in line");
}

fn a_child_that_ends_leaves_the_parents_lock(kind: Kind) {
    let scratch = Scratch::new();
    let (mut parent, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    parent.must("lock 0");
    let child = parent.fork();
    child.kill();
    parent.must("holds 0");
    assert_eq!(other.ask("lock 0"), "LF_BUSY");
}

fn a_parent_that_dies_frees_the_folder_although_its_child_lives(kind: Kind) {
    let scratch = Scratch::new();
    let (mut parent, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    parent.must("lock 0");
    let mut child = parent.fork();
    parent.kill();
    assert_eq!(other.bids(0)[0].state, "STALE");
    other.must("lock 0");
    is_refused_everything(&mut child, 0);
    child.must("close 0");
    other.must("holds 0");
    parent.kill_and_reap();
    child.open(1, &scratch.folder());
    assert_eq!(child.ask("lock 1"), "LF_BUSY");
}

fn a_child_opens_its_own_handle_and_is_excluded(kind: Kind) {
    let scratch = Scratch::new();
    let mut parent = Puppet::at(kind, &scratch.folder());
    parent.must("lock 0");
    let mut child = parent.fork();
    child.open(1, &scratch.folder());
    assert_eq!(child.ask("lock 1"), "LF_BUSY");
    assert_eq!(child.bids(1)[0].pid, i64::from(parent.pid()));
    parent.must("unlock 0");
    child.must("lock 1");
    assert_eq!(parent.ask("lock 0"), "LF_BUSY");
    assert_eq!(parent.bids(0)[0].pid, i64::from(child.pid()), "the child must have a bid of its own");
    child.kill();
    parent.must("lock 0");
}

fn a_fork_while_another_thread_waits_does_no_harm(kind: Kind) {
    let scratch = Scratch::new();
    let (mut holder, mut parent) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
    holder.must("lock 0");
    parent.start_to_wait(0, -1);
    let mut child = parent.fork();
    is_refused_everything(&mut child, 0);
    child.open(1, &scratch.folder());
    assert_eq!(child.ask("lock 1"), "LF_BUSY");
    child.must("close 0");
    holder.must("unlock 0");
    parent.must("join 1");
    parent.must("holds 0");
    assert_eq!(child.ask("lock 1"), "LF_BUSY");
}

fn a_fork_while_another_thread_locks_does_no_harm(kind: Kind) {
    let scratch = Scratch::new();
    let mut parent = Puppet::at(kind, &scratch.folder());
    parent.must("start 1 spin 0 15000");
    for _ in 0..40 {
        let mut child = parent.fork();
        assert_eq!(child.ask("lock 0"), "LF_ERR_FORKED");
        assert_eq!(child.ask("unlock 0"), "LF_ERR_FORKED");
        child.why(0);
        child.must("close 0");
        child.open(1, &scratch.join("another"));
        child.must("lock 1");
        child.must("unlock 1");
    }
    assert_eq!(parent.must("join 1").number(), 15000);
}

fn a_program_started_by_a_holder_does_not_hold(kind: Kind) {
    let scratch = Scratch::new();
    for how in ["posix_spawn", "vfork"] {
        let (mut holder, mut other) = (Puppet::at(kind, &scratch.folder()), Puppet::at(kind, &scratch.folder()));
        holder.must("lock 0");
        let program = holder.spawn(how);
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", program.0)).unwrap();
        for fd in descriptors {
            let target = std::fs::read_link(fd.unwrap().path()).unwrap_or_default();
            assert!(!target.starts_with(&*scratch), "{} was inherited", target.display());
        }
        holder.must("holds 0");
        assert_eq!(other.ask("lock 0"), "LF_BUSY");
        holder.kill();
        other.must("lock 0");
        drop(program);
    }
}
