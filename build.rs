//! The shared library's soname, which cargo does not set (cargo#5045).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // cargo-c sets the same.
        let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,liblockfolder.so.{major}");
        // Rust keeps destructors of thread-locals; a library that is unloaded under them is a crash (rust#59629).
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
