//! `hyperbytedb cluster`: looking at a cluster and changing who is in it, through any of its nodes.

use std::error::Error;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyperbytedb_backup::Server;
use hyperbytedb_domain::ports::NodeInfo;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::backup::runtime;

/// Between two looks how far a repair is.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct ClusterArguments {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum ClusterCommand {
    /// The nodes: who leads, who is there, who lags.
    #[command(visible_alias = "status")]
    Nodes,
    /// The node that leads.
    Leader,
    /// Take a node out for ever: its number is never used again.
    Remove { id: u64 },
    /// Have all nodes compare what they have stored and take what they lack; returns when they are done.
    Repair,
    /// Have a node hand over what it has, so that it can be stopped.
    Drain { id: u64 },
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<NodeInfo>,
}

#[derive(Deserialize)]
struct Drained {
    /// What nodes that are away still lack.
    message: Option<String>,
}

pub fn run(arguments: ClusterArguments) -> Result<(), Box<dyn Error>> {
    let ClusterArguments { server, command } = arguments;
    runtime()?.block_on(async {
        match command {
            ClusterCommand::Nodes => {
                let answer = ask(&server, Method::GET, "/cluster/nodes").await?;
                print(&serde_json::from_str::<Nodes>(&answer)?.nodes);
            }
            ClusterCommand::Leader => {
                let answer = ask(&server, Method::GET, "/cluster/leader").await?;
                print(&[serde_json::from_str(&answer)?]);
            }
            ClusterCommand::Remove { id } => {
                ask(&server, Method::POST, &format!("/cluster/membership/remove/{id}")).await?;
                println!("node {id} is removed");
            }
            ClusterCommand::Repair => {
                ask(&server, Method::POST, "/cluster/repair").await?;
                while !repair_is_done(&ask(&server, Method::GET, "/cluster/repair").await?)? {
                    tokio::time::sleep(POLL).await;
                }
            }
            ClusterCommand::Drain { id } => {
                let answer = ask(&server, Method::POST, &format!("/cluster/membership/drain/{id}")).await?;
                let note = serde_json::from_str::<Drained>(&answer)?.message;
                println!(
                    "node {id} is drained and can be stopped{}",
                    note.map(|n| format!(" ({n})")).unwrap_or_default()
                );
            }
        }
        Ok(())
    })
}

#[derive(Deserialize)]
struct Repairs {
    nodes: Vec<Repair>,
}

#[derive(Deserialize)]
struct Repair {
    id: u64,
    state: String,
    partitions: u64,
    compared: u64,
    repaired_rows: u64,
    error: Option<String>,
}

/// Prints how far the nodes are.
fn repair_is_done(answer: &str) -> Result<bool, Box<dyn Error>> {
    let Repairs { nodes } = serde_json::from_str(answer)?;
    for Repair { id, state, partitions, compared, repaired_rows, error } in &nodes {
        let error = error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
        println!(
            "node {id}: {state}, {compared} of {partitions} partitions, {repaired_rows} rows taken{error}"
        );
    }
    Ok(nodes.iter().all(|node| node.state == "idle"))
}

async fn ask(server: &Server, method: Method, path: &str) -> Result<String, Box<dyn Error>> {
    let url = format!("{}{path}", server.url.trim_end_matches('/'));
    let mut request = reqwest::Client::builder().build()?.request(method, &url);
    if let Some(user) = &server.user {
        request = request.basic_auth(user, server.password.as_ref());
    }
    let answer = request.send().await.map_err(|error| format!("{url}: {error}"))?;
    let status = answer.status();
    let text = answer.text().await?;
    if status == StatusCode::OK { Ok(text) } else { Err(format!("{url}: {status}: {}", text.trim()).into()) }
}

fn print(nodes: &[NodeInfo]) {
    println!(
        "{:>4}  {:<9} {:<12} {:>12} {:>14} {:>8}  {:<22} http",
        "id", "role", "state", "lag records", "lag bytes", "lag s", "address"
    );
    for NodeInfo { id, address, http_address, role, state, lag_records, lag_bytes, lag_secs } in nodes {
        println!(
            "{id:>4}  {role:<9} {state:<12} {lag_records:>12} {lag_bytes:>14} {lag_secs:>8}  {address:<22} {http_address}"
        );
    }
}
