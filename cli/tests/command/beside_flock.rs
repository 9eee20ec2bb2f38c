//! What users of flock(1) do, done with flock(1) and with `lockfolder run`. Each row of the table in docs/command.md is one of these
//! scripts, and what both said. `LOCKFOLDER_WRITE_TABLE=1` writes the table anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use super::support::*;

/// What a script can use: `$P` is the program with its sub-command, `$L` the file or the folder. Each runs in an empty folder.
const BEFORE: &str = r#"
there() { while [ ! -s "$1" ]; do sleep 0.01; done; }
state() { if $P -n $L true; then echo "the lock is free"; else echo "the lock is held"; fi; }
command_state() { # is the command, which wrote its PID into the file `pid`, still there?
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        case $(cut -d ' ' -f 3 "/proc/$(cat pid)/stat" 2>/dev/null) in '' | Z) echo "the command is gone"; return;; esac
        sleep 0.02
    done
    echo "the command goes on"
}
over() { # the time of this timeout(1) is over when the command is ready
    set -m
    "$@" &
    there pid
    kill -ALRM $!
    wait $!
    echo status $?
}
hold() { $P $L sh -c 'echo $$ >pid; exec sleep 1000' & holder=$!; there pid; }
"#;

const AFTER: &str = r#"
[ ! -e pid ] || kill -KILL $(cat pid) 2>/dev/null
wait 2>/dev/null
"#;

struct Row {
    name: &'static str,
    script: &'static str,
    flock: &'static str,
    ours: &'static str,
}

const fn row(name: &'static str, script: &'static str, flock: &'static str, ours: &'static str) -> Row {
    Row { name, script, flock, ours }
}

const SAME: &str = "the same";

