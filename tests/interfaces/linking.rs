//! The ways in which a program gets the library: linked statically with the libraries that are named for it, linked to the
//! shared library, or loaded later.

use std::path::Path;
use std::process::Command;

use crate::c::{compile, guarded, library_folder, output, run, said, unexplained, Link, Program, NATIVE_STATIC_LIBS};
use crate::support::Scratch;

/// The README names these libraries. If this test fails, a new compiler needs other libraries: correct `NATIVE_STATIC_LIBS` in
/// `tests/c/mod.rs`, and the README.
#[test]
fn what_a_static_library_needs_is_known() {
    // A target folder of its own makes cargo compile the library, so that rustc prints the list.
    let target = crate::c::tmp().join("native-static-libs");
    let _ = std::fs::remove_dir_all(&target);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--locked", "--lib", "--crate-type", "staticlib", "--target-dir"]).arg(&target);
    cargo.args(["--", "--print", "native-static-libs"]).current_dir(crate::c::root());
    let output = run(&mut cargo);
    let _ = std::fs::remove_dir_all(&target);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let said = text.lines().find_map(|line| line.split("native-static-libs: ").nth(1));
    assert_eq!(said.expect("rustc names them").trim(), NATIVE_STATIC_LIBS);
}

#[test]
fn a_static_library_needs_nothing_else() {
    for source in ["interface.c", "contract.c"] {
        // The libraries that gcc would add by itself are left out.
        let program = Program(compile(source, &["gcc", "-std=c11", "-nodefaultlibs"], Link::Static));
        let scratch = Scratch::new();
        output(guarded(&program.0).arg(scratch.join("lock")));
        let needed = dynamic_section(&program.0);
        assert!(!needed.contains("liblockfolder"), "{needed}");
    }
}

#[test]
fn the_shared_library_has_a_soname_and_no_text_relocations() {
    let section = dynamic_section(&library_folder().join("liblockfolder.so"));
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    let soname = format!("Library soname: [liblockfolder.so.{major}]");
    assert!(section.contains(&soname), "{section}");
    assert!(!section.contains("TEXTREL"), "{section}");
    // Every Linux system has the libraries that it needs.
    let needed: Vec<&str> = section.lines().filter_map(|line| line.split("Shared library: [").nth(1)).collect();
    let usual = ["libc.so.6]", "libgcc_s.so.1]", "libm.so.6]"];
    let unusual = needed.iter().find(|name| !usual.contains(name) && !name.starts_with("ld-linux"));
    assert!(unusual.is_none() && !needed.is_empty(), "{needed:?}");
}

#[test]
fn a_program_that_is_linked_to_it_asks_for_the_soname() {
    let program = Program(compile("contract.c", &["gcc", "-std=c11"], Link::Shared));
    let soname = format!("Shared library: [liblockfolder.so.{}]", env!("CARGO_PKG_VERSION_MAJOR"));
    assert!(dynamic_section(&program.0).contains(&soname));
}

#[test]
fn it_can_be_loaded_and_unloaded_beside_threads_that_used_it() {
    let program = Program(compile("dlopen.c", &["gcc", "-std=c11"], Link::Alone));
    let scratch = Scratch::new();
    let folder = scratch.join("lock");
    let library = library_folder().join("liblockfolder.so");
    let said = output(guarded(&program.0).arg(library).arg(&folder));
    assert_eq!(said, "loaded and unloaded 20 times\n");
    assert_eq!(unexplained(&folder), None);
}

fn dynamic_section(of: &Path) -> String {
    output(Command::new("readelf").args(["-d", "--wide"]).arg(of).env("LC_ALL", "C"))
}
