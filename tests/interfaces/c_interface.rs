//! C and C++ programs that know only the contract (`docs/contract.md`) and the header. They are built in every standard that is
//! promised, by two compilers, and run under the sanitizers and under valgrind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::c::{compile, guarded, need, output, run, said, unexplained, Link, Program, STRICT};
use crate::support::Scratch;

const SANITIZE: [&str; 3] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// Compiler and standard.
const DIALECTS: [&[&str]; 6] = [
    &["gcc", "-std=c99"],
    &["gcc", "-std=c11"],
    &["g++", "-x", "c++", "-std=c++17"],
    &["clang", "-std=c99"],
    &["clang", "-std=c11"],
    &["clang++", "-x", "c++", "-std=c++17"],
];

fn dialects() -> impl Iterator<Item = &'static [&'static str]> {
    let clang = need("clang", &[]) && need("clang++", &["clang"]);
    DIALECTS.into_iter().filter(move |how| clang || !how[0].starts_with("clang"))
}

/// Compiles the programs that know the contract, and runs each with a folder that does not exist yet.
fn keeps_the_contract(how: &[&str], link: Link, run: impl Fn(&Path) -> Command) {
    for source in ["interface.c", "contract.c"] {
        let program = Program(compile(source, how, link));
        let scratch = Scratch::new();
        let folder = scratch.join("lock");
        let said = output(run(&program.0).arg(&folder));
        assert_eq!(said, "the contract is kept\n");
        assert_eq!(unexplained(&folder), None);
    }
}

/// Runs `stress`, with this number of rounds per claimant.
fn withstands_stress(program: &mut Command, rounds: u32) {
    let scratch = Scratch::new();
    let folder = scratch.join("lock");
    let said = output(program.arg(&folder).arg(rounds.to_string()));
    assert!(said.ends_with("no two were inside at once\n"), "{said}");
    assert_eq!(unexplained(&folder), None);
}

#[test]
fn the_header_stands_alone() {
    let header = crate::c::root().join("include/lockfolder.h");
    for how in dialects() {
        // The header is included alone, and twice.
        let c_only: &[&str] = if how.contains(&"c++") { &[] } else { &["-Wstrict-prototypes"] };
        let mut compiler = Command::new(how[0]);
        compiler.args(&how[1..]).args(STRICT).args(c_only).args(["-fsyntax-only", "-include"]).arg(&header);
        if !how.contains(&"c++") {
            compiler.args(["-x", "c"]);
        }
        output(compiler.arg("-include").arg(&header).arg("/dev/null"));
    }
}

/// Old code bases are compiled in this way. (clang has no `bool` then.)
#[test]
fn the_header_is_accepted_as_ansi_c() {
    let header = crate::c::root().join("include/lockfolder.h");
    let mut compiler = Command::new("gcc");
    compiler.args(["-ansi", "-pedantic", "-Wall", "-Wextra", "-Werror", "-x", "c", "-fsyntax-only", "-include"]);
    output(compiler.arg(&header).arg("-include").arg(&header).arg("/dev/null"));
}

/// The compiler warns of the lines that `ignored.c` marks, one by one. It warns of no other line, and of none if the program
/// defines `LF_MUST_USE` as empty.
#[test]
fn the_compiler_warns_where_a_result_is_ignored_that_must_not_be() {
    let source = crate::c::root().join("tests/c/ignored.c");
    let text = std::fs::read_to_string(&source).unwrap();
    let marked: BTreeSet<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| line.ends_with("/* warns */")).map(|(number, _)| number).collect();
    assert_eq!(marked.len(), 7);
    for how in dialects() {
        let check = |option: &[&str]| {
            let mut compiler = Command::new(how[0]);
            compiler
                .args(&how[1..])
                .args(["-Wall", "-Wextra", "-Wpedantic", "-c", "-o", "/dev/null"])
                .args(option)
                .env("LC_ALL", "C");
            said(&run(compiler.arg("-I").arg(crate::c::root().join("include")).arg(&source)))
        };
        let text = check(&[]);
        let warned: BTreeSet<usize> = text.lines().filter_map(|line| warned_line(line, "ignored.c")).collect();
        assert_eq!(warned, marked, "{how:?}: left: warned of; right: marked\n{text}");
        assert_eq!(check(&["-DLF_MUST_USE="]), "", "{how:?}");
    }
}

