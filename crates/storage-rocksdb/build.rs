//! `librocksdb-sys` generates its bindings from its own headers, but links the library that `ROCKSDB_LIB_DIR` names
//! without looking at it. This refuses a library of another version, such as one compiled before an update.

use std::{env, fs, path::Path};

const LOCK: &str = "../../Cargo.lock";

fn main() {
    println!("cargo:rerun-if-changed={LOCK}");
    println!("cargo:rerun-if-env-changed=ROCKSDB_LIB_DIR");
    let Ok(folder) = env::var("ROCKSDB_LIB_DIR") else {
        return; // The crate compiles its own.
    };
    let lock = fs::read_to_string(LOCK).expect("Cargo.lock is readable");
    let version = lock
        .split_once("name = \"librocksdb-sys\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .expect("Cargo.lock has librocksdb-sys")
        .0;
    println!("cargo:rerun-if-changed={folder}");
    assert!(
        Path::new(&folder).is_dir() && folder.contains(&format!("/rocksdb-{version}-")),
        "{folder} is not the RocksDB of librocksdb-sys {version}: run `make setup`"
    );
}
