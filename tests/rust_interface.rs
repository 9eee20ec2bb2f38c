//! The Rust interface.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The symbols of the archive that Rust links to, for a program that asks for these features.
fn symbols(features: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--locked", "--lib", "--crate-type=rlib", "--message-format=json-render-diagnostics"]);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("as-a-dependency");
    let output = cargo.args(features).env("CARGO_TARGET_DIR", target).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let archive = messages.split('"').rfind(|word| word.ends_with(".rlib") && word.contains("liblockfolder"));
    let output = Command::new("nm").args(["--defined-only", "-P"]).arg(archive.unwrap()).output().unwrap();
    let symbols = String::from_utf8_lossy(&output.stdout).into_owned();
    symbols.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_rust_program_exports_no_c_function_unless_it_asks() {
    let of_c = |symbols: BTreeSet<String>| symbols.into_iter().filter(|name| name.starts_with("lf_")).count();
    let bare = symbols(&["--no-default-features"]);
    assert!(bare.iter().any(|name| name.contains("LockFolder")), "not understood: {bare:?}");
    assert_eq!(of_c(bare), 0);
    assert!(of_c(symbols(&["--features=capi"])) >= 19);
}
