//! Claimants in a sandbox work, or the message says what the sandbox lacks.

use crate::c::{compile, guarded, run, said, unexplained, Link, Program};
use crate::support::{skip, Scratch};
use rustix::io::Errno;

#[test]
fn a_sandbox_that_keeps_folders_apart_is_named_with_the_way_out() {
    let program = Program(compile("sandboxed.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    for (sandbox, end) in [("no-refer", "the way out is said\n"), ("refer", "it locks\n")] {
        let scratch = Scratch::new();
        let folder = scratch.join("lock");
        let output = run(guarded(&program.0).arg(&folder).arg(sandbox));
        if output.status.code() == Some(77) {
            skip(&format!("a Landlock sandbox: {}", said(&output)));
            return;
        }
        assert!(output.status.success() && said(&output).ends_with(end), "{sandbox}: {}", said(&output));
        assert_eq!(unexplained(&folder), None);
    }
}

/// Only `ESRCH` says that a process is gone (pidfd_open(2)).
#[test]
fn a_sandbox_that_refuses_pidfds_or_descriptors_makes_nobody_dead() {
    let program = Program(compile("filtered.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    for errno in [Errno::NOENT, Errno::PERM, Errno::NOSYS, Errno::ACCESS, Errno::INVAL, Errno::NFILE] {
        for refused in [None, Some("openat")] {
            let scratch = Scratch::new();
            let folder = scratch.join("lock");
            let number = errno.raw_os_error().to_string();
            let output = run(guarded(&program.0).arg(&folder).arg(number).args(refused));
            let end = "nobody was robbed\n";
            assert!(output.status.success() && said(&output).ends_with(end), "{errno}, {refused:?}: {}", said(&output));
            assert_eq!(unexplained(&folder), None);
        }
    }
}
