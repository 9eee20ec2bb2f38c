//! What a program that uses the library sees: the interfaces, the examples, how the library is linked. Also the structure
//! of the source.

#[path = "../c/mod.rs"]
mod c;
#[path = "../support/mod.rs"]
mod support;

mod c_interface;
mod examples;
mod header;
mod linking;
mod rooms;
mod rust_interface;
mod rust_version;
mod sandboxes;
