//! The source has rooms, and dependencies run one way: between the rooms as ARCHITECTURE.md says, and between files in no circle.
//!
//! What a file imports is read from its `use` lines and from paths such as `crate::sys::Dir`. Tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What each room may import, beside itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("sys", &[]),
    ("protocol", &["error"]),
    ("owner", &["error", "sys"]),
    ("folder", &["error", "sys", "owner", "protocol"]),
    ("api", &["error", "sys", "owner", "protocol", "folder"]),
    ("ffi", &["error", "sys", "api"]),
];

/// What only `sys` calls.
const SYSTEM: &[&str] = &["std::fs", "std::os", "std::process", "std::net", "libc::", "rustix::", "windows_sys::"];

/// The source of each module, without its tests: `folder::queue` is in src/folder/queue.rs.
fn modules() -> BTreeMap<String, String> {
    let mut modules = BTreeMap::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut modules);
    modules
}

fn collect(folder: &Path, prefix: &str, modules: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = match name.as_str() {
            "mod" => prefix.trim_end_matches("::").to_owned(),
            _ => format!("{prefix}{name}"),
        };
        if matches!(name.as_str(), "tests" | "model" | "scratch" | "lib") {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{module}::"), modules);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        modules.insert(module, before_tests(&code));
    }
}

/// A file's unit tests are its last part.
fn before_tests(code: &str) -> String {
    let cut = code
        .find("#[cfg(test)]\nmod tests {")
        .or_else(|| code.find("#[cfg(test)]\n#[cfg(target_os = \"linux\")]\nmod tests {"));
    code[..cut.unwrap_or(code.len())].to_owned()
}

/// The paths after each `crate::` or `super::`, whole: `{a, b}` is two.
fn imports(module: &str, is_folder: bool, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = |module: &str| module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
    let here = if is_folder { module.to_owned() } else { parent(module) };
    for (word, base) in [("crate::", String::new()), ("super::", here), ("self::", module.to_owned())] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let prefix = if base.is_empty() { String::new() } else { format!("{base}::") };
            expand(&prefix, &code[at + word.len()..], &mut found);
        }
    }
    found
}

fn expand(prefix: &str, rest: &str, found: &mut BTreeSet<String>) {
    if let Some(list) = rest.strip_prefix('{') {
        let mut depth = 1;
        let end = list.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        let (mut depth, mut start, list) = (0, 0, &list[..end.unwrap()]);
        for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if c == ',' && depth == 0 {
                expand(prefix, list[start..at].trim(), found);
                start = at + 1;
            }
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return;
    }
    let path = format!("{prefix}{name}");
    match rest[name.len()..].strip_prefix("::") {
        Some(rest) => expand(&format!("{path}::"), rest, found),
        None => {
            found.insert(path);
        }
    }
}

/// Which modules each one imports.
fn edges(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let is_folder = |module: &str| modules.keys().any(|other| other.starts_with(&format!("{module}::")));
    let of = |module: &str, code: &str| {
        let mut to = BTreeSet::new();
        for path in imports(module, is_folder(module), code) {
            // The longest part of the path that is a module. (What is re-exported counts as its folder's.)
            let mut part = path.as_str();
            loop {
                if let Some((known, _)) = modules.get_key_value(part) {
                    to.insert(known.as_str());
                    break;
                }
                match part.rsplit_once("::") {
                    Some((shorter, _)) => part = shorter,
                    None => break,
                }
            }
        }
        to.remove(module);
        to
    };
    modules.iter().map(|(module, code)| (module.as_str(), of(module, code))).collect()
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

#[test]
fn each_room_imports_only_what_it_may() {
    let modules = modules();
    for (module, to) in edges(&modules) {
        let (_, may) =
            ROOMS.iter().find(|(name, _)| *name == room(module)).unwrap_or_else(|| panic!("{module}: no room"));
        for other in to {
            let is_allowed = room(other) == room(module) || may.contains(&room(other));
            assert!(is_allowed, "{module} imports {other}: ARCHITECTURE.md says what a room may import");
        }
    }
}

#[test]
fn only_sys_calls_the_system_and_the_protocol_least_of_all() {
    for (module, code) in modules() {
        let of_protocol = room(&module) == "protocol";
        for system in SYSTEM.iter().filter(|system| of_protocol || !system.starts_with("std::")) {
            assert!(room(&module) == "sys" || !code.contains(system), "{module} calls the system itself: {system}");
        }
        assert!(!of_protocol || !code.contains("Instant::now"), "{module}: time comes from the place");
    }
}

/// (The files of `sys` are left out: those of one system share their types.) A folder's own file (mod.rs) declares what is in it, and may re-export it; that is no import.
#[test]
fn no_file_imports_itself_by_way_of_others() {
    let modules = modules();
    let edges = edges(&modules);
    let reexports = |from: &str, to: &str| to.starts_with(&format!("{from}::")) && is_reexport(&modules[from], to);
    let mut left: BTreeMap<&str, BTreeSet<&str>> = edges
        .iter()
        .map(|(from, to)| {
            (*from, to.iter().copied().filter(|to| room(from) != "sys" && !reexports(from, to)).collect())
        })
        .collect();
    // A module that imports nothing that is left is in no circle.
    while let Some(done) = left.iter().find(|(_, to)| to.iter().all(|to| !left.contains_key(to))).map(|(from, _)| *from)
    {
        left.remove(done);
    }
    for to in left.values_mut() {
        to.retain(|to| edges.contains_key(to));
    }
    assert!(left.is_empty(), "these import each other: {left:#?}");
}

/// Each import of `to` is a `pub use`.
fn is_reexport(code: &str, to: &str) -> bool {
    let name = to.rsplit("::").next().unwrap();
    let uses: Vec<_> = code.lines().filter(|line| line.contains(&format!("use {name}::"))).collect();
    !uses.is_empty() && uses.iter().all(|line| line.trim_start().starts_with("pub"))
}

/// The test itself would notice.
#[test]
fn imports_are_found_in_every_form() {
    let code =
        "use crate::sys::{self, Dir, proof::{Lock, take}};\nlet x = super::queue::first(&crate::owner::bid::NAME);";
    let found: Vec<_> = imports("folder::line", false, code).into_iter().collect();
    assert_eq!(
        found,
        ["folder::queue::first", "owner::bid::NAME", "sys::Dir", "sys::proof::Lock", "sys::proof::take", "sys::self"]
    );
}
