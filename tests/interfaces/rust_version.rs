//! Cargo.toml promises that an old Rust suffices. No locked dependency may need a newer one. (`make check-rust-version` builds with
//! it.)

use std::process::Command;

use serde_json::Value;

/// `1.84` and `1.84.1` as numbers that can be compared.
fn version(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap()).collect()
}

#[test]
fn no_locked_dependency_wants_a_newer_rust_than_we_promise() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let promised = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    let wanted = |package: &Value| package["rust_version"].as_str().map(version);
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| wanted(package).is_some_and(|wanted| wanted > promised))
        .map(|package| format!("{} wants {}", package["name"], package["rust_version"]))
        .collect();
    assert!(packages.iter().any(|package| wanted(package).is_some()) && newer.is_empty(), "{newer:?}");
}
