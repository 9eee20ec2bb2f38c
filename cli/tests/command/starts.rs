//! The start of the command, and what can keep it or the runner from going on.

use std::fs;
use std::process::Command;

use rustix::process::{kill_process_group, Signal};

use super::support::*;

/// The search for the command along this PATH takes milliseconds.
fn long_path() -> String {
    format!("{}{}", "/n:".repeat(40_000), std::env::var("PATH").unwrap())
}

/// The runner has the lock, and says what is wrong. Standard error is full.
#[test]
fn a_message_that_nobody_reads_keeps_nobody() {
    for (before, options, word, status) in [
        ("", "", "/no/such/command", 127),
        ("", "", "/etc/passwd", 126),
        ("", "-v", "/no/such/command", 127),
        ("kept=yes;", "-v -n", "true", 1),
        ("kept=yes;", "-v -w 0.1", "true", 1),
    ] {
        let scratch = Scratch::new();
        let holder = (!before.is_empty()).then(|| Holder::new(&scratch.lock()));
        let line = format!("{UNREAD} exec timeout 60 {OURS} run {options} lock {word}");
        let mut command = Command::new("sh");
        let ended = Running::start(command.args(["-c", &line]).current_dir(&scratch.0)).end();
        assert_eq!(ended.code(), Some(status), "{options} {word}");
        if let Some(holder) = holder {
            holder.leave();
        }
    }
}