const ROWS: &[Row] = &[
    row("the command's status", "$P $L sh -c 'exit 7'; echo status $?", "status 7", SAME),
    row("a command that a signal kills", "$P $L sh -c 'kill -TERM $$'; echo status $?", "status 143", SAME),
    row("no such command", "$P $L no-such-command 2>/dev/null; echo status $?", "status 69", "status 127"),
    row("a file that is no program", "echo x >text; $P $L ./text 2>/dev/null; echo status $?", "status 69", "status 126"),
    row("`-n`, and the lock is held", "hold; $P -n $L echo inside; echo status $?", "status 1", SAME),
    row("`-w 0.1`, and the lock is held", "hold; $P -w 0.1 $L echo inside; echo status $?", "status 1", SAME),
    row("`-E 9 -n`, and the lock is held", "hold; $P -E 9 -n $L echo inside; echo status $?", "status 9", SAME),
    row("`-n` says who has it", "hold; $P -n -v $L true 2>&1 | grep -o 'sleep\\|sh -c' | head -n 1; true", "", "sh -c"),
    row("`-s` beside `-s`", "P=\"$P -s\"; hold; $P -n $L echo inside; echo status $?", "inside; status 0", SAME),
    row("alone beside `-s`", "P=\"$P -s\"; hold; ${P% -s} -n $L echo inside; echo status $?", "status 1", SAME),
    row("`-s` beside one that is alone", "hold; $P -s -n $L echo inside; echo status $?", "status 1", SAME),
    row("`-c 'a line'`", "$P $L -c 'echo $((6 * 7))'", "42", SAME),
    row("a wrong option", "$P --nonsense $L true 2>/dev/null; echo status $?", "status 64", SAME),
    row("arguments with spaces, and empty ones", "$P $L printf '<%s>' 'a b' '' '*'; echo", "<a b><><*>", SAME),
    row("standard input", "echo from the pipe | $P $L cat", "from the pipe", SAME),
    row("standard input is closed", "$P $L sh -c 'test -e /proc/$$/fd/0 || echo closed' <&-", "", "closed"),
    row(
        "descriptors that the command gets besides its own",
        "sh -c 'exec ls /proc/self/fd' >few; $P $L sh -c 'exec ls /proc/self/fd' >more; echo $(($(wc -l <more) - $(wc -l <few)))",
        "1",
        "0",
    ),
    row("a pipe that nobody reads any more", "$P $L yes | head -n 1; echo status ${PIPESTATUS[0]}", "y; status 141", SAME),
    row("a process that the command leaves behind", "$P $L sh -c 'sleep 1000 & echo $! >pid'; state", "the lock is held", "the lock is free"),
    row("`kill` of the runner alone", "hold; kill $holder; wait $holder 2>/dev/null; command_state; state", "the command goes on; the lock is held", "the command is gone; the lock is free"),
    row("`kill -KILL` of the runner alone", "hold; kill -KILL $holder; wait $holder 2>/dev/null; command_state; state", "the command goes on; the lock is held", "the command is gone; the lock is free"),
    row("`kill %1`", "set -m; hold; kill %1; wait %1 2>/dev/null; command_state; state", "the command is gone; the lock is free", SAME),
    row("`kill` while it waits", "hold; $P $L true & sleep 0.2; kill $!; wait $! 2>/dev/null; echo status $?", "status 143", SAME),
    row("`timeout`", "over timeout 1000 $P $L sh -c 'echo $$ >pid; exec sleep 1000'; command_state; state", "status 124; the command is gone; the lock is free", SAME),
    row("`timeout -s INT`, and the command takes its time to clean up", "over timeout -s INT 1000 $P $L sh -c 'trap \"sleep 2; echo cleaned up; exit 3\" INT; echo $$ >pid; while :; do sleep 0.01; done'; command_state", "status 124; the command goes on", "cleaned up; status 124; the command is gone"),
    row("`timeout -k`, and the command ignores SIGTERM", "over timeout -k 1 1000 $P $L sh -c 'trap \"\" TERM; echo $$ >pid; while :; do sleep 0.01; done'; command_state; state", "status 124; the command goes on; the lock is held", "status 137; the command is gone; the lock is free"),
    row("`nohup`, and a hang-up", "nohup $P $L sh -c 'kill -HUP $$; echo goes on' </dev/null 2>/dev/null", "goes on", SAME),
    row("cron: no terminal, no HOME, a session of its own", "env -i setsid -w $P $L /bin/sh -c 'echo runs ${HOME-without HOME}' </dev/null", "runs without HOME", SAME),
    row("`make -j8`", "printf 'all: 1 2 3 4 5 6 7 8\\n1 2 3 4 5 6 7 8:\\n\\t@%s sh -c '\\''n=$$(cat n); sleep 0.02; echo $$((n + 1)) >n'\\''\\n' \"$P $L\" >Makefile; echo 0 >n; make -sj8; cat n", "8", SAME),
    row("`xargs -P 8`", "echo 0 >n; seq 8 | xargs -P 8 -I{} $P $L sh -c 'n=$(cat n); sleep 0.02; echo $((n + 1)) >n'; cat n", "8", SAME),
    row("a script's first line", "printf '#!/usr/bin/env -S %s %s sh\\necho in the script $1\\n' \"$P\" \"$L\" >script; chmod +x script; ./script now", "in the script now", SAME),
    row("a script that locks itself", "printf '[ \"$LOCKED\" ] || LOCKED=yes exec %s -n %s sh \"$0\" \"$@\"\\necho once\\n' \"$P\" \"$L\" >script; sh script; hold; sh script; echo status $?", "once; status 1", SAME),
    row("a descriptor of the shell (`flock 9`)", "(${P} 9 && echo inside) 9>descriptor 2>/dev/null || echo status $?", "inside", "status 64"),
    row("the folder is missing", "$P new true; echo status $?; test -e new && echo made", "status 0; made", SAME),
    row("it may only be read", "true >${L}x; chmod 444 ${L}x; $P ${L}x echo inside 2>/dev/null || echo status $?", "inside", "status 71"),
    // On a terminal. The script that the terminal runs says `ready`, and then the keys are pressed.
    row("Ctrl-C in a loop", "keys '\\003' 'for i in 1 2 3; do $P $L sh -c \"echo ready; exec sleep 1000\"; done; echo next'; state", "ready; the lock is free", SAME),
    row("Ctrl-C, and the command handles it and ends well", "keys '\\003' '$P $L sh -c \"trap \\\"exit 0\\\" INT; echo ready; while :; do sleep 0.01; done\"; echo status $?'", "ready", "ready; status 0"),
    row("the terminal goes away (ssh)", "hang_up '$P $L sh -c \"echo \\$\\$ >pid; echo ready; exec sleep 1000\"'; command_state; state", "the command is gone; the lock is free", SAME),
];

