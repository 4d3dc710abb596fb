//! A ClickHouse server that serves until its standard input is closed, so that it never outlives whoever started it.
//!
//! `clickhouse-node FOLDER`: with the folder's `node.xml`; data goes to `FOLDER/data`.
//!
//! The library is given a terminal as its standard input, which never says anything: without one it takes itself for a script,
//! and ends the process (SIGABRT) at any error of a connection, be it that a client has gone. Servers go on then.

use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Signal, getpid, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::{dup2_stdin, stdin};

// For its link arguments.
use chdb_rust as _;

unsafe extern "C" {
    /// Runs the library as the program `clickhouse local`.
    fn chdb_query_cmdline(argc: c_int, argv: *mut *mut c_char) -> *mut c_void;
}

/// Serves while the library waits for statements from the terminal.
const SERVE: &str = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP";

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: clickhouse-node FOLDER");
        return ExitCode::FAILURE;
    };
    let arguments = [
        "clickhouse".to_owned(),
        format!("--config-file={folder}/node.xml"),
        format!("--path={folder}/data"),
        "--interactive".to_owned(),
        "--query".to_owned(),
        SERVE.to_owned(),
    ];
    let arguments: Result<Vec<CString>, _> = arguments.into_iter().map(CString::new).collect();
    let Ok(arguments) = arguments else { return ExitCode::FAILURE };
    let (terminal, given) = match replace_input() {
        Ok(replaced) => replaced,
        Err(error) => {
            eprintln!("clickhouse-node: a terminal: {error}");
            return ExitCode::FAILURE;
        }
    };
    thread::spawn(|| end_with(File::from(given)));
    let mut pointers: Vec<*mut c_char> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
    // SAFETY: as many texts as it is told, which outlive the call.
    unsafe { chdb_query_cmdline(pointers.len() as c_int, pointers.as_mut_ptr()) };
    drop(terminal);
    ExitCode::FAILURE
}

/// Makes a terminal the standard input. Returns its other side, and what was the standard input.
fn replace_input() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let given = rustix::io::dup(stdin())?;
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    dup2_stdin(open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?)?;
    Ok((terminal, given))
}

/// Ends this process when the input is closed, at once: kills are what its data has to stand anyway.
fn end_with(mut input: File) {
    let mut nothing = [0; 64];
    while input.read(&mut nothing).is_ok_and(|bytes| bytes > 0) {}
    let _ = kill_process(getpid(), Signal::KILL);
}