/// Our user may have no more processes and threads.
#[test]
fn a_message_that_nobody_reads_keeps_nobody_where_there_are_no_threads() {
    if !rustix::process::geteuid().is_root() {
        return skip("no threads: only root can become a user without processes");
    }
    // A name that is longer than the room that is left in the pipe.
    for options in [String::new(), "-v".into(), format!("-v --name {}", "long".repeat(20_000))] {
        let scratch = Scratch::new();
        fs::set_permissions(&scratch.0, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        // Another program of this user, so that the limit holds. Nobody else has this number.
        let line = format!(
            "{UNREAD} exec timeout 60 setpriv --reuid 54321 --regid 54321 --clear-groups \
             prlimit --nproc=1 {OURS} run {options} lock true"
        );
        let mut command = Command::new("sh");
        let ended = Running::start(command.args(["-c", &line]).current_dir(&scratch.0)).end();
        assert_eq!(of_shell(ended), 126, "{options:.20}");
    }
}

/// Ctrl-Z comes while the child looks along the PATH, and is not yet the command.
#[test]
fn a_stop_at_the_start_stops_both() {
    let mut stopped_early = 0;
    for pause in 0..12 {
        let scratch = Scratch::new();
        let mut command = Command::new(OURS);
        command.args(["run", &scratch.lock(), "sh", "-c", "touch began; echo here; cat"]).current_dir(&scratch.0);
        let mut runner = Running::start(command.env("PATH", long_path()));
        let pid = runner.child.id();
        wait_until("the witness is there", || !children(pid).is_empty());
        std::thread::sleep(std::time::Duration::from_millis(pause));
        kill_process_group(runner.pid(), Signal::TSTP).unwrap();
        wait_until("the runner is stopped", || stat(pid, "State").starts_with('T'));
        stopped_early += u32::from(!fs::exists(scratch.path("began")).unwrap());
        kill_process_group(runner.pid(), Signal::CONT).unwrap();
        runner.expect("here");
        runner.close_input();
        assert_eq!(runner.end().code(), Some(0));
    }
    assert!(stopped_early > 3, "{stopped_early} stops before the command began");
}

/// A signal to the runner alone, while the child looks along the PATH.
#[test]
fn a_signal_at_the_start_reaches_the_command() {
    for pause in [0, 2, 4, 8, 16] {
        let scratch = Scratch::new();
        let mut command = Command::new(OURS);
        let runner = Running::start(command.args(["run", &scratch.lock(), "sleep", "1000"]).env("PATH", long_path()));
        let pid = runner.child.id();
        wait_until("it has begun", || !children(pid).is_empty());
        std::thread::sleep(std::time::Duration::from_millis(pause));
        runner.signal(Signal::TERM);
        assert_eq!(of_shell(runner.end()), 143);
    }
}

/// The command, or another runner, answers SIGTSTP by SIGSTOP to itself.
#[test]
fn a_command_that_stops_itself_stops_the_runner() {
    let itself =
        "import os, signal, time\nsignal.signal(signal.SIGTSTP, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))\n\
                  print('here', flush=True)\nwhile True: time.sleep(0.05)";
    let scratch = Scratch::new();
    let [outer, inner] = ["outer", "inner"].map(|name| scratch.path(name));
    for words in [
        &["run", &outer, "python3", "-c", itself][..],
        &["run", &outer, OURS, "run", &inner, "sh", "-c", "echo here; exec sleep 1000"],
    ] {
        let mut command = Command::new(OURS);
        let runner = Running::start(command.args(words));
        runner.expect("here");
        kill_process_group(runner.pid(), Signal::TSTP).unwrap();
        wait_until("it is stopped", || stat(runner.child.id(), "State").starts_with('T'));
        kill_process_group(runner.pid(), Signal::CONT).unwrap();
        kill_process_group(runner.pid(), Signal::TERM).unwrap();
        assert_eq!(of_shell(runner.end()), 143);
    }
}

/// The command catches SIGTSTP and goes on. Much later another program stops the command alone, and continues it.
#[test]
fn a_stop_of_the_command_alone_does_not_stop_the_runner() {
    let scratch = Scratch::new();
    let itself = "trap 'echo heard' TSTP; echo here; while :; do read line && echo $line; done";
    let mut command = Command::new(OURS);
    let mut runner = Running::start(command.args(["run", &scratch.lock(), "sh", "-c", itself]));
    runner.expect("here");
    kill_process_group(runner.pid(), Signal::TSTP).unwrap();
    runner.write("");
    runner.expect("heard");
    std::thread::sleep(std::time::Duration::from_secs(11));
    let pid = runner.child.id();
    let children = children(pid);
    let shell = children.split_whitespace().find(|child| stat(child.parse().unwrap(), "Name") == "sh").unwrap();
    let shell = rustix::process::Pid::from_raw(shell.parse().unwrap()).unwrap();
    rustix::process::kill_process(shell, Signal::STOP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    rustix::process::kill_process(shell, Signal::CONT).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!stat(pid, "State").starts_with('T'), "the runner is stopped");
    runner.signal(Signal::KILL);
}

/// The witness is the first process of a PID namespace. Another process has entered it. The witness can't end before that one is reaped.
#[test]
fn a_witness_that_can_not_end_keeps_nobody() {
    let scratch = Scratch::new();
    let mut command = Command::new("unshare");
    let mut runner = Running::start(command.args(["--pid", OURS, "run", &scratch.lock(), "cat"]));
    runner.write("here");
    match runner.line() {
        Some(line) => assert_eq!(line, "here"),
        None => return skip("a PID namespace: we may not make one"),
    }
    let pid = runner.child.id();
    let mut command = Command::new("nsenter");
    command.arg(format!("--pid=/proc/{pid}/ns/pid_for_children"));
    let guest = Running::start(command.args(["sh", "-c", "echo inside; exec sleep 1000"]));
    guest.expect("inside");
    guest.signal(Signal::STOP);
    runner.close_input();
    assert_eq!(runner.end().code(), Some(0));
    assert_eq!(status(&run(&["run", "-n", &scratch.lock(), "true"])), 0, "the lock is free");
    guest.signal(Signal::CONT);
    guest.end();
}

/// A tool finds processes by their executable, as killall(1) does with a path. It runs as a user, and so it does not see that of the witness.
#[test]
fn a_signal_to_all_of_our_executable_reaches_the_command() {
    let scratch = Scratch::new();
    let ours = scratch.path("lockfolder");
    fs::copy(OURS, &ours).unwrap();
    fs::set_permissions(&scratch.0, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let all = "for exe in /proc/[0-9]*/exe; do [ \"$(readlink $exe)\" != \"$1\" ] || pids=\"$pids $(dirname ${exe#/proc/})\"; done; \
               kill -TERM $pids";
    let is_root = rustix::process::geteuid().is_root();
    let as_user = |words: &[&str]| {
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]);
        }
        command.args(words);
        command
    };
    let runner =
        Running::start(&mut as_user(&[&ours, "run", &scratch.lock(), "sh", "-c", "echo here; exec sleep 1000"]));
    runner.expect("here");
    assert!(as_user(&["sh", "-c", all, "sh", &ours]).status().unwrap().success());
    assert_eq!(of_shell(runner.end()), 143);
}

/// The signal comes just before there is a command. A blocked signal waits also if it is ignored, and must not end the runner.
#[test]
fn a_signal_that_is_ignored_changes_nothing_at_the_start() {
    for (signal, before, ends) in [("HUP", "trap '' HUP;", false), ("TERM", "trap '' TERM;", false), ("TERM", "", true)]
    {
        let scratch = Scratch::new();
        // strace(1) itself sets what is ignored anew, so the shell is inside of it.
        let line = format!(
            "exec timeout 60 strace -o /dev/null -e trace=socketpair -e inject=socketpair:signal={signal}:when=1 \
             sh -c \"{before} exec {OURS} run lock echo ran\""
        );
        let output = Command::new("sh").args(["-c", &line]).current_dir(&scratch.0).output().unwrap();
        let said = text(&output.stderr);
        if said.contains("strace: not found") || said.contains("failed to run command") || said.contains("PTRACE") {
            return skip("a signal at the start: no strace");
        }
        assert_eq!(text(&output.stdout), if ends { "" } else { "ran\n" }, "{signal} {before} {said}");
        assert_eq!(status(&output), if ends { 143 } else { 0 }, "{signal} {before} {said}");
    }
}
