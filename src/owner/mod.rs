//! The owner of a bid: what the bid says of it, and whether it is alive.

pub(crate) mod bid;
pub(crate) mod liveness;
pub(crate) mod opener;
pub(crate) mod rival;
