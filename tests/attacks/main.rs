//! Users that may write to a lock folder attack others that use it. There is a file for each kind
//! of attack.

#[path = "../c/mod.rs"]
mod c;
#[path = "../support/mod.rs"]
mod support;

mod acls;
mod bid_names;
mod changed_user;
mod encrypted;
mod false_proofs;
mod fifos;
mod first_use;
mod hand_offs;
mod hostile;
mod mounted;
mod moved_in;
mod names;
mod rights_changed;
mod strangers;
mod traced;
mod user_namespaces;
