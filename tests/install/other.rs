//! Another Rust project's static library, with a runtime of its own.

/// Allocates, formats and, where it can, panics and catches it.
#[no_mangle]
pub extern "C" fn other_works() -> bool {
    let text: Vec<String> = (0..10).map(|i| format!("{i:>3}")).collect();
    let panics = || std::panic::catch_unwind(|| text[10].len()).is_err();
    text.concat().len() == 30 && (cfg!(panic = "abort") || panics())
}
