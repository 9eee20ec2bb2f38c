//! Claimants in a sandbox: they work, or the message says what the sandbox lacks.

mod c;

use c::{compile, guarded, run, said, skip, unexplained, Link, Program, Scratch};

#[test]
fn a_sandbox_that_keeps_folders_apart_is_named_with_the_way_out() {
    let program = Program(compile("sandboxed.c", &["gcc", "-std=c11", "-O1"], Link::Shared));
    for (sandbox, end) in [("no-refer", "the way out is said\n"), ("refer", "it locks\n")] {
        let scratch = Scratch::new("sandbox");
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
