//! The source has rooms. Dependencies between rooms run one way, as ARCHITECTURE.md says, and files import each other in no circle.
//!
//! What a file imports is read from its `use` lines and from paths such as `crate::sys::Dir`. Tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms that each room may import, beside itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("slots", &[]),
    ("sys", &[]),
    ("protocol", &["error", "slots"]),
    ("renewer", &["sys"]),
    ("owner", &["error", "slots", "sys"]),
    ("folder", &["error", "slots", "sys", "renewer", "owner", "protocol"]),
    ("etcd", &["error", "slots", "sys", "renewer", "owner", "protocol"]),
    ("api", &["error", "slots", "sys", "owner", "protocol", "folder", "etcd"]),
    ("ffi", &["error", "slots", "sys", "api"]),
];

/// Only `sys` uses these.
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

/// The unit tests of a file are its last part.
fn before_tests(code: &str) -> String {
    let cut = code
        .find("#[cfg(test)]\nmod tests {")
        .or_else(|| code.find("#[cfg(test)]\n#[cfg(target_os = \"linux\")]\nmod tests {"));
    code[..cut.unwrap_or(code.len())].to_owned()
}

/// The paths after each `crate::` or `super::`, in full: `{a, b}` gives two paths.
fn imports(module: &str, is_folder: bool, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = |module: &str| module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
    let here = if is_folder { module.to_owned() } else { parent(module) };
    for (word, base) in [("crate::", String::new()), ("super::", here), ("self::", module.to_owned())] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            let is_visibility = code[..at].ends_with("pub(in ");
            if before.is_alphanumeric() || before == '_' || before == ':' || is_visibility {
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

/// The modules that each module imports. A folder's own file (mod.rs) only passes on what is in it. So a name that is taken from there
/// counts for the module that defines it. Where that module differs by system, the name counts for each of them.
fn edges(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let is_folder = |module: &str| modules.keys().any(|other| other.starts_with(&format!("{module}::")));
    let passed_on: BTreeMap<&str, _> = modules
        .iter()
        .filter(|(module, _)| is_folder(module))
        .map(|(it, code)| (it.as_str(), passed_on(code)))
        .collect();
    let of = |module: &str, code: &str| {
        let mut to = BTreeSet::new();
        let mut paths: Vec<_> = imports(module, is_folder(module), code).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(path) = paths.pop().filter(|path| seen.insert(path.clone())) {
            // The longest part of the path that is a module.
            let mut part = path.as_str();
            let known = loop {
                match (modules.get_key_value(part), part.rsplit_once("::")) {
                    (Some((known, _)), _) => break Some(known.as_str()),
                    (None, Some((shorter, _))) => part = shorter,
                    (None, None) => break None,
                }
            };
            let Some(known) = known else { continue };
            let name = path[known.len()..].trim_start_matches("::").split("::").next().unwrap();
            let sources = passed_on.get(known).and_then(|names| names.get(name));
            match sources {
                Some(sources) => paths.extend(sources.iter().map(|source| format!("{known}::{source}"))),
                None => drop(to.insert(known)),
            }
        }
        // What a folder's own file not only passes on, but also uses itself.
        let (_, own) = split_uses(code);
        let words: BTreeSet<_> = own.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let needed = passed_on.get(module).into_iter().flatten().filter(|(name, _)| words.contains(name.as_str()));
        for path in needed.flat_map(|(_, sources)| sources) {
            let source = format!("{module}::{}", path.rsplit_once("::").map_or(path.as_str(), |(source, _)| source));
            to.extend(modules.get_key_value(&source).map(|(known, _)| known.as_str()));
        }
        to.remove(module);
        to
    };
    modules.iter().map(|(module, code)| (module.as_str(), of(module, code))).collect()
}

/// The paths after each `use`, and the code without these lines.
fn split_uses(code: &str) -> (Vec<&str>, String) {
    let (mut uses, mut own, mut rest) = (Vec::new(), String::new(), code);
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap();
        let after = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .find_map(|it| line.trim_start().strip_prefix(it));
        let length = match after {
            Some(after) => {
                let path = &rest[line.len() - after.len()..];
                let end = path.find(';').unwrap();
                uses.push(&path[..end]);
                line.len() - after.len() + end + 1
            }
            None => {
                own.push_str(line);
                own.push('\n');
                line.len()
            }
        };
        rest = rest[length..].strip_prefix('\n').unwrap_or(&rest[length..]);
    }
    (uses, own)
}

/// The names that a folder's own file takes from the modules in it, and the module of each.
fn passed_on(code: &str) -> BTreeMap<String, BTreeSet<String>> {
    let declared: BTreeSet<_> =
        code.lines().filter_map(|line| line.trim().strip_suffix(';')?.split("mod ").nth(1)).collect();
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    for path in split_uses(code).0 {
        let mut paths = BTreeSet::new();
        expand("", path, &mut paths);
        for path in paths {
            let (from, _) = path.split_once("::").unwrap_or((&path, ""));
            if declared.contains(from) {
                let name = path.rsplit("::").next().unwrap().to_owned();
                names.entry(name).or_default().insert(path);
            }
        }
    }
    names
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
        // A storm of signals makes the sleep of std endless.
        assert!(room(&module) == "sys" || !code.contains("thread::sleep"), "{module}: sleep by sys::sleep");
    }
}

