//! The loss of the lock while the command runs, or before it is started.

use std::fs;
use std::process::Command;

use rustix::process::{kill_process, Pid, Signal};

use super::support::*;

/// A lock folder with leases.
fn folder_of_hosts() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("lock/.lockfolder")).unwrap();
    fs::write(scratch.path("lock/.lockfolder/shared"), "").unwrap();
    scratch
}

/// While the runner is stopped, nobody renews the lease. When it goes on, it finds the loss, and ends the command and what that started.
#[test]
fn the_loss_of_a_lease_ends_the_command_and_all_that_it_started() {
    let scratch = folder_of_hosts();
    let inside = "trap '' TERM; (setsid sh -c 'echo $$ >deep; exec sleep 1000' &); echo $$ >pid; echo ready; while :; do sleep 0.05; done";
    let mut command = Command::new(OURS);
    command.args(["run", "--lease", "5", &scratch.lock(), "sh", "-c", inside]).current_dir(&scratch.0);
    let runner = Running::start(&mut command);
    runner.expect("ready");
    wait_until("all have begun", || {
        ["pid", "deep"].iter().all(|name| fs::metadata(scratch.path(name)).is_ok_and(|file| file.len() > 0))
    });
    runner.signal(Signal::STOP);
    // The processes of a host see each other, so no other claimant of this host takes the lock over. The lease runs out all the same.
    std::thread::sleep(std::time::Duration::from_millis(5000 * 2 / 3 + 500));
    runner.signal(Signal::CONT);
    assert_eq!(runner.end().code(), Some(75));
    for name in ["pid", "deep"] {
        let pid: u32 = fs::read_to_string(scratch.path(name)).unwrap().trim().parse().unwrap();
        assert!(is_gone(pid), "{name} goes on");
    }
    assert_eq!(status(&run(&["run", "-n", &scratch.lock(), "true"])), 0, "the lock is free");
}

/// The command stops its runner until the lease is lost, whatever is around it. Then it must end, and no process that it did not start.
#[test]
fn the_loss_of_a_lease_ends_the_command_wherever_it_runs() {
    let inside =
        "echo $$ >pid; kill -STOP $PPID; sleep 4; kill -CONT $PPID; while :; do echo >>beats; sleep 0.02; done";
    for (around, name) in [
        ("sleep 1000 >/dev/null 2>&1 & echo $! >service; exec", "a process that the runner had before"),
        (
            "sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! >service; sleep 1' & sleep 0.3; exec",
            "a grandchild that becomes its child",
        ),
        ("unshare --pid --fork sh -c '\"$@\"; exit $?' sh", "another PID namespace, with the /proc of ours"),
        ("ulimit -n 16; exec", "few descriptors"),
        ("(while :; do kill -WINCH $$ 2>/dev/null || exit; done) & exec", "a storm of signals"),
        (&format!("{UNREAD} exec"), "standard error is a full pipe"),
        ("mkfifo err; exec 3<>err; exec 2>err; exec 3<&-; exec", "standard error has no reader"),
    ] {
        let scratch = folder_of_hosts();
        let mut command = Command::new("timeout");
        command.args([
            "60",
            "sh",
            "-c",
            &format!("{around} \"$@\""),
            "sh",
            OURS,
            "run",
            "--lease",
            "5",
            &scratch.lock(),
        ]);
        let output = command.args(["sh", "-c", inside]).current_dir(&scratch.0).output().unwrap();
        if text(&output.stderr).contains("Operation not permitted") {
            skip("another PID namespace: we may not make one");
            continue;
        }
        assert_eq!(status(&output), 75, "{name}: {}", text(&output.stderr));
        let beats = || fs::metadata(scratch.path("beats")).map_or(0, |file| file.len());
        let before = beats();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(beats(), before, "{name}: the command goes on");
        if let Ok(service) = fs::read_to_string(scratch.path("service")) {
            let service: i32 = service.trim().parse().unwrap();
            assert!(!is_gone(service as u32), "{name} was ended");
            kill_process(Pid::from_raw(service).unwrap(), Signal::KILL).unwrap();
        }
    }
}

/// Ctrl-Z comes while the command cleans up after the loss. The runner must go on, because it has to end the command.
#[test]
fn a_stop_after_the_loss_does_not_stop_the_runner() {
    let scratch = folder_of_hosts();
    let inside = "trap 'kill -TSTP 0' TERM; until rm -r lock/.lockfolder/leases; do sleep 0.1; done 2>/dev/null; \
                  while :; do sleep 0.05; done";
    let mut command = Command::new(OURS);
    command.args(["run", "--lease", "5", &scratch.lock(), "sh", "-c", inside]).current_dir(&scratch.0);
    assert_eq!(Running::start(&mut command).end().code(), Some(75));
}

/// Somebody deletes the bid.
#[test]
fn a_lost_bid_is_told_by_the_status() {
    let scratch = Scratch::new();
    let output = run(&["run", &scratch.lock(), "-c", &format!("rm {}/*.json", scratch.lock())]);
    assert_eq!(status(&output), 75);
    assert!(text(&output.stderr).contains("lost"), "{}", text(&output.stderr));
}

