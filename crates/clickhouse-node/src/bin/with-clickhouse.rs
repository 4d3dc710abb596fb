//! Runs a command whose servers have ClickHouse as their engine, and checks that rows got there.
//!
//! `with-clickhouse SHARDS REPLICAS COMMAND…`: starts that many servers, tells the command of them through the environment,
//! with next to nothing in memory so that it is ClickHouse that answers. Ends as the command does.
//!
//! `KILL_EVERY_SECS`: kills one of the servers so often (kill -9), by turns, and starts it again.

use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use hyperbytedb_clickhouse_node::Nodes;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shards, replicas, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: with-clickhouse SHARDS REPLICAS COMMAND…");
        return ExitCode::FAILURE;
    };
    let (Ok(shards @ 1..), Ok(replicas @ 1..)) = (shards.parse(), replicas.parse()) else {
        eprintln!("with-clickhouse: the numbers of shards and replicas must be from 1 on");
        return ExitCode::FAILURE;
    };
    let kill_every = std::env::var("KILL_EVERY_SECS").ok().and_then(|seconds| seconds.parse().ok());
    let mut nodes = Nodes::start(shards, replicas);
    let mut command = Command::new(program);
    command.args(rest);
    for (key, value) in nodes.settings() {
        command.env(format!("HYPERBYTEDB__{key}"), value);
    }
    if std::env::var_os("HYPERBYTEDB__FLUSH__HEAD_BYTES").is_none() {
        command.env("HYPERBYTEDB__FLUSH__HEAD_BYTES", "0");
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("with-clickhouse: {program}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut kills, mut last_kill, mut has_failed) = (0, Instant::now(), false);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => {
                eprintln!("with-clickhouse: {program}: {error}");
                return ExitCode::FAILURE;
            }
        }
        if !has_failed && let Some(how) = nodes.ended() {
            eprintln!("with-clickhouse: {how}");
            has_failed = true;
        }
        if kill_every.is_some_and(|seconds| last_kill.elapsed() > Duration::from_secs(seconds)) {
            nodes.restart(kills % nodes.len());
            kills += 1;
            last_kill = Instant::now();
        }
    };
    if has_failed {
        return ExitCode::FAILURE;
    }
    let ended = ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
    if kills > 0 {
        // Who was killed counts its rows anew.
        println!("ClickHouse servers were killed {kills} times");
        return ended;
    }
    let inserted = "SELECT sum(value) FROM system.events WHERE event = 'InsertedRows'";
    let rows: Vec<String> = (0..nodes.len()).map(|node| nodes.query(node, inserted)).collect();
    println!("ClickHouse servers took rows: {}", rows.join(", "));
    if rows.iter().any(|rows| rows == "0") {
        eprintln!("with-clickhouse: a server took no rows");
        return ExitCode::FAILURE;
    }
    ended
}
