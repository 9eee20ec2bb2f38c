//! The crate sysinfo is a witness: it shares no code with us. It says the same of processes as we do: when they started, and which
//! of them live.

use std::collections::BTreeMap;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use crate::support::{bids_in, both, wait_until, Bid, Kind, Puppet, Scratch};

both!(
    a_bid_says_of_its_owner_what_the_witness_sees,
    a_holder_lives_as_long_as_the_witness_says_so,
    every_process_of_this_machine_is_judged_as_the_witness_says,
);

/// What the witness sees of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    /// Unix seconds.
    start: u64,
    has_exited: bool,
    name: String,
}

/// Each time it looks anew, and remembers nothing.
fn sightings(of: ProcessesToUpdate) -> BTreeMap<u32, Sighting> {
    let mut system = System::new();
    system.refresh_processes_specifics(of, true, ProcessRefreshKind::nothing().without_tasks());
    let sighting = |process: &sysinfo::Process| Sighting {
        start: process.start_time(),
        has_exited: matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead),
        name: process.name().to_string_lossy().into_owned(),
    };
    system.processes().iter().map(|(pid, process)| (pid.as_u32(), sighting(process))).collect()
}

fn sighting(pid: u32) -> Option<Sighting> {
    sightings(ProcessesToUpdate::Some(&[Pid::from_u32(pid)])).remove(&pid)
}

fn lives(pid: u32) -> bool {
    sighting(pid).is_some_and(|seen| !seen.has_exited)
}

/// Both round the moment of the boot, each at a moment of its own; the contract allows 2 s.
fn is_close(one: u64, other: i64) -> bool {
    (one as i64).abs_diff(other) <= 2
}

fn a_bid_says_of_its_owner_what_the_witness_sees(kind: Kind) {
    let scratch = Scratch::new();
    let mut holder = Puppet::at(kind, &scratch.folder());
    let seen = sighting(holder.pid()).unwrap();
    // So that the time of the bid is not taken for the start of its owner.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    wait_until(|| now() > seen.start + 5);
    holder.must("lock 0");
    let bid: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&bids_in(&scratch.folder())[0]).unwrap()).unwrap();
    let created = bid["CREATED"].as_i64().unwrap();
    assert!(is_close(seen.start, created), "the witness: {}, the bid: {created}", seen.start);
    assert_eq!(bid["COMMAND"], seen.name);
    assert_eq!(bid["HOST"].as_str().map(str::to_owned), System::host_name());
}

fn a_holder_lives_as_long_as_the_witness_says_so(kind: Kind) {
    let scratch = Scratch::new();
    let mut reader = Puppet::at(kind, &scratch.folder());
    let mut agrees = |pid: u32, expected: &str| {
        let seen = if lives(pid) { "LIVE" } else { "STALE" };
        assert_eq!(seen, expected, "the witness");
        assert_eq!(reader.bids(0).iter().map(|bid| bid.state).collect::<Vec<_>>(), [expected], "we");
    };
    let mut holder = Puppet::at(kind, &scratch.folder());
    holder.must("lock 0");
    agrees(holder.pid(), "LIVE");
    holder.stop();
    agrees(holder.pid(), "LIVE");
    holder.kill();
    assert!(sighting(holder.pid()).is_some_and(|seen| seen.has_exited), "a zombie");
    agrees(holder.pid(), "STALE");
    let pid = holder.pid();
    holder.kill_and_reap();
    assert_eq!(sighting(pid), None);
    agrees(pid, "STALE");
}

/// Of each process a bid as the Python package writes it, whose every number comes from the witness.
fn every_process_of_this_machine_is_judged_as_the_witness_says(kind: Kind) {
    let zombie = Puppet::new(kind);
    zombie.kill();
    let scratch = Scratch::shm();
    let before = sightings(ProcessesToUpdate::All);
    for (pid, seen) in &before {
        Bid(Default::default()).with("PID", *pid).with("CREATED", seen.start).post(&scratch.folder());
    }
    let judged = Puppet::at(kind, &scratch.folder()).bids(0);
    let after = sightings(ProcessesToUpdate::All);
    assert_eq!(judged.len(), before.len());
    let mut said = BTreeMap::from([("LIVE", 0), ("STALE", 0)]);
    for bid in judged {
        let pid = bid.pid as u32;
        // What ends, or gets another name, while we look is no evidence.
        if after.get(&pid).is_none_or(|seen| *seen != before[&pid]) {
            continue;
        }
        // A main thread that ended while others run shows as a zombie too; the witness does not count its threads.
        let has_threads = || std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1);
        if before[&pid].has_exited && has_threads() {
            continue;
        }
        let expected = if before[&pid].has_exited { "STALE" } else { "LIVE" };
        assert_eq!(bid.state, expected, "process {pid}: {:?}", before[&pid]);
        *said.get_mut(expected).unwrap() += 1;
    }
    // We, the puppet that is a zombie, and whatever else runs.
    assert!(said["LIVE"] >= 2 && said["STALE"] >= 1, "{said:?}");
}
