//! A ClickHouse server that serves until its standard input is closed, so that it never outlives whoever started it.
//!
//! `clickhouse-node FOLDER`: with the folder's `node.xml`; data goes to `FOLDER/data`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::process::ExitCode;

// For its link arguments.
use chdb_rust as _;

unsafe extern "C" {
    /// Runs the library as the program `clickhouse local`.
    fn chdb_query_cmdline(argc: c_int, argv: *mut *mut c_char) -> *mut c_void;
}

/// Serves while the SELECT waits for its input.
const SERVE: &str = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; \
    SELECT * FROM file('/dev/stdin', LineAsString) FORMAT Null";

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: clickhouse-node FOLDER");
        return ExitCode::FAILURE;
    };
    let arguments = [
        "clickhouse".to_owned(),
        format!("--config-file={folder}/node.xml"),
        format!("--path={folder}/data"),
        "--query".to_owned(),
        SERVE.to_owned(),
    ];
    let arguments: Result<Vec<CString>, _> = arguments.into_iter().map(CString::new).collect();
    let Ok(arguments) = arguments else { return ExitCode::FAILURE };
    let mut pointers: Vec<*mut c_char> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
    // SAFETY: as many texts as it is told, which outlive the call.
    unsafe { chdb_query_cmdline(pointers.len() as c_int, pointers.as_mut_ptr()) };
    ExitCode::SUCCESS
}
