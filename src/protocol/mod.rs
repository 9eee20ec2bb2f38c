//! The protocol, free of files, PIDs and clocks: what a claimant does, and in what order. A [`Place`] carries out each
//! act.
//!
//! Nothing here calls the system. The model (`model`) can therefore run this very code in every order of events.

mod acquire;
mod backoff;
mod count;
mod courtesy;
mod jump;
pub(crate) mod lease;
mod line;
#[cfg(test)]
#[cfg(not(loom))]
mod model;
mod place;
mod session;
mod wait;

pub(crate) use acquire::{acquire, acquire_told};
pub(crate) use backoff::{Backoff, TIE_BREAK};
pub(crate) use count::Count;
use courtesy::Courtesy;
pub(crate) use jump::after_jump;
pub(crate) use line::{Leaving, Line, Standing, View};
pub(crate) use place::{Check, Place};
pub(crate) use session::Session;
pub(crate) use wait::{Step, Wait, WaitsFor};
