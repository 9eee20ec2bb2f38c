//! `ls`, `wait` and `reap`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::support::*;

/// Names of hand-made bids.
const DEAD: &str = "eeeeeeee-0000-4000-8000-00000000000a.json";
const ODD: &str = "eeeeeeee-0000-4000-8000-00000000000b.json";
const OTHER: &str = "eeeeeeee-0000-4000-8000-00000000000c.json";

/// The answer of jq(1) to the JSON of a folder.
fn jq(folder: &str, question: &str) -> String {
    let json = run(&["ls", "--json", folder]).stdout;
    let mut jq =
        Command::new("jq").args(["-rc", question]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    jq.stdin.take().unwrap().write_all(&json).unwrap();
    let output = jq.wait_with_output().unwrap();
    assert!(output.status.success(), "jq does not understand {}", text(&json));
    text(&output.stdout).trim().to_owned()
}

fn ls(arguments: &[&str]) -> (i32, String) {
    let output = run(&[&["ls"], arguments].concat());
    (status(&output), text(&output.stdout))
}

const WHO: &str =
    "[.version, .in_use, .reach, (.bids | map([.state, .holds, .pid, .command])), (.waiters | map([.pid, .command]))]";

#[test]
fn json_of_an_empty_a_held_and_a_waited_for_folder() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(ls(&["--json", &lock]).0, 2, "it is missing");
    assert!(!Path::new(&lock).exists(), "ls made the folder");
    fs::create_dir(&lock).unwrap();
    assert_eq!(jq(&lock, WHO), r#"[1,false,"host",[],[]]"#);

    let holder = Holder::with(&lock, &["--name", "the \"holder\"\n"]);
    let held = format!(r#"["live",true,{},"the \"holder\"\n"]"#, holder.pid());
    assert_eq!(jq(&lock, WHO), format!(r#"[1,true,"host",[{held}],[]]"#));
    assert_eq!(jq(&lock, ".bids[0].place"), "here");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(jq(&lock, ".bids[0].host"), host.trim());
    assert_eq!(jq(&lock, ".bids[0] | (now - .since) < 3600 and .age_ms < 3600000"), "true");

    let mut waiters = Vec::new();
    for number in 1..=3 {
        let mut command = Command::new(OURS);
        waiters.push(Running::start(command.args(["run", "--name", &format!("waiter {number}"), &lock, "true"])));
        wait_for_waiters(&lock, number);
    }
    let line: Vec<_> =
        waiters.iter().zip(1..).map(|(one, at)| format!(r#"[{},"waiter {at}"]"#, one.child.id())).collect();
    assert_eq!(jq(&lock, WHO), format!(r#"[1,true,"host",[{held}],[{}]]"#, line.join(",")));
    let (code, table) = ls(&[&lock]);
    let first: Vec<_> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(
        (code, &first[2..]),
        (0, &["holds  ", "waits 1", "waits 2", "waits 3"].map(str::trim_end)[..]),
        "{table}"
    );
    assert!(first[0].ends_with("lock: held, 3 claimants in line"), "{table}");
    // One that has waited keeps its ticket while it holds, and is shown once.
    let mut command = Command::new(OURS);
    let last = Running::start(command.args(["run", "--name", "last", &lock, "cat"]));
    wait_for_waiters(&lock, 4);
    holder.leave();
    for waiter in waiters {
        assert_eq!(waiter.end().code(), Some(0));
    }
    wait_until("it holds", || jq(&lock, ".bids[].command") == "last");
    assert_eq!(jq(&lock, WHO), format!(r#"[1,true,"host",[["live",true,{},"last"]],[]]"#, last.child.id()));
    assert_eq!(last.end().code(), Some(0));
    assert_eq!(ls(&[&lock]), (1, format!("{lock}: free\n")));
}

#[test]
fn what_others_wrote_is_shown_and_does_not_reach_the_terminal() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    // A holder is killed, and leaves its bid.
    let dead = Holder::new(&lock);
    dead.0.signal(Signal::KILL);
    let pid = dead.pid();
    dead.0.end();
    let (code, table) = ls(&[&lock]);
    assert_eq!((code, table.lines().count()), (1, 3), "only a stale bid: {table}");
    assert!(table.contains("stale") && table.contains(&pid.to_string()), "{table}");
    assert_eq!(ls(&["-q", &lock]), (1, String::new()));
    let bid = fs::read_dir(&lock).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    fs::rename(bid, Path::new(&lock).join(DEAD)).unwrap();

    let odd = Path::new(&lock).join(ODD);
    fs::write(&odd, "").unwrap();
    let other = r#"{"PID": 77, "BOOT": "elsewhere", "HOST": "host\u001b[31m\n", "COMMAND": "a\u202eb\u009b"}"#;
    fs::write(Path::new(&lock).join(OTHER), other).unwrap();
    let (code, table) = ls(&[&lock]);
    assert_eq!(code, 0, "what can't be read counts as live: {table}");
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    assert!(table.contains(r"a\u{202e}b\u{9b}") && table.contains(r"host\u{1b}[31m\n"), "{table}");
    let odd_row: Vec<_> = table.lines().find(|line| line.contains(ODD)).unwrap().split_whitespace().collect();
    assert_eq!(odd_row[..4], ["malformed", "-", ODD, "-"], "{table}");
    assert_eq!(
        jq(&lock, &format!(r#".bids[] | select(.name == "{ODD}") | [.state, .pid, .place]"#)),
        r#"["malformed",null,null]"#
    );
    assert_eq!(jq(&lock, &format!(r#".bids[] | select(.name == "{OTHER}") | .place"#)), "elsewhere");

    let reaped = run(&["reap", &lock]);
    assert!(text(&reaped.stdout).starts_with("reaped "), "{}", text(&reaped.stderr));
    assert!(!Path::new(&lock).join(DEAD).exists() && odd.exists());
    assert_eq!(text(&run(&["reap", &lock]).stdout), "reaped 0 stale bids\n");
    assert_eq!(status(&run(&["reap", &scratch.path("missing")])), 2);
}

/// A folder that is another program's, with no bid in it, and one that nobody may write to.
#[test]
fn a_foreign_a_read_only_and_a_refused_folder_can_be_looked_at() {
    let scratch = Scratch::new();
    fs::write(scratch.path("package.json"), "{}").unwrap();
    let here = scratch.path("");
    assert_eq!(jq(&here, "[.in_use, .bids, .refused]"), "[false,[],null]");

    // /proc is no filesystem for a lock, and nothing can be written there.
    assert_eq!(ls(&["/proc/self/net"]).0, 1);
    assert_eq!(jq("/proc/self/net", "[.in_use, .reach]"), r#"[false,"vouched"]"#);
    let why = jq("/proc/self/net", ".refused");
    assert!(why.contains("(proc)") && why.contains("--trust-filesystem") && !why.contains("LF_"), "{why}");
    let refused = run(&["run", "--no-create", "/proc/self/net", "true"]);
    assert_eq!(status(&refused), 71);
    assert!(text(&refused.stderr).contains("--trust-filesystem"), "{}", text(&refused.stderr));
}

#[test]
fn wait_only_looks() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(status(&run(&["wait", &lock])), 2, "it is missing");
    let holder = Holder::new(&lock);
    assert_eq!(status(&run(&["wait", "-w", "0.05", &lock])), 1);
    let mut command = ours();
    let waiter = Running::start(command.args(["wait", &lock]));
    holder.leave();
    assert_eq!(waiter.end().code(), Some(0));
    assert_eq!(fs::read_dir(scratch.path("lock/.lockfolder")).unwrap().count(), 0, "it left something");
}

#[test]
fn wrong_usage_is_two_for_those_that_look() {
    for wrong in [&["ls"][..], &["wait", "-w", "x", "."], &["reap"], &["nonsense"], &[], &["ls", "--nonsense", "."]] {
        let output = run(wrong);
        assert_eq!(status(&output), 2, "{wrong:?}");
        assert!(text(&output.stderr).contains("lockfolder"), "{wrong:?}");
    }
    for help in [&["--help"][..], &["ls", "--help"], &["run", "--help"], &["run", "-h"], &["--version"]] {
        let output = run(help);
        assert_eq!((status(&output), output.stderr.is_empty(), output.stdout.is_empty()), (0, true, false), "{help:?}");
    }
}

/// All that hold together are shown as holders.
#[test]
fn several_holders_all_hold() {
    use lockfolder::{LockFolder, Slots};
    let scratch = Scratch::new();
    let lock = scratch.lock();
    let folders = [(); 3].map(|()| LockFolder::open(&lock).unwrap());
    for slots in [Slots::AtMost(3), Slots::Any] {
        folders.iter().for_each(|folder| folder.set_slots(slots).unwrap());
        let guards = folders.each_ref().map(|folder| folder.try_lock().unwrap());
        assert_eq!(jq(&lock, ".bids | map(.holds)"), "[true,true,true]", "{slots:?}");
        drop(guards);
        assert_eq!(jq(&lock, ".bids"), "[]");
    }
}

/// Another user may have written it into a bid, to be shown on a terminal.
#[test]
fn json_has_nothing_that_a_terminal_obeys() {
    let scratch = Scratch::new();
    let lock = scratch.lock();
    assert_eq!(status(&run(&["run", &lock, "true"])), 0);
    let odd = "\u{7f}\u{9b}31m\u{202e}é";
    fs::write(format!("{lock}/{ODD}"), format!("{{\"PID\": 1, \"COMMAND\": \"{odd}\"}}")).unwrap();
    let (_, json) = ls(&["--json", &lock]);
    assert!(json.contains("\\u007f\\u009b31m\\u202eé"), "{json}");
    assert_eq!(jq(&lock, ".bids[0].command"), odd);
}