/// The line of `file` that a compiler warns of.
fn warned_line(message: &str, file: &str) -> Option<usize> {
    let (place, _) = message.split_once(": warning: ")?;
    let (_, numbers) = place.split_once(&format!("{file}:"))?;
    numbers.split(':').next()?.parse().ok()
}

#[test]
fn the_contract_in_every_dialect() {
    for how in dialects() {
        for link in [Link::Shared, Link::Static] {
            keeps_the_contract(how, link, |program| guarded(program));
        }
    }
}

#[test]
fn the_contract_and_stress_under_sanitizers() {
    for link in [Link::Shared, Link::Static] {
        let how = [&["gcc", "-std=c11", "-O1"], SANITIZE.as_slice()].concat();
        keeps_the_contract(&how, link, sanitized);
        let stress = Program(compile("stress.c", &how, link));
        withstands_stress(&mut sanitized(&stress.0), 300);
    }
}

fn sanitized(program: &Path) -> Command {
    let mut command = guarded(program);
    command.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=0");
    command.env("UBSAN_OPTIONS", "print_stacktrace=1");
    command
}

#[test]
fn the_contract_and_stress_under_valgrind() {
    if !need("valgrind", &[]) {
        return;
    }
    for link in [Link::Shared, Link::Static] {
        keeps_the_contract(&["gcc", "-std=c11", "-O1"], link, memcheck);
        let stress = Program(compile("stress.c", &["gcc", "-std=c11", "-O1"], link));
        withstands_stress(&mut memcheck(&stress.0), 30);
    }
}

fn memcheck(program: &Path) -> Command {
    let mut command = guarded("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite,possible"]);
    command.args(["--errors-for-leak-kinds=definite,possible", "--fair-sched=yes"]).arg(program);
    command
}

#[test]
fn the_stress_at_full_speed() {
    for link in [Link::Shared, Link::Static] {
        let program = Program(compile("stress.c", &["gcc", "-std=c11", "-O2"], link));
        withstands_stress(&mut guarded(&program.0), 1000);
    }
}

/// Each function is called by a thread whose cancellation is pending. This runs also without the sanitizers and valgrind, which put
/// functions of their own before those of the C library.
#[test]
fn a_thread_is_not_cancelled_inside_a_call() {
    for (compiler, link) in [("-O1", Link::Shared), ("-O2", Link::Static)] {
        let program = Program(compile("cancelled.c", &["gcc", "-std=c11", compiler], link));
        let scratch = Scratch::new();
        assert_eq!(output(guarded(&program.0).arg(scratch.join("lock"))), "no call was cut short\n");
        if need("valgrind", &[]) {
            assert_eq!(output(memcheck(&program.0).arg(scratch.join("checked"))), "no call was cut short\n");
        }
    }
    let how = [&["gcc", "-std=c11", "-O1"], SANITIZE.as_slice()].concat();
    let program = Program(compile("cancelled.c", &how, Link::Shared));
    let scratch = Scratch::new();
    assert_eq!(output(sanitized(&program.0).arg(scratch.join("lock"))), "no call was cut short\n");
}

/// This includes the moment when a file is made, with another thread that prints all the time.
#[test]
fn nothing_is_printed_into_a_file_of_ours() {
    let program = Program(compile("closed_stdio.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    let scratch = Scratch::new();
    let folder = scratch.join("lock");
    assert_eq!(output(guarded(&program.0).arg(&folder)), "nothing was printed into a file of ours\n");
    assert_eq!(unexplained(&folder), None);
}

/// The header says 32 KiB. The need depends on the system's libraries and the processor too, so the test gives less.
#[test]
fn a_thread_needs_little_stack() {
    for link in [Link::Shared, Link::Static] {
        let program = Program(compile("stack.c", &["gcc", "-std=c11", "-O1"], link));
        let scratch = Scratch::new();
        let said = output(guarded(&program.0).arg(scratch.join("lock")).arg("24"));
        assert!(said.ends_with("it was enough\n"), "{said}");
        println!("{said}");
    }
}

#[test]
fn a_child_that_shares_memory_locks_for_itself() {
    let program = Program(compile("shared_memory.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    let scratch = Scratch::new();
    assert_eq!(output(guarded(&program.0).arg(scratch.join("lock"))), "its lock was its own\n");
}
