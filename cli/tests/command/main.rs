//! The command, as real processes.

#![cfg(unix)]

mod beside_flock;
mod checking;
mod jobs;
mod listing;
mod losses;
mod messages;
mod sharing;
mod signals;
mod starts;
mod statuses;
mod support;
mod waiting;
