//! Exit statuses, and options.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::support::*;

#[test]
fn it_ends_as_its_command_ends() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let no_program = scratch.path("text");
    fs::write(&no_program, "no program").unwrap();
    for (command, code, signal) in [
        (&["true"][..], Some(0), None),
        (&["--", "sh", "-c", "exit 7"], Some(7), None),
        (&["-c", "exit 8"], Some(8), None),
        (&["sh", "-c", "kill -KILL $$"], None, Some(9)),
        (&["sh", "-c", "kill -TERM $$"], None, Some(15)),
        (&["sh", "-c", "kill -SEGV $$"], None, Some(11)),
        (&["no-such-command-anywhere"], Some(127), None),
        (&[&no_program], Some(126), None),
        (&[], Some(64), None),
        (&["--"], Some(64), None),
        (&["-c", "true", "more"], Some(127), None),
    ] {
        let output = Command::new(OURS).args(["run", &lock]).args(command).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), output.status.signal()), (code, signal), "{command:?}: {said}");
        let is_ours = matches!(code, Some(64 | 126 | 127));
        assert_eq!(!said.is_empty(), is_ours, "{command:?}: {said}");
        assert!(said.is_empty() || said.starts_with("lockfolder: "), "{said}");
    }
    assert_eq!(status(&run(&["run", &format!("{no_program}/lock"), "true"])), 71);
    for wrong in [
        &["-w", "soon"][..],
        &["-w", "-1"],
        &["-w", "nan"],
        &["-E", "256"],
        &["-E", ""],
        &["--nonsense"],
        &["-n", "-w", "1"],
    ] {
        let arguments = [&["run"], wrong, &[&lock, "true"]].concat();
        assert_eq!(status(&run(&arguments)), 64, "{wrong:?}");
    }
    assert_eq!(status(&run(&["run", "-c", "true", &lock, "true"])), 64, "a line and a command");
    assert_eq!(status(&run(&["run", "--no-create", &scratch.path("missing"), "true"])), 71);
    assert_eq!(fs::read_dir(&lock).unwrap().count(), 1, "only .lockfolder is there");
}

#[test]
fn options_stand_before_the_folder_and_the_rest_is_the_commands() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    for (arguments, says) in [
        (&["-nv", &lock, "echo", "-n", "-w", "x"][..], "-w x"),
        (&["-w5", &lock, "--", "echo", "--", "x"], "-- x\n"),
        (&["-w", "5", &lock, "echo", "-c", "x"], "-c x\n"),
        (&["--wait=5", &lock, "-c", "echo $((1 + 1))"], "2\n"),
        (&["-nE9", "-c", "echo x", &lock], "x\n"),
        (&["--", &lock, "echo", "x"], "x\n"),
    ] {
        let output = run(&[&["run"], arguments].concat());
        assert_eq!(
            (status(&output), text(&output.stdout).as_str()),
            (0, says),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn it_says_when_the_lock_is_not_obtained() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let holder = Holder::with(&lock, &["--name", "the nightly job"]);
    for (arguments, code) in [
        (&["-n"][..], 1),
        (&["-n", "-E", "9"], 9),
        (&["--nonblock", "--exit-code", "0"], 0),
        (&["-w", "0"], 1),
        (&["-w", "0.05"], 1),
        (&["--wait=.05", "-E", "75"], 75),
    ] {
        let inside = [&lock[..], "sh", "-c", "echo inside; exit 3"];
        let output = run(&[&["run"], arguments, &inside].concat());
        assert_eq!(status(&output), code, "{arguments:?}");
        assert!(output.stdout.is_empty(), "the command ran without the lock");
        assert!(output.stderr.is_empty(), "it speaks without a terminal: {}", text(&output.stderr));
        let output = run(&[&["run", "-v"], arguments, &inside].concat());
        let said = text(&output.stderr);
        assert!(said.contains(&format!("PID {} (the nightly job)", holder.pid())), "{said}");
    }
    holder.leave();
    assert_eq!(status(&run(&["run", "-w", "0.5", &lock, "sh", "-c", "exit 3"])), 3);
}

/// A message must not advise what only a C program can do.
#[test]
fn a_refused_filesystem_names_our_option() {
    let output = run(&["run", "/proc/self", "true"]);
    let said = text(&output.stderr);
    assert_eq!(status(&output), 71, "{said}");
    assert!(!said.contains("LF_"), "{said}");
}

#[test]
fn the_name_of_the_job_is_in_the_bid() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    for (options, command, name) in [
        (&[][..], &["sh", "-c", "cat */*.json"][..], r#""COMMAND": "sh -c cat */*.json""#),
        (&["--name", "nightly"], &["sh", "-c", "cat */*.json"], r#""COMMAND": "nightly""#),
        (&[], &["-c", "cat */*.json"], r#""COMMAND": "cat */*.json""#),
        (
            &[],
            &["/bin/sh", "-c", "cat */*.json #", "an argument", "another one", "a third one", "a fourth one"],
            "a f…\"",
        ),
    ] {
        let mut ours = ours();
        ours.current_dir(&scratch.0).arg("run").args(options).arg(&lock).args(command);
        let output = text(&ours.output().unwrap().stdout);
        assert!(output.contains(name), "{output}");
    }
}
