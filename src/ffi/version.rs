use std::ffi::{c_char, CStr};

/// Version of this header: major.
pub const LF_VERSION_MAJOR: u32 = 0;
/// Version of this header: minor.
pub const LF_VERSION_MINOR: u32 = 1;
/// Version of this header: patch.
pub const LF_VERSION_PATCH: u32 = 0;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL"),
};

/// Gives the version of the library that is loaded, as "MAJOR.MINOR.PATCH".
///
/// The header that a program was compiled with has `LF_VERSION_MAJOR`, `LF_VERSION_MINOR` and `LF_VERSION_PATCH`. The
/// string is static: it is valid as long as the library is loaded, and is never freed.
#[no_mangle]
pub extern "C" fn lf_version() -> *const c_char {
    VERSION.as_ptr()
}
