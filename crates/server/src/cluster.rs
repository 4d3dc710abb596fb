//! Taking part in a cluster: how an empty node becomes a member, and what is put together for one.
//!
//! A file in the data folder says how far a node has got, so that one that is stopped on its way goes on, and one that is a
//! member never begins anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyperbytedb_application::Readiness;
use hyperbytedb_application::cluster::Lease;
use hyperbytedb_application::cluster::agreement::{Agreement, Waiting};
use hyperbytedb_application::cluster::conflicts::Conflicts;
use hyperbytedb_application::cluster::node::ClusterNode;
use hyperbytedb_application::cluster::repair::{RepairService, RepairState};
use hyperbytedb_application::cluster::replication::{Replication, ReplicationOptions};
use hyperbytedb_application::flush::FlushService;
use hyperbytedb_application::log::committer::Committer;
use hyperbytedb_application::reader::TableReader;
use hyperbytedb_application::threads::Threads;
use hyperbytedb_cluster::{
    Cluster, ClusterOptions, DataFolders, Joining, Secret, Tls, TlsFiles, copy_member,
};
use hyperbytedb_domain::cluster::{Consistency, NodeAddress};
use hyperbytedb_domain::ports::{BackupPort, ClusterPort, NodeStatus, Outbound, PeerPort};
use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use serde::{Deserialize, Serialize};

use crate::config::Config;

const STATE_FILE: &str = "cluster.json";
const POLL: Duration = Duration::from_millis(50);
/// How long a member that starts waits for other nodes to answer, and for one that leads; without them it serves what it has.
const PEERS_PATIENCE: Duration = Duration::from_secs(5);
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A node that lacks no more has caught up.
const CAUGHT_UP_BYTES: u64 = 1 << 20;

/// How far a node has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    /// A copy of a member is being made; what is there is of no use.
    Copying {
        node: u64,
    },
    /// It is complete, and still looks as if it were that member's.
    Copied {
        node: u64,
        source: u64,
    },
    Member {
        node: u64,
    },
}

impl State {
    const fn node(self) -> u64 {
        match self {
            Self::Copying { node } | Self::Copied { node, .. } | Self::Member { node } => node,
        }
    }
}

fn state_path(config: &Config) -> PathBuf {
    Path::new(&config.storage.data_dir).join(STATE_FILE)
}

