//! The command, as real processes.

#![cfg(unix)]

mod listing;
mod messages;
mod signals;
mod statuses;
mod support;
mod waiting;
