//! Builds what the puppets need, once per test program. It builds nothing that is there and up to date.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub struct Built {
    pub c: PathBuf,
    pub rust: PathBuf,
}

pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// Uses cargo's profile for tests, so that overflow checks and debug assertions are on. scripts/check-platforms builds the
/// puppets for other systems, and names their folder.
fn build() -> Built {
    if let Some(folder) = std::env::var_os("LOCKFOLDER_PUPPETS").map(PathBuf::from) {
        return Built { c: folder.join("puppet-c"), rust: folder.join("puppet-rust") };
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--lib", "--example", "puppet", "--message-format=json-render-diagnostics"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let file = |end: &str| {
        let word = messages.split('"').rfind(|word| word.ends_with(end) && !word.contains("/deps/"));
        PathBuf::from(word.unwrap_or_else(|| panic!("cargo names no {end}")))
    };
    let library = file("/liblockfolder.so");
    Built { c: compile(root, &library), rust: file("/examples/puppet") }
}

fn compile(root: &Path, library: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("puppet-c");
    std::fs::create_dir_all(&folder).unwrap();
    let (puppet, source) = (folder.join("puppet"), root.join("tests/support/puppet.c"));
    let header = root.join("include/lockfolder.h");
    // The program looks for the library under its soname.
    let soname = folder.join("liblockfolder.so.0");
    let moved = std::fs::read_link(&soname).ok().as_deref() != Some(library); // or there is no link yet
    if moved {
        // In one step, because another test program may do the same.
        let aside = folder.join(format!("liblockfolder.{}", std::process::id()));
        let _ = std::fs::remove_file(&aside);
        std::os::unix::fs::symlink(library, &aside).unwrap();
        std::fs::rename(&aside, &soname).unwrap();
    }
    let age = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified());
    if !moved && age(&puppet).is_ok_and(|made| made > age(&source).unwrap() && made > age(&header).unwrap()) {
        return puppet;
    }
    let fresh = folder.join(format!("puppet.{}", std::process::id())); // other processes may be running the old program
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-pthread", "-Iinclude", "-o"])
        .args([&fresh, &source, &soname])
        .arg(format!("-Wl,-rpath,{}", folder.display()))
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&fresh, &puppet).unwrap();
    puppet
}
