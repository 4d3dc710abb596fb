//! `cluster …`: what the nodes know of each other, and changes of the membership.

use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::format::table::new_table;
use crate::session::width;

/// Between two looks how far a repair is.
const POLL: Duration = Duration::from_secs(1);
const WIDTH_OF_FILES: u16 = 120;

#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Nodes and leader in short; fails while a node is not ready.
    Status,
    /// The nodes, their states and how far they lag.
    Nodes {
        /// Print the server's JSON.
        #[arg(long)]
        json: bool,
    },
    /// The leader.
    Leader,
    /// Take out a node for ever.
    Remove { id: u64 },
    /// Have all nodes compare what they have stored and take what they lack; returns when they are done.
    Repair,
    /// Have a node hand over its work, so that it can be stopped.
    Drain { id: u64 },
}

#[derive(Debug, Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: u64,
    address: String,
    #[serde(default)]
    http_address: String,
    role: String,
    state: String,
    #[serde(default)]
    lag_records: u64,
}

#[derive(Debug, Deserialize)]
struct Repairs {
    nodes: Vec<Repair>,
}

#[derive(Debug, Deserialize)]
struct Repair {
    id: u64,
    state: String,
    partitions: u64,
    compared: u64,
    repaired_rows: u64,
    error: Option<String>,
}

impl Cluster {
    pub fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Status => status(client),
            Self::Nodes { json: true } => Ok(println!("{:#}", client.get::<Value>("/cluster/nodes", &[])?)),
            Self::Nodes { json: false } => nodes(client),
            Self::Leader => Ok(println!("{:#}", client.get::<Value>("/cluster/leader", &[])?)),
            Self::Remove { id } => change(client, "remove", id),
            Self::Repair => repair(client),
            Self::Drain { id } => change(client, "drain", id),
        }
    }
}

fn status(client: &Client) -> Result<()> {
    let Nodes { nodes } = client.get("/cluster/nodes", &[])?;
    let ready = nodes.iter().filter(|node| node.state == "ready").count();
    let leader = nodes.iter().find(|node| node.role == "leader");
    let leader =
        leader.map_or_else(|| "none".to_owned(), |node| format!("node {} ({})", node.id, node.address));
    println!("{ready} of {} nodes ready, leader: {leader}", nodes.len());
    for node in nodes.iter().filter(|node| node.state != "ready") {
        println!(
            "  node {} ({}) is {}, {} records behind",
            node.id, node.address, node.state, node.lag_records
        );
    }
    if ready == nodes.len() {
        Ok(())
    } else {
        Err(crate::error::Error::Refused("not all nodes are ready".to_owned()))
    }
}

fn nodes(client: &Client) -> Result<()> {
    let Nodes { nodes } = client.get("/cluster/nodes", &[])?;
    let mut table = new_table(width().unwrap_or(WIDTH_OF_FILES));
    table.set_header(["id", "address", "http", "role", "state", "records behind"]);
    for node in nodes {
        let (id, lag) = (node.id.to_string(), node.lag_records.to_string());
        table.add_row([id, node.address, node.http_address, node.role, node.state, lag]);
    }
    println!("{table}");
    Ok(())
}

fn repair(client: &Client) -> Result<()> {
    client.request(Method::POST, "/cluster/repair", &[], Vec::new())?;
    loop {
        let Repairs { nodes } = client.get("/cluster/repair", &[])?;
        for Repair { id, state, partitions, compared, repaired_rows, error } in &nodes {
            let error = error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
            println!(
                "node {id}: {state}, {compared} of {partitions} partitions, {repaired_rows} rows taken{error}"
            );
        }
        if nodes.iter().all(|node| node.state == "idle") {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

#[derive(Debug, Deserialize)]
struct Changed {
    /// What there is to know of it; servers of an older version have no more to say.
    #[serde(default)]
    message: Option<String>,
}

fn change(client: &Client, what: &str, id: u64) -> Result<()> {
    let Changed { message } = client.post(&format!("/cluster/membership/{what}/{id}"))?;
    let note = message.map_or_else(String::new, |note| format!(" ({note})"));
    println!("{what} {id}: done{note}");
    Ok(())
}