/// A folder's own file (mod.rs) declares what is in it and passes it on. That is no import.
#[test]
fn no_file_imports_itself_by_way_of_others() {
    let modules = modules();
    let mut left = edges(&modules);
    // A module is in no circle if it imports none of the remaining modules, or if none of them imports it.
    loop {
        let is_imported = |module: &&str| left.values().any(|to| to.contains(module));
        let imports = |to: &BTreeSet<&str>| to.iter().any(|to| left.contains_key(to));
        let done = left.iter().find(|(module, to)| !imports(to) || !is_imported(module)).map(|(module, _)| *module);
        let Some(done) = done else { break };
        left.remove(done);
    }
    let circles: BTreeSet<_> = left.keys().copied().collect();
    left.values_mut().for_each(|to| to.retain(|to| circles.contains(to)));
    assert!(left.is_empty(), "these import each other: {left:#?}");
}

/// Shows that the test can fail.
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

#[test]
fn what_a_folder_only_passes_on_is_told_from_what_it_needs() {
    let code = "mod first;\nmod second;\npub(crate) use first::{One, inner::Two};\nuse second::Three;\nuse std::io;\nfn four(_: Three) {}\n";
    let names = passed_on(code);
    assert_eq!(names.keys().collect::<Vec<_>>(), ["One", "Three", "Two"]);
    let modules = [("a", code), ("a::first", "use super::Three;"), ("a::second", "use super::One;")];
    let modules = modules.map(|(name, code)| (name.to_owned(), code.to_owned())).into();
    let edges = edges(&modules);
    assert_eq!(edges["a"], BTreeSet::from(["a::second"]));
    assert_eq!(edges["a::first"], BTreeSet::from(["a::second"]));
    assert_eq!(edges["a::second"], BTreeSet::from(["a::first"]));
}

/// What another process made below the lock folder is deleted by a broom alone, which knows what is ours (`src/folder/broom.rs`). Other
/// files delete bids, and what this process made itself. If you add a call there, look at the name: how do we know that it is ours?
#[test]
fn only_a_broom_deletes_what_others_left() {
    let deletes = [".unlink(", ".remove_dir(", ".discard_fifo(", ".delete_unfinished(", ".remove_stage("];
    let calls = |code: &str| deletes.iter().map(|call| code.matches(call).count()).sum::<usize>();
    let by_broom = |code: &str| deletes.iter().map(|call| code.matches(&format!("broom{call}")).count()).sum::<usize>();
    let found: BTreeMap<_, _> = modules()
        .into_iter()
        .filter(|(module, _)| module.starts_with("folder"))
        .map(|(module, code)| (module, calls(&code) - by_broom(&code)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let expected = [
        ("folder::bidding", 2),
        ("folder::broom", 4),
        ("folder::claim", 5),
        ("folder::lease::files", 1),
        ("folder::lease::watch", 1),
        ("folder::location", 5),
        ("folder::queue", 2),
        ("folder::scan", 1),
        ("folder::strays", 1),
    ];
    assert_eq!(found, expected.map(|(module, count)| (module.to_owned(), count)).into());
}

/// A fork copies a lock that another thread holds. In the child nobody opens it, so the child would wait for ever.
#[test]
fn no_static_has_a_lock_that_waits() {
    const WAIT: &[&str] = &["OnceLock<", "LazyLock<", "Once ", "Once:", "Mutex<", "RwLock<", "Condvar"];
    for (module, code) in modules() {
        for line in code.lines().filter(|line| line.trim_start().starts_with("static ") || line.contains(" static ")) {
            assert!(!WAIT.iter().any(|lock| line.contains(lock)), "{module}: {line}");
        }
    }
}
