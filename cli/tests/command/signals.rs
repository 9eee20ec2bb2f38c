//! Signals reach the command exactly once, whichever process gets them first.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

use super::support::*;

const TRIES: usize = 100;

/// Those that are sent in turn.
const SENT: [Signal; 5] = [Signal::USR1, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// The command counts. After `send`, the test sends another signal to the runner alone: it comes last, so nothing else is on its way.
fn each_exactly_once(
    start: impl Fn(&Scratch, Signal) -> Running,
    send: impl Fn(&Scratch, Signal, Pid),
    also: &[Signal],
) {
    let scratch = Scratch::new();
    for at in 0..TRIES {
        let signal = SENT[at % SENT.len()];
        let counter = start(&scratch, signal);
        let ready = counter.line().unwrap();
        let runner = Pid::from_raw(ready.strip_prefix("ready ").unwrap().parse().unwrap()).unwrap();
        send(&scratch, signal, runner);
        let mut came = vec![counter.line().unwrap()];
        while came.len() < 1 + also.len() {
            came.push(counter.line().unwrap());
        }
        came.sort();
        let mut due: Vec<_> = [signal].iter().chain(also).map(|signal| signal.as_raw().to_string()).collect();
        due.sort();
        assert_eq!(came, due, "try {at}");
        kill_process(runner, Signal::USR2).unwrap();
        counter.expect(&Signal::USR2.as_raw().to_string());
        // timeout(1) may say 124.
        let code = counter.end().code();
        assert!(matches!(code, Some(0 | 124)), "{code:?}");
    }
}

fn counter(scratch: &Scratch) -> Command {
    let mut command = Command::new(OURS);
    command.args(["run", &scratch.lock(), &helper()]);
    command
}

#[test]
fn a_signal_to_the_runner_alone_is_passed_on_once() {
    each_exactly_once(
        |scratch, _| Running::start(&mut counter(scratch)),
        |_, signal, runner| kill_process(runner, signal).unwrap(),
        &[],
    );
}

#[test]
fn a_signal_to_the_process_group_is_not_sent_again() {
    each_exactly_once(
        |scratch, _| Running::start(&mut counter(scratch)),
        |_, signal, runner| kill_process_group(runner, signal).unwrap(),
        &[],
    );
}

/// kill(1) as a process that ends at once, and so is gone when we look at it.
#[test]
fn a_signal_of_a_process_that_is_gone_is_judged_too() {
    each_exactly_once(
        |scratch, _| Running::start(&mut counter(scratch)),
        |_, signal, runner| {
            let group = format!("-{}", runner.as_raw_nonzero());
            let number = signal.as_raw().to_string();
            assert!(Command::new("kill").args(["-s", &number, "--", &group]).status().unwrap().success());
        },
        &[],
    );
}

/// timeout(1), the parent of the runner, takes SIGALRM for the end of its time.
fn time_is_over(_: &Scratch, _: Signal, runner: Pid) {
    let parent: u32 = stat(runner.as_raw_nonzero().get() as u32, "PPid").parse().unwrap();
    // It may not have seen yet that it has a child.
    wait_until("timeout waits for its child", || stat(parent, "State").starts_with('S'));
    kill_process(Pid::from_raw(parent as i32).unwrap(), Signal::ALARM).unwrap();
}

/// timeout(1) sends the signal to the runner and then to the group, and SIGCONT in the same way.
#[test]
fn timeout_sends_a_signal_twice_and_the_command_gets_it_once() {
    each_exactly_once(
        |scratch, signal| {
            let mut command = Command::new("timeout");
            command.args(["-s", &signal.as_raw().to_string(), "1000", OURS, "run", &scratch.lock(), &helper()]);
            Running::start(&mut command)
        },
        time_is_over,
        &[Signal::CONT],
    );
}

/// `timeout --foreground` sends it to the runner alone.
#[test]
fn timeout_in_the_foreground_sends_a_signal_once() {
    each_exactly_once(
        |scratch, signal| {
            let mut command = Command::new("timeout");
            let number = signal.as_raw().to_string();
            command.args(["--foreground", "-s", &number, "1000", OURS, "run", &scratch.lock(), &helper()]);
            Running::start(&mut command)
        },
        time_is_over,
        &[],
    );
}

/// bash sends it to the job's process group.
#[test]
fn kill_of_a_job_is_not_sent_again() {
    each_exactly_once(
        |scratch, signal| {
            let fifo = scratch.path("go");
            let _ = fs::remove_file(&fifo);
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let script = r#"set -m; exec 3<&0; "$1" run "$2" "$3" <&3 3<&- & exec 3<&-; read -r go <"$4"; kill -s "$5" %1; wait %1"#;
            let mut command = Command::new("bash");
            let number = signal.as_raw().to_string();
            command.args(["-c", script, "bash", OURS, &scratch.lock(), &helper(), &fifo, &number]);
            Running::start(&mut command)
        },
        |scratch, _, _| fs::write(scratch.path("go"), "go\n").unwrap(),
        &[],
    );
}

/// A script without job control: the runner is in its process group, and `kill $!` means the runner alone.
#[test]
fn a_signal_of_our_own_process_group_to_the_runner_alone_is_passed_on() {
    each_exactly_once(
        |scratch, signal| {
            let fifo = scratch.path("go");
            let _ = fs::remove_file(&fifo);
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let script =
                r#"exec 3<&0; "$1" run "$2" "$3" <&3 3<&- & exec 3<&-; read -r go <"$4"; kill -s "$5" $!; wait"#;
            let mut command = Command::new("sh");
            let number = signal.as_raw().to_string();
            command.args(["-c", script, "sh", OURS, &scratch.lock(), &helper(), &fifo, &number]);
            let mut running = Running::start(&mut command);
            // A shell without job control lets a job in the background ignore these two.
            if [Signal::INT, Signal::QUIT].contains(&signal) {
                running.close_input();
                drop(running);
                return Running::start(&mut counter(scratch));
            }
            running
        },
        |scratch, signal, runner| match [Signal::INT, Signal::QUIT].contains(&signal) {
            true => kill_process(runner, signal).unwrap(),
            false => fs::write(scratch.path("go"), "go\n").unwrap(),
        },
        &[],
    );
}

/// A service manager sends it to each process of a unit, and to the main one first.
#[test]
fn a_signal_to_each_process_reaches_the_command_once() {
    each_exactly_once(
        |scratch, _| Running::start(&mut counter(scratch)),
        |_, signal, runner| {
            let runner = runner.as_raw_nonzero();
            let children = fs::read_to_string(format!("/proc/{runner}/task/{runner}/children")).unwrap();
            let script = format!("for one in {runner} {children}; do kill -{} $one; done", signal.as_raw());
            assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        },
        &[],
    );
}

/// More signals than the runner can note, while the command ends: the runner still ends, and with the status of the command.
#[test]
fn a_storm_of_signals_does_not_hide_the_end_of_the_command() {
    let script = "s=34; while [ $s -le 64 ]; do trap '' $s; s=$((s + 1)); done; echo ready; read -r go; exit 7";
    for _ in 0..5 {
        let scratch = Scratch::new();
        let mut running = Running::start(Command::new(OURS).args(["run", &scratch.lock(), "--", "sh", "-c", script]));
        running.expect("ready");
        let runner = running.pid();
        let storm = || {
            for _ in 0..20_000 {
                // SAFETY: a plain system call.
                unsafe { libc::kill(runner.as_raw_nonzero().get(), libc::SIGRTMIN() + 3) };
            }
        };
        thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(storm)));
            // While the runner is stopped, more signals come than the pipe takes.
            for _ in 0..20 {
                running.signal(Signal::STOP);
                thread::sleep(Duration::from_millis(20));
                running.signal(Signal::CONT);
                thread::sleep(Duration::from_millis(1));
            }
            running.write("go");
        });
        assert_eq!(running.end().code(), Some(7));
    }
}

