//! ClickHouse servers for tests, out of the embedded engine: libchdb can serve ClickHouse's own protocols.
//!
//! What it cannot: `ON CLUSTER`, a Keeper of its own, more with Replicated tables than to make them (they stay read-only: it ignores
//! `interserver_http_port`), TLS, `CREATE USER`. Users are therefore those of
//! `users.xml`: `default`, without a password, and [`USER`] with [`PASSWORD`].

mod keeper;

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyperbytedb_test_support::free_port;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use keeper::Keeper;

pub const USER: &str = "hyperbyte";
pub const PASSWORD: &str = "s3cret";
/// The name of the cluster that all servers of one [`Nodes`] make up.
pub const CLUSTER: &str = "main";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Addresses of this machine that ClickHouse takes for its own. Servers of one cluster have different ones, as they have names elsewhere.
const ADDRESSES: [&str; 4] = ["127.0.0.1", "127.0.1.1", "127.1.0.1", "127.1.1.1"];

/// Servers that know each other. Dropping it kills them.
pub struct Nodes {
    folder: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    folder: PathBuf,
    address: &'static str,
    http_port: u16,
    tcp_port: u16,
    /// `None`: it was killed.
    process: Option<Child>,
}

impl Nodes {
    /// One server of its own.
    pub fn single() -> Self {
        Self::start(1, 1)
    }

    /// A cluster of so many shards, each of so many servers: those of the first shard come first.
    pub fn start(shards: usize, replicas: usize) -> Self {
        Self::start_with(shards, replicas, None)
    }

    /// As [`start`](Self::start), with what Replicated tables need.
    pub fn start_with_keeper(shards: usize, replicas: usize, keeper: &Keeper) -> Self {
        Self::start_with(shards, replicas, Some(keeper))
    }

    fn start_with(shards: usize, replicas: usize, keeper: Option<&Keeper>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports: Vec<u16> = (0..2 * shards * replicas).map(|_| free_port()).collect();
        let nodes = ports.chunks(2).enumerate().map(|(i, ports)| Node {
            folder: folder.path().join(i.to_string()),
            address: ADDRESSES[i % ADDRESSES.len()],
            http_port: ports[0],
            tcp_port: ports[1],
            process: None,
        });
        let mut nodes = Self { nodes: nodes.collect(), folder };
        let shards = nodes.nodes.chunks(replicas).fold(String::new(), |mut xml, shard| {
            xml.push_str("<shard>");
            for node in shard {
                let Node { address, tcp_port, .. } = node;
                let _ = write!(xml, "<replica><host>{address}</host><port>{tcp_port}</port></replica>");
            }
            xml + "</shard>"
        });
        for (i, node) in nodes.nodes.iter().enumerate() {
            fs::create_dir_all(&node.folder).expect("a folder");
            let users = node.folder.join("users.xml");
            fs::write(&users, users_xml()).expect("users.xml");
            let keeper = keeper.map_or_else(String::new, |keeper| keeper.xml(i));
            let config = node_xml(node, &users, [i / replicas, i % replicas], &shards, &keeper);
            fs::write(node.folder.join("node.xml"), config).expect("node.xml");
        }
        (0..nodes.nodes.len()).for_each(|i| nodes.spawn(i));
        (0..nodes.nodes.len()).for_each(|i| nodes.wait(i));
        nodes
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, node: usize) -> String {
        format!("http://{}", self.http_address(node))
    }

