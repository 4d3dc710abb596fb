//! Lets binaries find libchdb without LD_LIBRARY_PATH: in `../lib` beside an installed binary's directory, or where it
//! was at build time. The server's build script does the same, since link arguments do not reach other packages.

fn main() {
    println!("cargo:rerun-if-env-changed=CHDB_LIB_DIR");
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "linux") {
        // libchdb calls ours (crates/engine-chdb/src/writes.rs).
        println!("cargo:rustc-link-arg=-Wl,--export-dynamic-symbol=write");
    }
    if let Some(directory) = std::env::var_os("CHDB_LIB_DIR")
        && let Ok(directory) = std::fs::canonicalize(directory)
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", directory.display());
    }
}