/// Somebody moves the folder away, and perhaps makes another one at its path, which somebody else can lock.
#[test]
fn a_folder_that_was_moved_is_told_by_the_status() {
    for remade in [false, true] {
        let scratch = Scratch::new();
        let (lock, moved) = (scratch.lock(), scratch.path("moved"));
        let mut line = format!("mv {lock} {moved}");
        if remade {
            line += &format!("; {OURS} run -n {lock} true && echo beside");
        }
        let output = run(&["run", &lock, "-c", &line]);
        let said = text(&output.stderr);
        assert_eq!(status(&output), 75, "{said}");
        assert_eq!(text(&output.stdout).contains("beside"), remade);
        assert!(said.contains("moved or replaced") && said.lines().count() == 1, "{said}");
        let bids = |names: fs::ReadDir| names.filter(|name| name.as_ref().unwrap().path().is_file()).count();
        assert_eq!(bids(fs::read_dir(moved).unwrap()), 0, "its bid is deleted all the same");
    }
}

/// The runner waits for the reader of its message when it is stopped. So it has the lock, and the command is not there yet.
#[test]
fn no_command_starts_under_a_lost_lock() {
    for round in 1.. {
        assert!(round < 50, "it was never stopped early enough");
        let scratch = folder_of_hosts();
        let mut command = Command::new("sh");
        let line = format!("{UNREAD} exec {OURS} run -v --lease 5 lock touch began");
        let runner = Running::start(command.args(["-c", &line]).current_dir(&scratch.0));
        let pid = runner.child.id();
        // One thread renews the lease, and one says that we have the lock.
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        wait_until("the shell has become the runner", || stat(pid, "Name") == "lockfolder");
        wait_until("it has the lock", || threads() == 3 || !children(pid).is_empty() || is_gone(pid));
        runner.signal(Signal::STOP);
        wait_until("it is stopped", || !["R", "S", "D"].iter().any(|state| stat(pid, "State").starts_with(state)));
        if !children(pid).is_empty() || is_gone(pid) {
            continue; // this machine is slow
        }
        std::thread::sleep(std::time::Duration::from_millis(5000 * 2 / 3 + 500));
        runner.signal(Signal::CONT);
        assert_eq!(runner.end().code(), Some(75));
        assert!(!fs::exists(scratch.path("began")).unwrap(), "the command was started");
        break;
    }
}

/// With each number of descriptors the command is ended at the loss, or is not started.
#[test]
fn where_the_loss_can_not_be_told_the_command_does_not_start() {
    let runs: Vec<_> = (4..24)
        .map(|descriptors| {
            let scratch = folder_of_hosts();
            let inside =
                "touch began; until rm -r lock/.lockfolder/leases; do sleep 0.1; done 2>/dev/null; exec sleep 1000";
            let line = format!("ulimit -n {descriptors}; exec timeout 60 {OURS} run --lease 5 lock sh -c '{inside}'");
            let mut command = Command::new("sh");
            let runner = Running::start(command.args(["-c", &line]).current_dir(&scratch.0));
            (descriptors, scratch, runner)
        })
        .collect();
    let mut started = 0;
    for (descriptors, scratch, runner) in runs {
        let began = |runner: std::process::ExitStatus| (fs::exists(scratch.path("began")).unwrap(), runner.code());
        match began(runner.end()) {
            (true, Some(75)) => started += 1,
            (false, Some(71 | 75 | 126)) => {} // 75: it was ended, or refused, at its very beginning
            other => panic!("with {descriptors} descriptors: began, status {other:?}"),
        }
    }
    assert!(started > 0, "none was started");
}

/// The kernel gives no threads to a process whose children are in another PID namespace. So nothing would renew the lease.
#[test]
fn a_lease_that_nothing_can_renew_is_refused_with_advice() {
    let scratch = folder_of_hosts();
    let mut command = Command::new("timeout");
    let output = command.args(["60", "unshare", "--pid", OURS, "run", &scratch.lock(), "touch", "began"]);
    let output = output.current_dir(&scratch.0).output().unwrap();
    let said = text(&output.stderr);
    if said.contains("Operation not permitted") {
        return skip("a lease without threads: we may not make a PID namespace");
    }
    assert_eq!(status(&output), 71, "{said}");
    assert!(said.contains("`unshare --pid --fork`"), "{said}");
    assert!(!fs::exists(scratch.path("began")).unwrap());
}

/// `/proc` is mounted with `hidepid`, so the runner may not see a set-user-ID program that its command has started.
#[test]
fn what_may_go_on_unseen_is_told() {
    if !rustix::process::geteuid().is_root() {
        return skip("hidden processes: only root can mount /proc");
    }
    let scratch = folder_of_hosts();
    for path in [scratch.0.clone(), scratch.lock().into(), scratch.path("lock/.lockfolder").into()] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let around =
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$@\"";
    let inside = "until rm -r lock/.lockfolder/leases; do sleep 0.1; done 2>/dev/null; exec sleep 1000";
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "--mount", "sh", "-c", around, "sh", OURS, "run", "--lease", "5", &scratch.lock()]);
    let output = command.args(["sh", "-c", inside]).current_dir(&scratch.0).output().unwrap();
    let said = text(&output.stderr);
    if said.contains("Operation not permitted") || said.contains("permission denied") {
        return skip("hidden processes: we may not mount /proc");
    }
    assert_eq!(status(&output), 75, "{said}");
    assert!(said.contains("not all that the command started can be seen"), "{said}");
}