    /// Where it speaks HTTP.
    pub fn http_address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address_of(self.nodes[node].http_port)
    }

    pub fn urls(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|node| self.url(node)).collect()
    }

    /// Where it speaks ClickHouse's native protocol, as servers do with each other.
    pub fn native_address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address_of(self.nodes[node].tcp_port)
    }

    /// Settings of a HyperbyteDB server that has these as its engine, as variables without their `HYPERBYTEDB__`.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("ENGINE__KIND", "clickhouse".to_owned()),
            ("CLICKHOUSE__URLS", format!("{:?}", self.urls())),
            ("CLICKHOUSE__USER", USER.to_owned()),
            ("CLICKHOUSE__PASSWORD", PASSWORD.to_owned()),
        ];
        if self.len() > 1 {
            settings.push(("CLICKHOUSE__CLUSTER", CLUSTER.to_owned()));
        }
        settings
    }

    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].process.as_ref().map(Child::id)
    }

    /// A server that has ended by itself: how, and what it said last.
    pub fn ended(&mut self) -> Option<String> {
        self.nodes.iter_mut().enumerate().find_map(|(number, node)| {
            let status = node.process.as_mut()?.try_wait().expect("wait")?;
            Some(format!("server {number} ended by itself, {status}: {}", log_tail(&node.folder)))
        })
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node].process.take() {
            process.kill().expect("kill");
            process.wait().expect("wait");
        }
    }

    /// Has a server hang: its connections stay, and nothing is answered.
    pub fn pause(&self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    pub fn resume(&self, node: usize) {
        self.signal(node, Signal::CONT);
    }

    fn signal(&self, node: usize, signal: Signal) {
        let process = self.nodes[node].process.as_ref().expect("a server that was not killed");
        kill_process(Pid::from_child(process), signal).expect("a signal");
    }

    /// Starts a server that was killed, with what it has stored.
    pub fn restart(&mut self, node: usize) {
        self.kill(node);
        self.spawn(node);
        self.wait(node);
    }

    /// Runs a statement as the user without a password; panics on an error.
    pub fn query(&self, node: usize, statement: &str) -> String {
        let mut answer = agent().post(self.url(node)).send(statement).expect("a node that answers");
        let status = answer.status();
        let text = answer.body_mut().read_to_string().expect("an answer");
        assert!(status.is_success(), "{statement}: {text}");
        text.trim_end().to_owned()
    }

    /// The rows that the servers hold, each for itself, in tables of points.
    pub fn rows(&self, database: &str) -> Vec<u64> {
        let statement =
            format!("SELECT sum(rows) FROM system.parts WHERE active AND database = '{database}'");
        (0..self.nodes.len()).map(|node| self.query(node, &statement).parse().expect("a number")).collect()
    }

    fn spawn(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let log = fs::File::options().create(true).append(true).open(node.folder.join("log")).expect("log");
        let process = Command::new(program())
            .arg(&node.folder)
            // Closed when this process ends, however that comes about.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the program clickhouse-node, beside the tests");
        node.process = Some(process);
    }

    fn wait(&mut self, node: usize) {
        let url = format!("{}/ping", self.url(node));
        let deadline = Instant::now() + START_TIMEOUT;
        let node = &mut self.nodes[node];
        while Instant::now() < deadline {
            if agent().get(&url).call().is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            let ended = node.process.as_mut().and_then(|process| process.try_wait().expect("wait"));
            if let Some(status) = ended {
                panic!("the node ended with {status}: {}", log_tail(&node.folder));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the node did not start: {}", log_tail(&node.folder));
    }
}

impl Node {
    fn address_of(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.parse().expect("an address"), port)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.kill(node));
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(START_TIMEOUT))
        .build()
        .into()
}

/// Where cargo puts programs: beside the folder of the tests, or beside this one.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    let mut folders = own.ancestors().skip(1);
    folders
        .by_ref()
        .take(2)
        .map(|folder| folder.join("clickhouse-node"))
        .find(|program| program.exists())
        .expect("clickhouse-node is built with the workspace")
}

fn log_tail(folder: &Path) -> String {
    let log = fs::read(folder.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(2_000)..]).into_owned()
}

/// What docs/clickhouse.md says that the user needs, for each database whose name begins with `hyperbyte`.
const GRANTS: [&str; 4] = [
    "GRANT CREATE DATABASE, SELECT, INSERT, CREATE TABLE, DROP TABLE, ALTER ADD COLUMN, ALTER DELETE, \
     OPTIMIZE ON hyperbyte*.*",
    "GRANT TABLE ENGINE ON Atomic, TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON Distributed, \
     TABLE ENGINE ON Null, TABLE ENGINE ON ReplicatedAggregatingMergeTree",
    "GRANT SELECT ON system.clusters, SELECT ON system.merge_tree_settings, SELECT ON system.mutations, \
     SELECT ON system.parts, SELECT ON system.processes",
    "GRANT REMOTE ON *.*",
];

fn users_xml() -> String {
    let user = |name, password, profile, grants: &[&str]| {
        let grants: String = grants.iter().map(|grant| format!("<query>{grant}</query>")).collect();
        let grants = if grants.is_empty() { grants } else { format!("<grants>{grants}</grants>") };
        format!(
            "<{name}><password>{password}</password><networks><ip>::/0</ip></networks>\
             <profile>{profile}</profile><quota>default</quota>{grants}</{name}>"
        )
    };
    format!(
        "<clickhouse><profiles><default/><readonly><readonly>1</readonly></readonly></profiles>\
         <quotas><default/></quotas><users>{}{}{}</users></clickhouse>",
        user("default", "", "default", &[]),
        user(USER, PASSWORD, "default", &GRANTS),
        user("viewer", "", "readonly", &[])
    )
}

fn node_xml(node: &Node, users: &Path, [shard, replica]: [usize; 2], shards: &str, keeper: &str) -> String {
    let Node { address, http_port, tcp_port, .. } = node;
    let users = users.display();
    format!(
        "<clickhouse><listen_host>{address}</listen_host>\
         <tcp_port>{tcp_port}</tcp_port><http_port>{http_port}</http_port>\
         <users_config>{users}</users_config>\
         <macros><shard>{}</shard><replica>{}</replica></macros>\
         <max_server_memory_usage>2000000000</max_server_memory_usage>\
         <mark_cache_size>67108864</mark_cache_size>\
         <background_schedule_pool_size>8</background_schedule_pool_size>\
         <background_distributed_schedule_pool_size>4</background_distributed_schedule_pool_size>\
         <database_atomic_delay_before_drop_table_sec>0</database_atomic_delay_before_drop_table_sec>\
         <access_control_improvements>\
         <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\
         </access_control_improvements>\
         {keeper}<remote_servers><{CLUSTER}><secret>between nodes</secret>{shards}</{CLUSTER}></remote_servers>\
         </clickhouse>",
        shard + 1,
        replica + 1
    )
}
