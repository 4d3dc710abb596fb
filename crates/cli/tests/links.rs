//! The shell starts at once because it links neither the engine nor a store.

#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn neither_rocksdb_nor_libchdb_is_linked() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--offline",
        "--locked",
        "--package",
        "hyperbytedb-cli",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    // With it cargo lists the whole workspace.
    cargo.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("reedline"), "{tree}");
    for engine in ["rocksdb", "chdb-rust", "hyperbytedb-engine", "hyperbytedb-storage"] {
        assert!(!tree.contains(engine), "{engine} is linked:\n{tree}");
    }
}