/// The system has no room for one more signal with a value, so the witness can't be asked.
#[test]
fn a_signal_is_passed_on_where_the_queue_of_signals_is_full() {
    let scratch = Scratch::new();
    let mut command = Command::new("prlimit");
    command.args(["--sigpending=0:0", OURS, "run", &scratch.lock(), &helper()]);
    let counter = Running::start(&mut command);
    let ready = counter.line().unwrap();
    let runner = Pid::from_raw(ready.strip_prefix("ready ").unwrap().parse().unwrap()).unwrap();
    for signal in [Signal::TERM, Signal::USR2] {
        kill_process(runner, signal).unwrap();
        counter.expect(&signal.as_raw().to_string());
    }
    assert_eq!(counter.end().code(), Some(0));
}

/// Somebody sends signals all the time. One that comes meanwhile is passed on, and the end of the command is seen.
#[test]
fn a_stream_of_signals_keeps_no_other_signal_back() {
    let scratch = Scratch::new();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let running = Running::start(Command::new(OURS).args(["run", &scratch.lock(), "--", "sh", "-c", script]));
    running.expect("ready");
    let runner = running.pid();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let _ = kill_process(runner, Signal::WINCH);
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(3) {} // a busy sender
            }
        });
        thread::sleep(Duration::from_millis(100));
        running.signal(Signal::TERM);
        let code = running.end().code();
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(code, Some(7));
    });
}