fn read_state(config: &Config) -> Result<Option<State>, String> {
    let path = state_path(config);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("{}: {e}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Durable when it returns.
fn write_state(config: &Config, state: State) -> Result<(), String> {
    let path = state_path(config);
    let new = path.with_extension("new");
    let write = || {
        fs::write(&new, serde_json::to_vec(&state)?)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(&config.storage.data_dir)?.sync_all()
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

fn advertised(config: &Config) -> NodeAddress {
    let cluster = &config.cluster;
    let or = |own: &str, other: String| if own.is_empty() { other } else { own.to_owned() };
    NodeAddress {
        address: cluster.reached_address().to_owned(),
        http_address: or(&cluster.advertise_http_address, config.server.address()),
    }
}

fn tls(config: &Config) -> Result<Option<Tls>, String> {
    let cluster = &config.cluster;
    if cluster.tls_certificate.is_empty() {
        return Ok(None);
    }
    let key = if cluster.tls_key.is_empty() { &cluster.tls_certificate } else { &cluster.tls_key };
    let files = TlsFiles {
        certificate: PathBuf::from(&cluster.tls_certificate),
        key: PathBuf::from(key),
        ca: PathBuf::from(&cluster.tls_ca),
    };
    files.load().map(Some)
}

/// Before the stores are opened: a node that joins gets a member's data.
pub fn prepare(config: &Config) -> Result<(), String> {
    let cluster = &config.cluster;
    let state = read_state(config)?;
    if !cluster.enabled {
        if state.is_some() {
            return Err(format!(
                "{} is of a cluster's node: enable cluster.enabled, or remove the file and the folder `raft` once the node is removed from its cluster",
                state_path(config).display()
            ));
        }
        return Ok(());
    }
    if let Some(state) = state.filter(|state| state.node() != cluster.node_id) {
        let node = state.node();
        return Err(format!(
            "this data folder is of node {node}, not of {} (cluster.node_id)",
            cluster.node_id
        ));
    }
    let folders = DataFolders { engine: config.engine_dir(), meta: config.meta_dir(), wal: config.wal_dir() };
    let used = [&folders.engine, &folders.meta, &folders.wal].into_iter().find(|folder| folder.exists());
    match (state, used) {
        (Some(State::Member { .. } | State::Copied { .. }), _) => return Ok(()),
        (None, _) if cluster.join.is_empty() => return Ok(()),
        (None, Some(folder)) => {
            return Err(format!(
                "{} has data already: a node joins a cluster with an empty data folder (cluster.join)",
                folder.display()
            ));
        }
        (None | Some(State::Copying { .. }), _) => {}
    }
    let node = cluster.node_id;
    write_state(config, State::Copying { node })?;
    for folder in [&folders.engine, &folders.meta, &folders.wal, &config.raft_dir()] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", folder.display()));
            }
            _ => {}
        }
    }
    let joining = Joining {
        node,
        address: advertised(config),
        secret: Secret::new(cluster.secret.reveal()),
        tls: tls(config)?,
        protocol: cluster.protocol,
        members: &cluster.join,
    };
    let copied = copy_member(&joining, &folders)?;
    write_state(config, State::Copied { node, source: copied.source })
}

/// A node's part of a cluster, before and while it takes part.
pub struct Node {
    config: Config,
    node: Arc<ClusterNode>,
    repair: Arc<RepairService>,
    waiting: Arc<Waiting>,
    ports: Outbound,
    pub replication: Arc<Replication>,
    pub lease: Lease,
    cluster: OnceLock<Arc<Cluster>>,
    pub port: Arc<OnceLock<Arc<dyn ClusterPort>>>,
}

impl Node {
    pub fn new(
        config: &Config,
        ports: &Outbound,
        flush: &Arc<FlushService>,
        committer: &Arc<Committer>,
        readiness: &Arc<Readiness>,
        conflicts: Arc<Conflicts>,
    ) -> Self {
        let cluster = &config.cluster;
        let options = ReplicationOptions {
            node: cluster.node_id,
            consistency: Consistency::parse(&cluster.write_consistency).unwrap_or_default(),
            write_timeout: Duration::from_secs(cluster.write_timeout_secs),
            hints_max_bytes: cluster.hints_max_bytes,
            hints_max_age: Duration::from_secs(cluster.hints_max_age_secs),
            batch_bytes: cluster.batch_bytes,
            conflict_rows: cluster.conflict_rows,
        };
        let replication = Arc::new(Replication::new(
            options,
            ports.wal.clone(),
            ports.catalog.clone(),
            flush.clone(),
            committer.clock().clone(),
            conflicts.clone(),
        ));
        let waiting = Arc::new(Waiting::default());
        let node = Arc::new(ClusterNode {
            id: cluster.node_id,
            committer: committer.clone(),
            waiting: waiting.clone(),
            catalog: ports.catalog.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            readiness: readiness.clone(),
            replication: replication.clone(),
            conflicts: conflicts.clone(),
            receiving: Default::default(),
            is_open: AtomicBool::new(false),
        });
        let interval = Duration::from_secs(cluster.repair_interval_secs);
        let repair = Arc::new(RepairService {
            node: cluster.node_id,
            reader: TableReader::new(ports, flush.clone()),
            catalog: ports.catalog.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            committer: committer.clone(),
            conflicts,
            replication: replication.clone(),
            interval: (!interval.is_zero()).then_some(interval),
            state: RepairState::default(),
        });
        Self {
            config: config.clone(),
            node,
            repair,
            waiting,
            ports: ports.clone(),
            replication,
            lease: Lease::of_cluster(),
            cluster: OnceLock::new(),
            port: Arc::default(),
        }
    }

    /// Takes part, and returns when this node has what the others have. The log must be replayed.
    pub fn join(&self, backups: Arc<dyn BackupPort>, threads: &Threads) -> Result<(), String> {
        let settings = &self.config.cluster;
        let id = settings.node_id;
        let state = read_state(&self.config)?;
        if let Some(State::Copied { source, .. }) = state {
            self.node
                .become_another(source)
                .map_err(|error| format!("a copy of node {source} cannot be made node {id}: {error}"))?;
        }
        write_state(&self.config, State::Member { node: id })?;
        self.node.prepare().map_err(|error| error.to_string())?;
        let log = RocksConsensusLog::open(&self.config.raft_dir()).map_err(|error| error.to_string())?;
        let options = ClusterOptions {
            node: id,
            bind_address: settings.bind_address.clone(),
            advertised: advertised(&self.config),
            secret: Secret::new(settings.secret.reveal()),
            tls: tls(&self.config)?,
            propose_timeout: Duration::from_secs(settings.propose_timeout_secs),
            max_staleness: Duration::from_secs(settings.max_staleness_secs),
            protocol: settings.protocol,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        // One that has been copied has its place in the catalogue already.
        let founds = self.ports.catalog.catalog().cluster.applied.is_none();
        let cluster = Arc::new(Cluster::start(
            options,
            Arc::new(log),
            self.node.clone(),
            backups,
            self.repair.clone(),
            founds,
        )?);
        self.lease.set(cluster.clone());
        let committer = &self.node.committer;
        let timeout = Duration::from_secs(settings.propose_timeout_secs);
        let agreement = Agreement::new(id, cluster.clone(), self.waiting.clone(), committer, timeout);
        committer.join_cluster(Arc::new(agreement));
        self.node.is_open.store(true, Ordering::Release);
        let (replication, peers): (_, Arc<dyn PeerPort>) = (self.replication.clone(), cluster.clone());
        threads
            .spawn("replication", move |stop| replication.run(&peers, stop))
            .map_err(|error| format!("a thread of the cluster: {error}"))?;
        // Only this start sets them.
        let _ = self.cluster.set(cluster.clone());
        let _ = self.port.set(cluster.clone());
        tracing::info!(node = id, address = %cluster.local_address, "listening for the other nodes");
        self.catch_up(&cluster)?;
        let repair = self.repair.clone();
        threads
            .spawn("repair", move |stop| repair.run(&*cluster, stop))
            .map_err(|error| format!("a thread of the cluster: {error}"))
    }

    /// Waits for a leader, for the records that the others have kept, and for a voice among them. A member waits no longer than some
    /// seconds for a leader: what it has can be read, and known series be written, without a majority.
    fn catch_up(&self, cluster: &Cluster) -> Result<(), String> {
        let (id, started) = (self.config.cluster.node_id, Instant::now());
        let mut last_reason = String::new();
        loop {
            let peers = cluster.peers();
            let reason = match self.lacks(cluster, &peers, id) {
                None => match cluster.promote_self() {
                    Ok(()) => return Ok(()),
                    Err(reason) => reason,
                },
                Some(reason) => reason,
            };
            if self.node.readiness.phase() == hyperbytedb_application::Phase::Stopping || cluster.is_removed()
            {
                return Ok(());
            }
            let is_member = self.ports.catalog.catalog().cluster.membership.is_voter(id);
            let waited = started.elapsed();
            let is_alone = peers.is_empty() && waited > PEERS_PATIENCE;
            let is_without_leader = !cluster.hears_leader() && waited > LEADER_PATIENCE;
            if is_member && (is_alone || (is_without_leader && self.unheard(&peers).is_none())) {
                tracing::warn!(reason, "too few other nodes answer: this one serves what it has");
                return Ok(());
            }
            if reason != last_reason {
                tracing::info!(reason, "catching up with the cluster");
                last_reason = reason;
            }
            std::thread::sleep(POLL);
        }
    }

    /// What this node still waits for.
    fn lacks(&self, cluster: &Cluster, peers: &[NodeStatus], id: u64) -> Option<String> {
        if !cluster.hears_leader() {
            return Some("no node leads".to_owned());
        }
        let own = self.ports.catalog.catalog().cluster.applied_index();
        if let Some(peer) = peers.iter().find(|peer| peer.applied_index > own) {
            return Some(format!("node {} knows more of the schema", peer.id));
        }
        let lag = |peer: &NodeStatus| {
            let lag = peer.lags.iter().find(|lag| lag.node == id)?;
            (lag.lag_bytes > CAUGHT_UP_BYTES)
                .then(|| format!("node {} has {} records more", peer.id, lag.lag_records))
        };
        self.unheard(peers).or_else(|| peers.iter().find_map(lag))
    }

    /// A node that answers, and may have more of this one's records than it has itself.
    fn unheard(&self, peers: &[NodeStatus]) -> Option<String> {
        let peer = peers.iter().find(|peer| !self.replication.losses.has_heard(peer.id))?;
        Some(format!("node {} has not said what it has of this node's records", peer.id))
    }

    /// Leaves the others alone.
    pub fn stop(&self) {
        if let Some(cluster) = self.cluster.get() {
            cluster.stop();
        }
    }
}
