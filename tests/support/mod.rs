//! What the tests share: puppets (processes that do what they are told), scratch folders, hand-made bids, loud skips.

#![allow(dead_code, unused_imports, unused_macros)] // each test uses a part of it

mod bids;
mod build;
pub mod containers;
mod puppet;
mod scratch;
pub mod stage;
pub mod users;

pub use bids::{bid_name, boot_id, boot_time, pid_namespace, start_in, start_of, vouch_for, Bid};
pub use puppet::{encode, state_of, wait_until, Answer, Kind, Orphan, Puppet};
pub use scratch::{bids_in, listing, set_mode, set_time, Scratch};

use std::io::Write;
use std::path::Path;

use rustix::io::Errno;

/// A test that runs twice: with puppets that use the C interface, and with puppets that use the Rust interface.
macro_rules! both {
    (by $how:path; $($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn in_c() {
                $how(|| super::$name(crate::support::Kind::C));
            }
            #[test]
            fn in_rust() {
                $how(|| super::$name(crate::support::Kind::Rust));
            }
        }
    )*};
    ($($name:ident),* $(,)?) => { crate::support::both!(by crate::support::once; $($name),*); };
}
pub(crate) use both;

/// The same for tests of waits, and once more with the waits of an event loop.
macro_rules! all_waits {
    (by $how:path; $($name:ident),* $(,)?) => {
        crate::support::both!(by $how; $($name),*);
        mod in_a_loop {
            $(#[test]
            fn $name() {
                $how(|| super::$name(crate::support::Kind::Loop));
            })*
        }
    };
    ($($name:ident),* $(,)?) => { crate::support::all_waits!(by crate::support::once; $($name),*); };
}
pub(crate) use all_waits;

pub fn once(test: impl Fn()) {
    test();
}

/// Says that a test can't run here, so that every reader of the output sees it: `scripts/test` lists it, and fails
/// under CI.
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    if let Some(file) = std::env::var_os("LOCKFOLDER_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{why}").unwrap();
    } else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "under CI nothing may be skipped: {why}");
    }
}

/// True if we are root. If not, `what` is skipped, and the output says so.
pub fn root_or_skip(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(&format!("{what}: only as root"));
    }
    root
}

/// True if we are root, and may make namespaces and mounts in them. A container's root often may not (CAP_SYS_ADMIN). If not,
/// `what` is skipped, and the output says so.
pub fn namespaces_or_skip(what: &str) -> bool {
    static POSSIBLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if !root_or_skip(what) {
        return false;
    }
    let possible = *POSSIBLE.get_or_init(|| {
        let tried =
            std::process::Command::new("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "true"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    });
    if !possible {
        skip(&format!("{what}: root may not make namespaces here (CAP_SYS_ADMIN)"));
    }
    possible
}

/// The same for time namespaces, which some kernels lack.
pub fn time_namespaces_or_skip() -> bool {
    if !namespaces_or_skip("time namespaces") {
        return false;
    }
    let possible =
        std::process::Command::new("unshare").args(["--time", "--boottime", "1", "true"]).status().unwrap().success();
    if !possible {
        skip("time namespaces: this kernel has none");
    }
    possible
}

/// A user that is not root, and owns nothing.
pub const NOBODY: u32 = 65534;

/// A puppet of that user.
pub fn nobody(kind: Kind) -> Puppet {
    let mut puppet = Puppet::new(kind);
    puppet.must(&format!("become {NOBODY}"));
    puppet
}

/// An error of the system: its status, its number, and a message that names the folder and contains the system's own
/// text.
#[track_caller]
pub fn fails(puppet: &mut Puppet, command: &str, errno: Errno, folder: &Path) {
    assert_eq!(puppet.ask(command), "LF_ERR_IO", "{command}");
    assert_eq!(puppet.code(0), errno.raw_os_error());
    let why = puppet.why(0);
    assert!(why.contains(folder.to_str().unwrap()), "{why}");
    assert!(why.contains(&format!("(os error {})", errno.raw_os_error())), "{why}");
}