/// A signal that comes when the command has ended, and the runner has not, changes nothing.
#[test]
fn a_signal_after_the_end_of_the_command_changes_nothing() {
    let scratch = Scratch::new();
    for _ in 0..100 {
        let running = Running::start(Command::new(OURS).args(["run", &scratch.lock(), "--", "sh", "-c", "exit 7"]));
        let runner = running.pid();
        let is_over = AtomicBool::new(false);
        let code = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let _ = kill_process(runner, Signal::WINCH);
                    thread::sleep(Duration::from_micros(50));
                }
            });
            let code = running.end();
            is_over.store(true, Ordering::SeqCst);
            code
        });
        assert_eq!(code.code(), Some(7), "{code:?}");
    }
}

/// `unshare --pid` without `--fork`: the witness is in another PID namespace, where all senders have other numbers.
#[test]
fn a_witness_of_another_pid_namespace_counts_too() {
    let scratch = Scratch::new();
    for to_all in [false, true] {
        for (name, signal) in [("TERM", Signal::TERM), ("USR1", Signal::USR1)] {
            let script = format!(
                "trap 'echo {name}' {name}; trap 'echo last; exit 9' USR2; echo ready; while :; do sleep 0.02; done"
            );
            let mut command = Command::new("unshare");
            let runner = Running::start(command.args(["--pid", OURS, "run", &scratch.lock(), "sh", "-c", &script]));
            let Some(ready) = runner.line() else { return skip("PID 1: we may not make a PID namespace") };
            assert_eq!(ready, "ready");
            match to_all {
                true => kill_process_group(runner.pid(), signal).unwrap(),
                false => runner.signal(signal),
            }
            runner.expect(name);
            runner.signal(Signal::USR2);
            runner.expect("last");
            assert_eq!(runner.end().code(), Some(9));
        }
    }
}

/// A pipeline with a process of another PID namespace. The kernel does not tell the sender to all in the group then.
#[test]
fn a_group_across_pid_namespaces_gets_each_signal_once() {
    for _ in 0..5 {
        let scratch = Scratch::new();
        let holder = Holder::new(&scratch.lock());
        let counter = Running::start(&mut counter(&scratch));
        wait_for_waiters(&scratch.lock(), 1);
        // The command becomes a member of the group after this one.
        let mut other = Command::new("unshare");
        other.args(["--pid", "--fork", "--kill-child", "sh", "-c", "echo inside; exec sleep 1000"]);
        other.process_group(counter.pid().as_raw_nonzero().get()).stdout(std::process::Stdio::piped());
        let mut other = other.spawn().unwrap();
        let mut said = [0];
        if std::io::Read::read(other.stdout.as_mut().unwrap(), &mut said).unwrap() == 0 {
            other.wait().unwrap();
            return skip("a group across PID namespaces: we may not make one");
        }
        holder.leave();
        assert!(counter.line().unwrap().starts_with("ready "));
        kill_process_group(counter.pid(), Signal::USR1).unwrap();
        counter.expect(&Signal::USR1.as_raw().to_string());
        counter.signal(Signal::USR2);
        counter.expect(&Signal::USR2.as_raw().to_string());
        assert_eq!(counter.end().code(), Some(0));
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
