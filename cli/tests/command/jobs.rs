//! Terminals and jobs: what a person sees in tmux, Ctrl-Z, PID 1, and the loss of a lease.

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

/// While the runner is stopped, nobody renews the lease. When it goes on, it finds the loss, and ends the command and what that started.
#[test]
fn the_loss_of_a_lease_ends_the_command_and_all_that_it_started() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("lock/.lockfolder")).unwrap();
    fs::write(scratch.path("lock/.lockfolder/shared"), "").unwrap();
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
        ("ulimit -n 12; exec", "few descriptors"),
        ("(while :; do kill -WINCH $$ 2>/dev/null || exit; done) & exec", "a storm of signals"),
        ("mkfifo err; exec 3<>err; timeout 1 cat /dev/zero >&3; exec 2>&3; exec", "standard error is a full pipe"),
        ("mkfifo err; exec 3<>err; exec 2>err; exec 3<&-; exec", "standard error has no reader"),
    ] {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path("lock/.lockfolder")).unwrap();
        fs::write(scratch.path("lock/.lockfolder/shared"), "").unwrap();
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
            rustix::process::kill_process(rustix::process::Pid::from_raw(service).unwrap(), Signal::KILL).unwrap();
        }
    }
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
