//! Builds the library and the C programs of this folder, and runs them.

#![allow(dead_code)] // each test program uses a part of it

pub mod trace;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

use crate::support::skip;

/// What a C program is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Shared,
    Static,
    /// No library of ours.
    Alone,
}

/// The libraries that a program needs beside `liblockfolder.a`, as `rustc --print native-static-libs` says. `linking.rs` compares.
pub const NATIVE_STATIC_LIBS: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of `liblockfolder.so` and `.a`. It builds them, because `cargo test` builds only what Rust links to.
pub fn library_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let output = output(Command::new(env!("CARGO")).current_dir(root()).args([
            "build",
            "--release",
            "--locked",
            "--lib",
            "--message-format=json-render-diagnostics",
        ]));
        let library = output.split('"').rfind(|word| word.ends_with("/liblockfolder.so"));
        let folder = Path::new(library.expect("cargo names the shared library")).parent().unwrap().to_owned();
        // The loader looks for the soname. The link is made under another name and renamed, because other tests do the same.
        let aside = folder.join(format!(".soname-{}", std::process::id()));
        let _ = fs::remove_file(&aside);
        symlink("liblockfolder.so", &aside).unwrap();
        fs::rename(&aside, folder.join("liblockfolder.so.0")).unwrap();
        folder
    })
}

/// Compiles `tests/c/<source>` and returns the program. `how` is the compiler and its options.
pub fn compile(source: &str, how: &[&str], link: Link) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let stem = source.split('.').next().unwrap();
    let program = tmp().join(format!("program-{stem}-{}-{number}", std::process::id()));
    let mut compiler = Command::new(how[0]);
    compiler.args(&how[1..]).args(STRICT).arg("-I").arg(root().join("include")).arg("-g");
    compiler.arg(root().join("tests/c").join(source)).arg("-o").arg(&program);
    // After `-x c++` the compiler would take the libraries for sources too.
    compiler.args(["-x", "none"]);
    match link {
        Link::Shared => {
            let folder = library_folder();
            let rpath = format!("-Wl,-rpath,{}", folder.display());
            compiler.arg("-L").arg(folder).args(["-llockfolder", &rpath, "-pthread"]);
        }
        Link::Static => {
            compiler.arg(library_folder().join("liblockfolder.a")).args(NATIVE_STATIC_LIBS.split(' '));
        }
        Link::Alone => {
            compiler.args(["-ldl", "-pthread"]);
        }
    }
    output(&mut compiler);
    program
}

pub fn tmp() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A program that was compiled for a test, deleted when the test ends.
pub struct Program(pub PathBuf);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A command that runs `program`. If the program hangs, it is stopped with everything that it started. The time measures nothing.
pub fn guarded(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "10", "300"]).arg(program).stdin(Stdio::null());
    command
}

/// Runs a command that must succeed, and returns its output.
pub fn output(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}\n{}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// True if a tool is there. `scripts/need` installs it where it may. If it is missing, the test run reports that.
pub fn need(tool: &str, packages: &[&str]) -> bool {
    let script = format!(". scripts/need; need {tool} {}", packages.join(" "));
    let found = run(Command::new("bash").args(["-c", &script]).current_dir(root()));
    if !found.status.success() {
        skip(&format!("{tool}: not to be had"));
    }
    found.status.success()
}

/// What is in a lock folder, and what of it lies in the hidden sub-folder.
pub fn contents(folder: &Path) -> (Vec<String>, Vec<String>) {
    let names = |path: &Path| {
        let mut names: Vec<String> = fs::read_dir(path)
            .map(|entries| entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    };
    (names(folder), names(&folder.join(".lockfolder")))
}

/// What is in a folder that no claimant uses, beside the hidden sub-folder and in it the last fencing token. None: nothing.
pub fn unexplained(folder: &Path) -> Option<String> {
    let (visible, mut hidden) = contents(folder);
    // Where other hosts use the folder too, these two stay. No lease may be left.
    hidden.retain(|name| name != "shared" && name != "leases");
    let leases = folder.join(".lockfolder/leases");
    if leases.exists() {
        hidden.extend(crate::support::listing(&leases));
    }
    let hidden_is_fine = hidden.len() <= 1 && hidden.iter().all(|name| name.starts_with("fence-"));
    let visible_is_fine = visible.iter().all(|name| name == ".lockfolder");
    (!hidden_is_fine || !visible_is_fine).then(|| format!("left behind: {visible:?}, and hidden: {hidden:?}"))
}
