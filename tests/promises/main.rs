//! The promises of the library, one file each. All are one binary, because linking costs more than compiling.

#[path = "../c/mod.rs"]
mod c;
#[path = "../support/mod.rs"]
mod support;

mod any_bid;
mod asleep;
mod bad_bids;
mod cleaned;
mod copies;
mod courtesy;
mod crowds;
mod debugged;
mod descriptors;
mod event_loops;
mod exchanged;
mod exclusion;
mod folders;
mod fork;
mod leases;
mod line;
mod liveness;
mod namespaces;
mod opening;
mod other_hosts;
mod present;
mod python_peers;
mod refusals;
mod sequences;
mod slots;
mod stepped_clock;
#[cfg(feature = "capi")] // this calls the C interface from Rust
mod threads;
mod time_namespaces;
mod waiting;
mod witness;
