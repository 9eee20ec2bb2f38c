//! Terminals and jobs: what a person sees in tmux, Ctrl-Z, PID 1.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::{kill_process, Pid, Signal};

use super::support::*;

/// A terminal in a tmux server of its own, with a shell in it.
struct Terminal {
    scratch: Scratch,
}

impl Terminal {
    fn new() -> Terminal {
        let terminal = Terminal { scratch: Scratch::new() };
        let shell = "env -i PATH=\"$PATH\" TERM=\"$TERM\" PS1='$ ' bash --norc --noprofile";
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", shell]);
        terminal.wait_for("$");
        terminal.enter(&format!(
            "cd {}; alias run='{OURS} run lock'; alias lockfolder={OURS}; clear",
            terminal.scratch.path("")
        ));
        terminal.enter("echo be''gin");
        terminal.wait_for("begin");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(self.scratch.path("tmux")).args(arguments).output().unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn wait_for(&self, what: &str) {
        wait_until(what, || self.screen().contains(what));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(self.scratch.path("tmux")).arg("kill-server").output();
    }
}

#[test]
fn a_line_says_who_has_the_lock_and_is_gone_at_the_end() {
    let terminal = Terminal::new();
    let lock = terminal.scratch.lock();
    let holder = Holder::with(&lock, &["--name", "the nightly job"]);
    terminal.enter("run echo 'ins''ide'");
    terminal.wait_for(&format!("lockfolder: the nightly job (PID {}) has had the lock for ", holder.pid()));
    // It stays one line, and is updated.
    let before = terminal.screen();
    wait_until("it is updated", || terminal.screen() != before);
    assert_eq!(terminal.screen().matches("lockfolder: the nightly").count(), 1);
    holder.leave();
    terminal.wait_for("inside");
    assert!(!terminal.screen().contains("lockfolder: the nightly"), "{}", terminal.screen());
}

/// The user presses Ctrl-S while it waits, so nothing that is written to the terminal gets through.
#[test]
fn a_terminal_that_is_stopped_keeps_no_command_from_its_turn() {
    for updates in [0, 2] {
        let terminal = Terminal::new();
        let holder = Holder::new(&terminal.scratch.lock());
        terminal.enter("run touch began");
        terminal.wait_for("has had");
        terminal.press("C-s");
        std::thread::sleep(std::time::Duration::from_millis(updates * 1100));
        holder.leave();
        wait_until("the command began", || fs::exists(terminal.scratch.path("began")).unwrap());
        terminal.press("C-q");
    }
}

#[test]
fn without_a_terminal_it_says_nothing() {
    let scratch = Scratch::new();
    let holder = Holder::new(&scratch.lock());
    let waiter = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| run(&["run", &scratch.lock(), "true"]));
        wait_for_waiters(&scratch.lock(), 1);
        std::thread::sleep(std::time::Duration::from_millis(600)); // longer than the line would take to appear
        holder.leave();
        waiter.join().unwrap()
    });
    assert_eq!((status(&waiter), text(&waiter.stderr)), (0, String::new()));
}

#[test]
fn the_live_view_shows_who_holds_who_waits_and_who_died() {
    let terminal = Terminal::new();
    let lock = terminal.scratch.lock();
    let holder = Holder::with(&lock, &["--name", "the <first> job"]);
    let mut command = Command::new(OURS);
    let waiter = Running::start(command.args(["run", "--name", "the second job", &lock, "cat"]));
    wait_for_waiters(&lock, 1);
    terminal.enter("lockfolder ls --watch --timeline picture.svg lock");
    terminal.wait_for("waits 1");
    let screen = terminal.screen();
    assert!(screen.contains("held, 1 claimant in line") && screen.contains("the <first> job"), "{screen}");
    holder.leave();
    wait_until("the next one holds", || {
        terminal.screen().lines().any(|line| line.starts_with("holds") && line.contains("the second job"))
    });
    terminal.wait_for("hand-overs  2 seen");
    waiter.signal(Signal::KILL);
    terminal.wait_for("the second job (PID");
    terminal.wait_for("died");
    terminal.press("q");
    wait_until("the view is gone", || terminal.screen().contains("be''gin"));
    terminal.enter("echo it ends with $?");
    terminal.wait_for("it ends with 0");
    let picture = fs::read_to_string(terminal.scratch.path("picture.svg")).unwrap();
    for part in ["<svg ", "the &lt;first&gt; job", "the second job", "#2a7", "#bbb", "✕</text>", "</svg>\n"] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    drop(waiter);
    let output = run(&["ls", "--watch", &lock]);
    assert!(status(&output) == 2 && text(&output.stderr).contains("needs a terminal"), "{}", text(&output.stderr));
}

