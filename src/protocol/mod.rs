//! The protocol, without a file, a PID or a clock of its own: what a claimant does, and in what order. A [`Place`] does the acts.
//!
//! Nothing here calls the system, so a model can run this very code in every order of events (`model`).

mod acquire;
mod backoff;
#[cfg(test)]
mod model;
mod place;

pub(crate) use acquire::acquire;
pub(crate) use backoff::Backoff;
pub(crate) use place::{Check, Place};
