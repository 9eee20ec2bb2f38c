//! lockrun: statuses and signals.

use super::*;

#[test]
fn lockrun_exits_as_its_command_does() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let no_program = scratch.0.join("text");
    fs::write(&no_program, "no program").unwrap();
    let no_program = no_program.to_str().unwrap();
    for (command, status) in [
        (&["true"][..], 0),
        (&["--", "sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["no-such-command-anywhere"], 127),
        (&[no_program], 126),
        (&[], 64),
        (&["--"], 64),
    ] {
        let output = lockrun(&[], &lock, command);
        assert_eq!(output.status.code(), Some(status), "{command:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), status < 126 && status != 64 || status > 128, "{output:?}");
    }
    assert_eq!(lockrun(&[], Path::new(&format!("{no_program}/lock")), &["true"]).status.code(), Some(71));
    for wrong in [&["-w", "soon"][..], &["-w", "-1"], &["-w", "nan"], &["-E", "256"], &["-E", ""], &["--nonsense"]] {
        assert_eq!(lockrun(wrong, &lock, &["true"]).status.code(), Some(64), "{wrong:?}");
    }
    assert_eq!(lockls(&[], &lock), (Some(1), String::new()));
}

#[test]
fn lockrun_says_when_the_lock_is_not_obtained() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let holder = Holder::new(&lock);
    for (arguments, status) in [
        (&["-n"][..], 1),
        (&["-n", "-E", "9"], 9),
        (&["--nonblock", "--exit-code", "0"], 0),
        (&["-w", "0"], 1),
        (&["-w", "0.05"], 1),
        (&["--wait=.05", "-E", "75"], 75),
    ] {
        let output = lockrun(arguments, &lock, &["sh", "-c", "echo inside; exit 3"]);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "the command ran without the lock: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("PID {}", holder.lockrun.0.id())), "it does not name the holder: {said}");
    }
    assert!(lockrun(&["-q", "-n"], &lock, &["true"]).stderr.is_empty());
    holder.leave();
    assert_eq!(lockrun(&["-n"], &lock, &["sh", "-c", "exit 3"]).status.code(), Some(3));
    assert_eq!(lockrun(&["-w", "0.5"], &lock, &["sh", "-c", "exit 3"]).status.code(), Some(3));
}

#[test]
fn lockrun_waits_for_its_turn() {
    let scratch = Scratch::new();
    let holder = Holder::new(&scratch.lock());
    let waiter = Running::start(program("lockrun").arg(scratch.lock()).args(["sh", "-c", "exit 5"]));
    waiter.wait_until_it_catches(Signal::TERM);
    holder.leave();
    assert_eq!(waiter.end().code(), Some(5));
}

#[test]
fn lockrun_passes_signals_on() {
    let scratch = Scratch::new();
    for signal in PASSED_ON {
        let script =
            format!("trap 'echo caught; exit 3' {}; echo ready; while :; do sleep 0.02; done", signal.as_raw());
        let mut command = program("lockrun");
        command.arg(scratch.lock()).args(["sh", "-c", &script]).stdout(Stdio::piped());
        let mut lockrun = Running::start(&mut command);
        let output = Lines::of(&mut lockrun.0);
        assert_eq!(output.next().as_deref(), Some("ready"));
        lockrun.signal(signal);
        assert_eq!(output.next().as_deref(), Some("caught"), "{signal:?}");
        assert_eq!(lockrun.end().code(), Some(3), "{signal:?}");

        // The signal kills a command that has no handler, and the status of lockrun says so.
        let holder = Holder::new(&scratch.lock());
        holder.lockrun.signal(signal);
        assert_eq!(holder.lockrun.end().code(), Some(128 + signal.as_raw()), "{signal:?}");
        assert_eq!(holder.output.next(), None);
        assert_eq!(lockls(&["-q"], &scratch.lock()).0, Some(1));
    }
}

/// The alarm comes as `perl -e 'alarm 2; exec @ARGV'` sets it: before the command runs, or while it runs.
#[test]
fn an_alarm_that_lockrun_inherited_ends_the_command() {
    let scratch = Scratch::new();
    let code = "import signal, os, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", code]).arg(program("lockrun").get_program()).arg(scratch.lock()).args(["sleep", "20"]);
    let end = Running::start(&mut command).end();
    let alarm = Signal::ALARM.as_raw();
    assert!(end.code() == Some(128 + alarm) || end.signal() == Some(alarm), "{end}");
}

#[test]
fn a_signal_ends_the_wait_of_lockrun() {
    let scratch = Scratch::new();
    let holder = Holder::new(&scratch.lock());
    let mark = scratch.0.join("ran");
    for signal in PASSED_ON {
        let mut command = program("lockrun");
        let waiter = Running::start(command.arg(scratch.lock()).arg("touch").arg(&mark).current_dir(&scratch.0));
        // From now on lockrun handles the signal, before the wait begins and after.
        waiter.wait_until_it_catches(Signal::USR2);
        waiter.wait_until_it_catches(signal);
        waiter.signal(signal);
        assert_eq!(waiter.end().signal(), Some(signal.as_raw()), "lockrun ends by that signal");
    }
    assert_eq!(bids_in(&scratch.lock()).len(), 1, "only the holder's bid is there");
    holder.leave();
    assert!(!mark.exists(), "a cancelled command ran");
}

#[test]
fn lockrun_is_suspended_with_its_command() {
    let scratch = Scratch::new();
    let mut holder = Holder::new(&scratch.lock());
    for _ in 0..3 {
        holder.lockrun.signal(Signal::TSTP);
        wait_until("lockrun is stopped", || holder.lockrun.stat("State").starts_with('T'));
        assert_eq!(lockrun(&["-n"], &scratch.lock(), &["true"]).status.code(), Some(1), "it holds while suspended");
        holder.lockrun.signal(Signal::CONT);
        holder.echo();
    }
    holder.leave();
}
