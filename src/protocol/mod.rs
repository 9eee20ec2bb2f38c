//! The protocol, without a file, a PID or a clock of its own: what a claimant does, and in what order. A [`Place`] does the acts.
//!
//! Nothing here calls the system, so a model can run this very code in every order of events (`model`).

mod acquire;
mod backoff;
mod courtesy;
mod line;
#[cfg(test)]
#[cfg(not(loom))]
mod model;
mod place;
mod session;
mod wait;

pub(crate) use acquire::acquire;
pub(crate) use backoff::Backoff;
use courtesy::Courtesy;
pub(crate) use line::{Leaving, Line, Standing, View};
pub(crate) use place::{Check, Place};
pub(crate) use session::Session;
pub(crate) use wait::{Step, Wait, WaitsFor};
