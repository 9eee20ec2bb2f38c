//! The man pages and the completions of `cli/pages/` are made of the command line itself. `LOCKFOLDER_WRITE_PAGES=1` makes them anew.

use std::fs;
use std::path::Path;

use clap_complete::{generate, Shell};

#[allow(dead_code)] // the rest of it
#[path = "../src/args.rs"]
mod args;

/// The name of each file, and what is to be in it.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut command = args::command();
    command.build();
    let parts = command.get_subcommands().map(|part| part.clone().bin_name(format!("lockfolder {}", part.get_name())));
    let parts: Vec<_> = parts.collect();
    for part in [command.clone()].into_iter().chain(parts) {
        let name = part.get_bin_name().unwrap_or("lockfolder").replace(' ', "-");
        let mut page = Vec::new();
        let source = format!("lockfolder {}", env!("CARGO_PKG_VERSION"));
        let part = part.display_name(name.clone());
        clap_mangen::Man::new(part)
            .title(&name)
            .section("1")
            .date("")
            .source(source)
            .manual("lockfolder")
            .render(&mut page)
            .unwrap();
        pages.push((format!("{name}.1"), page));
    }
    for (shell, file) in
        [(Shell::Bash, "lockfolder.bash"), (Shell::Fish, "lockfolder.fish"), (Shell::Zsh, "_lockfolder")]
    {
        let mut completions = Vec::new();
        generate(shell, &mut args::command(), "lockfolder", &mut completions);
        pages.push((file.to_owned(), completions));
    }
    pages
}

#[test]
fn the_pages_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages");
    let is_to_write = std::env::var_os("LOCKFOLDER_WRITE_PAGES").is_some();
    if is_to_write {
        fs::create_dir_all(&folder).unwrap();
    }
    for (name, due) in pages() {
        let path = folder.join(&name);
        if is_to_write {
            fs::write(&path, &due).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == due,
            "{name} is old. Make it again: LOCKFOLDER_WRITE_PAGES=1 cargo test -p lockfolder-cli --test pages"
        );
    }
}
