//! What fails below the library: crashes, failing system calls, filesystems that differ.

#[path = "../c/mod.rs"]
mod c;
#[path = "../support/mod.rs"]
mod support;

mod bricks;
mod crash_points;
mod faults;
mod filesystems;
mod forks;
