//! `run --shared` and `run --slots`: several that hold the lock together.

use std::fs;
use std::process::Command;

use super::support::*;

/// It holds until a line comes, and leaves a mark behind.
fn mark_at_the_end(scratch: &Scratch, options: &[&str], mark: &str) -> Running {
    let line = format!("echo inside; read -r _; echo {mark} >>{}", scratch.path("order"));
    Running::start(Command::new(OURS).arg("run").args(options).args([&scratch.lock(), "-c", &line]))
}

fn try_once(scratch: &Scratch, options: &[&str]) -> i32 {
    status(&run(&[&["run", "-n"], options, &[&scratch.lock(), "true"]].concat()))
}

#[test]
fn readers_are_in_together_and_a_writer_waits_for_all() {
    let scratch = Scratch::new();
    let first = Holder::with(&scratch.lock(), &["--shared"]);
    let mut second = mark_at_the_end(&scratch, &["-s"], "reader");
    second.expect("inside");
    assert_eq!(try_once(&scratch, &["-s"]), 0);
    assert_eq!(try_once(&scratch, &[]), 1);
    let mut writer = mark_at_the_end(&scratch, &[], "writer");
    wait_for_waiters(&scratch.lock(), 1);
    assert_eq!(try_once(&scratch, &["-s"]), 1, "a reader that comes later goes ahead of a writer");
    first.leave();
    wait_for_waiters(&scratch.lock(), 1);
    second.write("leave");
    assert_eq!(second.end().code(), Some(0));
    writer.expect("inside");
    assert_eq!(try_once(&scratch, &["-s"]), 1, "a reader is in beside a writer");
    writer.write("leave");
    assert_eq!(writer.end().code(), Some(0));
    assert_eq!(fs::read_to_string(scratch.path("order")).unwrap(), "reader\nwriter\n");
}

#[test]
fn as_many_are_in_as_there_are_places() {
    let scratch = Scratch::new();
    let options = ["--slots", "3"];
    let mut holders: Vec<_> = (0..3).map(|_| Holder::with(&scratch.lock(), &options)).collect();
    assert_eq!(try_once(&scratch, &options), 1);
    let shown = text(&run(&["ls", "--json", &scratch.lock()]).stdout);
    assert_eq!(shown.matches("\"holds\":true").count(), 3, "{shown}");
    let waiter = mark_at_the_end(&scratch, &options, "the fourth");
    wait_for_waiters(&scratch.lock(), 1);
    holders.pop().unwrap().leave();
    waiter.expect("inside");
    assert_eq!(try_once(&scratch, &options), 1);
}

#[test]
fn another_number_is_refused_and_both_are_named() {
    let scratch = Scratch::new();
    let _holder = Holder::with(&scratch.lock(), &["--slots", "3"]);
    for (options, ours) in [(&["--slots", "2"][..], "2 slots"), (&["-s"], "any number")] {
        let output = run(&[&["run"], options, &[&scratch.lock(), "true"]].concat());
        let said = text(&output.stderr);
        assert_eq!(status(&output), 71, "{said}");
        assert!(said.contains("3 slots") && said.contains(ours) && !said.contains("handle"), "{said}");
    }
    assert_eq!(try_once(&scratch, &["--slots", "1"]), 1, "a writer is no mistake, and has to wait");
}

#[test]
fn no_places_and_both_options_are_wrong_usage() {
    let scratch = Scratch::new();
    for options in [&["--slots", "0"][..], &["--slots", "-1"], &["--slots", "4294967296"], &["-s", "--slots", "2"]] {
        assert_eq!(try_once(&scratch, options), 64, "{options:?}");
    }
}
