//! The checked-in header is what cbindgen generates from the source. It says all that the library exports, and nothing
//! else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> PathBuf {
    root().join("include/lockfolder.h")
}

#[test]
fn is_fresh() {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::generate_with_config(root(), config).unwrap().write(&mut made);
    let made = comments_of_c90(&String::from_utf8(made).unwrap());
    if std::env::var_os("LOCKFOLDER_WRITE_HEADER").is_some() {
        std::fs::write(header(), &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(header()).unwrap_or_default();
    assert!(made == checked_in, "include/lockfolder.h is not what the source says. Mend it with:\n\n    make header\n");
}

/// Users read these files in a terminal first.
#[test]
fn fits_a_terminal() {
    for page in ["include/lockfolder.h", "include/lockfolder.hpp", "README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let too_long: Vec<_> = text.lines().filter(|line| line.chars().count() > 120).collect();
        assert!(too_long.is_empty(), "{page} has lines of more than 120 columns: {too_long:#?}");
    }
}

/// cbindgen adds comments of its own, after `#endif` and the end of `extern "C"`, in a style that C90 does not have.
fn comments_of_c90(header: &str) -> String {
    let lines = header.lines().map(|line| match line.split_once("// ") {
        Some((code, comment)) if code.is_empty() || code.starts_with(['#', '}']) => {
            format!("{} /* {comment} */", code.trim_end())
        }
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn has_every_exported_symbol_and_no_other_is_exported() {
    let library = build_shared_library();
    let output = Command::new("nm").args(["-D", "--defined-only", "-P"]).arg(&library).output().unwrap();
    assert!(output.status.success(), "nm failed: {output:?}");
    let exported: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().next().unwrap().split('@').next().unwrap().to_owned())
        .collect();

    let text = std::fs::read_to_string(header()).unwrap();
    let declared: BTreeSet<String> = words_before_parenthesis(&text).collect();
    assert!(declared.len() >= 19, "the header was not understood: {declared:?}");
    assert_eq!(exported, declared, "left: exported by {}; right: declared in the header", library.display());
}

#[test]
fn has_the_version_of_the_package() {
    let text = std::fs::read_to_string(header()).unwrap();
    for (part, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        let line = format!("#define LF_VERSION_{part} {value}\n");
        assert!(text.contains(&line), "the header lacks {line:?}: src/ffi/version.rs and Cargo.toml disagree");
    }
}

/// The contract is for people to read beside the header, and names nothing that is not built.
#[test]
fn says_what_the_contract_says() {
    let text = std::fs::read_to_string(header()).unwrap();
    let contract = std::fs::read_to_string(root().join("docs/contract.md")).unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.to_lowercase().starts_with("lf_") && !word.ends_with('_')).map(str::to_owned).collect()
    };
    assert_eq!(words(&contract), words(&text), "left: docs/contract.md; right: the header");
    for (name, value) in text.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' ')) {
        if name.starts_with("LF_") && value.parse::<i32>().is_ok() && !name.starts_with("LF_VERSION_") {
            let says = |line: &str| line.contains(&format!("`{name}`")) && line.contains(&format!("| {value} |"));
            assert!(contract.lines().any(says), "docs/contract.md does not say that {name} is {value}");
        }
    }
}

/// A program includes the header beside other headers.
#[test]
fn claims_no_name_but_its_own() {
    let text = std::fs::read_to_string(header()).unwrap();
    let defined: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .map(|rest| rest.split([' ', '(']).next().unwrap())
        .collect();
    assert!(defined.contains(&"LF_OK"), "the header was not understood: {defined:?}");
    let others: Vec<_> = defined.iter().filter(|name| !name.starts_with("LF_") && **name != "LOCKFOLDER_H").collect();
    assert!(others.is_empty(), "{others:?}");
}

/// The names of the functions: the words before a parenthesis, outside comments.
fn words_before_parenthesis(header: &str) -> impl Iterator<Item = String> + '_ {
    let mut in_comment = false;
    header.lines().filter_map(move |line| {
        let line = line.trim();
        in_comment = in_comment && !line.starts_with("*/") || line.starts_with("/*") && !line.ends_with("*/");
        if in_comment || line.starts_with(['*', '/', '#', '(']) {
            return None;
        }
        let name = line.split('(').next().filter(|_| line.contains('('))?;
        Some(name.rsplit([' ', '*']).next()?.to_owned())
    })
}

/// `cargo test` builds only what Rust links to, so this builds the rest.
fn build_shared_library() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--lib", "--message-format=json-render-diagnostics"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let library = messages.split('"').rfind(|word| word.ends_with("liblockfolder.so"));
    PathBuf::from(library.expect("cargo names the shared library"))
}
