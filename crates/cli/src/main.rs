//! `hyperbytedb-cli`: the shell. Flags, commands and output are those of `influx` 1.x, so that scripts go on working;
//! for people it has a history, completion, tables and charts, and for operators the work on a running server.
//!
//! It is a client over HTTP alone: neither the engine nor the stores are linked.

mod answer;
mod arguments;
mod client;
mod completion;
mod error;
mod format;
mod history;
mod import;
mod insert;
mod interactive;
mod interruptible;
mod operations;
mod password;
mod session;
mod socket;

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::operations::Operation;
use crate::session::{Flow, Session};

fn main() -> ExitCode {
    // The only provider there is; that it has been set already is no failure.
    drop(rustls::crypto::ring::default_provider().install_default());
    let words = arguments::with_two_dashes(std::env::args());
    match run(Arguments::parse_from(words.clone()), words) {
        Ok(code) => code,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments, words: Vec<String>) -> Result<ExitCode> {
    if arguments.connection.password.as_deref() == Some("") && !arguments.connection.username.is_empty() {
        arguments.connection.password = Some(password::ask("password: ", false)?);
    }
    if arguments.operation.is_some() {
        return operate(&arguments, words);
    }
    let mut session = Session::new(&arguments)?;
    let version = session.client.ping()?;
    if let Some(commands) = arguments.execute.as_deref().filter(|commands| !commands.is_empty()) {
        return execute(&mut session, commands);
    }
    if arguments.import {
        return Ok(ended(import::run(&session.client, &arguments)?));
    }
    if io::stdin().is_terminal() {
        interactive::run(&mut session, &version)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut statements = String::new();
    io::stdin().read_to_string(&mut statements)?;
    session.query(&statements)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs commands, one a line, up to the first statement that fails.
fn execute(session: &mut Session, commands: &str) -> Result<ExitCode> {
    let mut command = String::new();
    for line in commands.split('\n') {
        command.push_str(line);
        if interactive::is_whole(&command) {
            if session.run(&std::mem::take(&mut command))? == Flow::Quit {
                break;
            }
        } else {
            command.push('\n');
        }
    }
    if !command.trim().is_empty() {
        session.run(&command)?;
    }
    Ok(ended(!session.failed))
}

fn operate(arguments: &Arguments, words: Vec<String>) -> Result<ExitCode> {
    let words = operations::connected(words, &arguments.connection);
    let operation = Arguments::parse_from(words).operation;
    let operation = operation.ok_or_else(|| Error::Usage("what to do is missing: see --help".to_owned()))?;
    if let Operation::Files(command) = operation {
        return Ok(command.run());
    }
    operation.run(&Client::new(&arguments.connection)?, &AtomicBool::new(false))
}

const fn ended(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
