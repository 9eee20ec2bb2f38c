//! macOS, FreeBSD and NetBSD. This code is type-checked and was never run: see `docs/platforms.md`. Each system has a file for its
//! differences.
//!
//! The kernels could report changes (kqueue). We look again instead, because simple code has fewer faults that no test would show.

mod events;
mod files;
mod kernel;
mod processes;
mod sysctl;

#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "netbsd.rs")]
mod this;

pub(crate) use events::{FolderWatch, Waker};
