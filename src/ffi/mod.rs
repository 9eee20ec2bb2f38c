//! The C interface: converts arguments, calls the Rust API, converts the result. Nothing else happens here.
//!
//! The order of the modules, and of the items in them, is the order of `include/lockfolder.h` (constants and types come
//! first, then functions). No function is made by a macro: cbindgen could not see it.
//!
//! # Safety
//!
//! One rule holds for all functions, so no function repeats it. A handle or list is NULL, or came from this library and is
//! not freed yet. A string is NULL or ends with a NUL. A place for a result is NULL or valid for a write. Each function
//! checks for NULL. C can't check the rest, and the top of the header says so.

#![allow(unsafe_code, non_camel_case_types, clippy::missing_safety_doc)]
#![allow(missing_debug_implementations)] // what C has is opaque, or read by C

// The blank lines keep rustfmt from sorting them.
mod version;

mod status;

mod folder;

mod lock;

mod wait;

mod lease;

mod bids;

mod message;

mod convert;

pub use bids::*;
pub use folder::*;
pub use lease::*;
pub use lock::*;
pub use message::*;
pub use status::*;
pub use version::*;
pub use wait::*;