#[test]
fn the_live_view_gives_the_terminal_back_when_a_signal_ends_it() {
    for (signal, ending) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let terminal = Terminal::new();
        let lock = terminal.scratch.lock();
        assert_eq!(status(&run(&["run", &lock, "true"])), 0);
        terminal.enter(&format!("sh -c 'echo $$ >pid; exec {OURS} ls --watch lock'"));
        terminal.wait_for("q: quit");
        let pid = fs::read_to_string(terminal.scratch.path("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
        terminal.wait_for("be''gin"); // the first screen is back
        terminal
            .enter("echo it ends with $?, $(stty -a | tr ' ' '\\n' | grep -x -e isig -e icanon -e echo | wc -l) flags");
        terminal.wait_for(&format!("it ends with {ending}, 3 flags"));
    }
}

#[test]
fn control_c_ends_the_wait_and_the_loop() {
    let terminal = Terminal::new();
    let holder = Holder::new(&terminal.scratch.lock());
    terminal.enter("for i in 1 2 3; do run true; done");
    terminal.wait_for("has had");
    terminal.press("C-c");
    wait_until("the prompt comes", || terminal.screen().trim_end().ends_with("\n$"));
    assert!(!terminal.screen().contains("has had"), "{}", terminal.screen());
    terminal.enter("echo status $?");
    terminal.wait_for("status 130");
    holder.leave();
}

#[test]
fn control_z_stops_both_and_fg_continues_both() {
    let terminal = Terminal::new();
    terminal.enter("run cat");
    for round in ["one", "two", "three"] {
        terminal.enter(round);
        wait_until(round, || terminal.screen().matches(round).count() == 2); // the echo of the terminal, and that of cat
        terminal.press("C-z");
        terminal.wait_for("Stopped");
        let busy = run(&["run", "-n", &terminal.scratch.lock(), "true"]);
        assert_eq!(status(&busy), 1, "it holds while it is stopped");
        terminal.enter("clear; fg");
        wait_until("it goes on", || !terminal.screen().contains("Stopped") && terminal.screen().contains("run"));
    }
    terminal.enter("still there");
    wait_until("cat goes on", || terminal.screen().matches("still there").count() == 2);
    terminal.press("C-d");
    terminal.enter("echo status $?");
    terminal.wait_for("status 0");

    // In the background it is stopped when it reads, as any job is.
    terminal.enter("clear; run cat &");
    wait_until("it is stopped", || {
        terminal.press("Enter"); // bash tells it before a prompt
        terminal.screen().contains("Stopped")
    });
    terminal.enter("fg");
    terminal.enter("foreground");
    wait_until("it reads", || terminal.screen().matches("foreground").count() == 2);
    terminal.press("C-c");
    terminal.enter("echo status $?");
    terminal.wait_for("status 130");
}

#[test]
fn an_interactive_shell_is_a_command_too() {
    let terminal = Terminal::new();
    terminal.enter("run env PS1='inner ' bash --norc --noprofile");
    terminal.wait_for("inner");
    terminal.enter("echo go''ing; sleep 1000");
    terminal.wait_for("going");
    terminal.press("C-c");
    terminal.enter("echo status $?");
    terminal.wait_for("status 130");
    terminal.enter("exit 5");
    terminal.enter("echo outer $?");
    terminal.wait_for("outer 5");
}

/// The alarm comes as `perl -e 'alarm 1; exec @ARGV'` sets it: before the command runs, or while it runs.
#[test]
fn an_alarm_that_the_caller_set_ends_the_command() {
    let scratch = Scratch::new();
    let code = "import signal, os, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", code, OURS, "run", &scratch.lock(), "sleep", "1000"]);
    let end = Running::start(&mut command).end();
    assert_eq!(end.signal(), Some(Signal::ALARM.as_raw()), "{end}");
}

/// The runner is the first process of a PID namespace, as in a container. It reaps the orphan, and says by its status what a signal did.
#[test]
fn as_the_first_process_it_reaps_orphans() {
    let scratch = Scratch::new();
    let inside = "(sh -c 'echo $$ >orphan; exec sleep 0.01' &) ; while [ ! -s orphan ]; do sleep 0.01; done; \
                  while [ -e /proc/$(cat orphan) ]; do sleep 0.01; done; echo reaped; kill -TERM $$";
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "unshare",
        "--fork",
        "--pid",
        "--mount-proc",
        OURS,
        "run",
        &scratch.lock(),
        "sh",
        "-c",
        inside,
    ]);
    let output = command.current_dir(&scratch.0).output().unwrap();
    if text(&output.stderr).contains("Operation not permitted") {
        return skip("PID 1: we may not make a PID namespace");
    }
    assert_eq!((status(&output), text(&output.stdout).as_str()), (143, "reaped\n"), "{}", text(&output.stderr));
}

/// The runner is killed: the kernel kills the command.
#[test]
fn the_command_dies_with_the_runner() {
    let scratch = Scratch::new();
    let mut command = Command::new(OURS);
    let runner = Running::start(command.args(["run", &scratch.lock(), "sh", "-c", "echo $$; exec sleep 1000"]));
    let pid = runner.line().unwrap().parse().unwrap();
    kill_process(runner.pid(), Signal::KILL).unwrap();
    runner.end();
    wait_until("the command is gone", || is_gone(pid));
    assert_eq!(status(&run(&["run", "-n", &scratch.lock(), "true"])), 0);
}

/// `unshare --pid` without `--fork`: the children of the runner are in another PID namespace, where the runner has no number.
#[test]
fn a_command_runs_also_if_it_does_not_see_its_parent() {
    let scratch = Scratch::new();
    for shared in [false, true] {
        let mut command = Command::new("timeout");
        command.args(["60", "unshare", "--pid", OURS, "run"]);
        command.args(shared.then_some("--shared")).args([&scratch.lock(), "sh", "-c", "echo $PPID; exit 7"]);
        let output = command.output().unwrap();
        if text(&output.stderr).contains("Operation not permitted") {
            return skip("PID 1: we may not make a PID namespace");
        }
        assert_eq!((status(&output), text(&output.stdout).as_str()), (7, "0\n"), "{}", text(&output.stderr));
    }
}