/// `keys KEYS SCRIPT`: runs the script on a terminal of its own, and presses the keys each time it says `ready`.
/// `hang_up SCRIPT`: closes the terminal then.
const TERMINAL: &str = r#"
keys() {
    export P L
    true >output
    {
        round=1
        while [ ! -e over ]; do
            if [ "$(grep -c ^ready output)" -ge $round ]; then
                printf "$1"
                round=$((round + 1))
            fi
            sleep 0.01
        done
    } | {
        script -qefc "bash -c '${2//\'/\'\\\'\'}'" /dev/null >output
        true >over
    }
    tr -d '\r' <output | sed 's/\^[C\\]//g' | grep -v '^$' || true
}
hang_up() {
    mkfifo input
    export P L
    script -qefc "bash -c '${1//\'/\'\\\'\'}'" /dev/null <input >output &
    exec 8>input
    while ! grep -q ^ready output; do sleep 0.01; done
    kill -KILL $!
    wait $! 2>/dev/null
    exec 8>&-
    rm -f input
}
"#;

fn play(row: &Row, program: &str, lock: &str) -> String {
    let scratch = Scratch::new();
    let script = [BEFORE, TERMINAL, row.script, AFTER].join("\n");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "20", "bash", "-c", &script]);
    command.env("P", program).env("L", scratch.path(lock)).env("SHELL", "/bin/sh").current_dir(&scratch.0);
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let lines: Vec<_> = text(&output.stdout).lines().map(|line| line.trim().to_owned()).collect();
    lines.join("; ")
}

fn table() -> String {
    let said = |text: &'static str| if text.is_empty() { "(nothing)" } else { text };
    let line = |row: &Row| format!("| {} | {} | {} |\n", row.name, said(row.flock), said(row.ours));
    let rows: String = ROWS.iter().map(line).collect();
    format!("| use | flock(1) | lockfolder run |\n| --- | --- | --- |\n{rows}")
}

#[test]
fn forty_uses_beside_flock() {
    assert!(ROWS.len() >= 30);
    let wrong = Mutex::new(Vec::new());
    let left = Mutex::new(ROWS.iter());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| loop {
                let Some(row) = left.lock().unwrap().next() else { return };
                let due = if row.ours == SAME { row.flock } else { row.ours };
                for (program, lock, due) in [("flock", "file", row.flock), (&format!("{OURS} run"), "lock", due)] {
                    let said = play(row, program, lock);
                    if said != due {
                        wrong.lock().unwrap().push(format!("{}: {program}: {said:?} instead of {due:?}", row.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_has_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/command.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- the table beside flock(1) -->\n", "<!-- end of the table -->\n");
    let (before, rest) = page.split_once(begin).unwrap();
    let (found, after) = rest.split_once(end).unwrap();
    let due = format!("\n{}\n", table());
    if std::env::var_os("LOCKFOLDER_WRITE_TABLE").is_some() {
        fs::write(&path, [before, begin, &due, end, after].concat()).unwrap();
    } else {
        assert_eq!(found, due, "make it again: LOCKFOLDER_WRITE_TABLE=1 cargo test -p lockfolder-cli the_page_has");
    }
}
