//! The command, as real processes.

#![cfg(unix)]

mod beside_flock;
mod checking;
mod jobs;
mod listing;
mod messages;
mod sharing;
mod signals;
mod statuses;
mod support;
mod waiting;
