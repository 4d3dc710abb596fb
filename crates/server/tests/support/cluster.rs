//! A cluster of real processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Server, free_port, until};

/// Elections and catching up, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const DB: &str = "db";

/// The nodes of a cluster, by number from 1.
pub struct Nodes {
    dir: TempDir,
    /// For the other nodes.
    pub ports: Vec<u16>,
    /// For clients; a node that is started again keeps them.
    http_ports: Vec<u16>,
    servers: Vec<Option<Server>>,
    settings: Vec<(&'static str, String)>,
    /// Of one node, from its next start on.
    own_settings: HashMap<usize, Vec<(&'static str, String)>>,
}

impl Nodes {
    /// A cluster of three.
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: &[(&'static str, &str)]) -> Self {
        let mut nodes = Self::none(tempfile::tempdir().expect("a folder"), settings);
        (1..=3).for_each(|_| nodes.add());
        nodes
    }

    /// None yet.
    pub fn none(dir: TempDir, settings: &[(&'static str, &str)]) -> Self {
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self {
            dir,
            ports: Vec::new(),
            http_ports: Vec::new(),
            servers: Vec::new(),
            settings,
            own_settings: HashMap::new(),
        }
    }

    /// A new node, which joins.
    pub fn add(&mut self) {
        self.ports.push(free_port());
        self.http_ports.push(free_port());
        self.servers.push(None);
        self.restart(self.servers.len());
    }

    pub fn restart(&mut self, id: usize) {
        self.begin(id);
        self.servers[id - 1].as_mut().expect("a running node").wait_until_ready();
    }

    /// Starts a node and does not wait for it.
    pub fn begin(&mut self, id: usize) {
        let dir = self.folder(id);
        std::fs::create_dir_all(&dir).expect("a folder");
        self.servers[id - 1] = Some(self.start_node(id, &dir));
    }

    /// What one node is started with from now on.
    pub fn set(&mut self, id: usize, settings: &[(&'static str, &str)]) {
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        self.own_settings.insert(id, settings);
    }

    /// What a node says of itself at `/health/ready`.
    pub fn readiness(&self, id: usize) -> (u16, String) {
        self.node(id)
            .try_get("/health/ready")
            .map_or((0, String::new()), |answer| (answer.status, answer.body))
    }

    /// Asks a node to change who is in the cluster.
    pub fn ask(&self, id: usize, change: &str, node: usize) -> (u16, String) {
        let path = format!("/cluster/membership/{change}/{node}");
        let answer = self.node(id).client().post(&path, &[], b"").expect("an answer");
        (answer.status, answer.body)
    }

    pub fn folder(&self, id: usize) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    fn start_node(&self, id: usize, dir: &Path) -> Server {
        let address = |id: usize| format!("127.0.0.1:{}", self.ports[id - 1]);
        let join = if id == 1 { "[]".to_owned() } else { format!("[\"{}\"]", address(1)) };
        let (id_text, own) = (id.to_string(), address(id));
        let mut settings = vec![
            ("CLUSTER__ENABLED", "true"),
            ("CLUSTER__NODE_ID", &id_text),
            ("CLUSTER__BIND_ADDRESS", &own),
            ("CLUSTER__JOIN", &join),
            ("CLUSTER__SECRET", "between nodes"),
        ];
        let own = self.own_settings.get(&id);
        let all = self.settings.iter().chain(own.into_iter().flatten());
        settings.extend(all.map(|(key, value)| (*key, value.as_str())));
        Server::spawn_on(dir, self.http_ports[id - 1], &settings)
    }

    pub fn node(&self, id: usize) -> &Server {
        self.servers[id - 1].as_ref().expect("a running node")
    }

    /// Waits until a node ends by itself; what it said.
    pub fn failure(&mut self, id: usize) -> String {
        self.servers[id - 1].take().expect("a running node").failure()
    }

    pub fn kill(&mut self, id: usize) {
        self.servers[id - 1].take().expect("a running node").kill();
    }

    /// SIGTERM, and waits.
    pub fn stop(&mut self, id: usize) {
        assert_eq!(self.servers[id - 1].take().expect("a running node").stop(), Some(0));
    }

    pub fn running(&self) -> Vec<usize> {
        (1..=self.servers.len()).filter(|id| self.servers[id - 1].is_some()).collect()
    }

    /// The number of the node that leads, as a running node knows it.
    pub fn leader(&self) -> Option<usize> {
        let running = self.running();
        let answer = self.node(running[0]).try_get("/cluster/leader").ok()?;
        let id = answer.json()["id"].as_u64()? as usize;
        running.contains(&id).then_some(id)
    }

    /// Runs a statement on a node until it succeeds: a leader may have to be found first.
    pub fn change(&self, id: usize, statement: &str) {
        let client = self.node(id).client();
        until(statement, PATIENCE, || {
            let answer = client.query_raw(DB, statement);
            answer.status == 200 && !answer.body.contains("error")
        });
    }

    /// All running nodes answer the same, and this.
    pub fn agree(&self, statement: &str, expected: &str) {
        for id in self.running() {
            let client = self.node(id).client();
            let mut last = String::new();
            until(&format!("node {id}: {statement} = {expected}"), PATIENCE, || {
                last = client.query_raw(DB, statement).body;
                last.contains(expected)
            });
        }
    }
}

pub fn write(server: &Server, consistency: &str, lines: &str) -> (u16, String) {
    let answer = server
        .client()
        .post("/write", &[("db", DB), ("consistency", consistency), ("precision", "s")], lines.as_bytes())
        .expect("an answer");
    (answer.status, answer.body)
}
