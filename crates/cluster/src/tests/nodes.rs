//! Nodes of one process: who holds the lease, who is too far behind, and who is taken out.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hyperbytedb_domain::backup::{BackupError, Snapshot};
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::cluster::{NodeAddress, NodeId, Proposal};
use hyperbytedb_domain::ports::{
    BackupPort, ClusterNodePort, ClusterPort, ConsensusPort, DigestQuery, PeerLag, ReceiveError, RepairPort,
    RepairProgress, RowsPage, RowsQuery,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use tempfile::TempDir;

use super::links::Links;
use super::{CatalogNode, PATIENCE, POLL, until};
use crate::access::PROTOCOL;
use crate::client::{Client, To};
use crate::cluster::{Cluster, ClusterOptions};
use crate::membership::{JoinAnswer, JoinRequest, NodeRequest};
use crate::server::{JOIN, PROMOTE};
use crate::signature::Secret;

/// Longer than a lease, and than it takes until another node leads.
const LONG: Duration = Duration::from_secs(3);
/// Which a node may be behind.
const STALENESS: Duration = Duration::from_secs(5);
const SECRET: &str = "secret";

/// Nothing to copy, and nothing to compare.
struct Nothing;

impl BackupPort for Nothing {
    fn create(&self, _: Option<&str>) -> Result<Snapshot, BackupError> {
        Err(BackupError::Busy)
    }

    fn open(&self, _: &str, _: &str) -> Result<(File, u64), BackupError> {
        Err(BackupError::Busy)
    }

    fn remove(&self, _: &str) -> Result<(), BackupError> {
        Err(BackupError::Busy)
    }
}

impl RepairPort for Nothing {
    fn digests(&self, _: &DigestQuery) -> Result<Vec<Digest>, ReceiveError> {
        Ok(Vec::new())
    }

    fn rows(&self, _: &RowsQuery) -> Result<RowsPage, ReceiveError> {
        Ok(RowsPage::default())
    }

    fn repaired(&self, _: NodeId, _: Sequence) {}

    fn start(&self) {}

    fn progress(&self) -> RepairProgress {
        RepairProgress::default()
    }
}

/// A node. Dropping it closes its store.
pub struct Member {
    pub cluster: Cluster,
    pub node: Arc<CatalogNode>,
    pub address: String,
    log: Weak<RocksConsensusLog>,
    _folder: TempDir,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cluster.stop();
        if !std::thread::panicking() {
            // A process that ends while RocksDB still works may abort.
            assert_eq!(self.log.strong_count(), 0, "the store is open");
        }
    }
}

pub fn secret() -> Secret {
    Secret::new(SECRET)
}

pub fn start(links: &Arc<Links>, id: NodeId) -> Member {
    start_speaking(links, id, PROTOCOL)
}

/// A node of the version whose newest protocol that is.
fn start_speaking(links: &Arc<Links>, id: NodeId, protocol: u32) -> Member {
    let (folder, node) = (tempfile::tempdir().expect("a folder"), Arc::new(CatalogNode::default()));
    let address = links.listen(id);
    let options = ClusterOptions {
        node: id,
        bind_address: "127.0.0.1:0".to_owned(),
        advertised: NodeAddress { address: address.clone(), ..NodeAddress::default() },
        secret: secret(),
        tls: None,
        propose_timeout: LONG,
        max_staleness: STALENESS,
        protocol,
        version: String::new(),
    };
    let log = Arc::new(RocksConsensusLog::open(folder.path()).expect("a log"));
    let (closing, nothing) = (Arc::downgrade(&log), Arc::new(Nothing));
    let cluster =
        Cluster::start(options, log, node.clone(), nothing.clone(), nothing, id == 1).expect("a node");
    links.lead_to(id, cluster.local_address);
    Member { cluster, node, address, log: closing, _folder: folder }
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn three(links: &Arc<Links>) -> Vec<Member> {
    three_speaking(links, [PROTOCOL; 3])
}

fn three_speaking(links: &Arc<Links>, protocols: [u32; 3]) -> Vec<Member> {
    let members: Vec<Member> =
        (1..).zip(protocols).map(|(id, protocol)| start_speaking(links, id, protocol)).collect();
    until("node 1 leads", || members[0].cluster.holds_lease());
    let client = Client::new(9, secret(), None, PROTOCOL).expect("a client");
    for (id, member) in (2..).zip(&members[1..]) {
        let address = NodeAddress { address: member.address.clone(), ..NodeAddress::default() };
        run(async {
            let request = JoinRequest { node: id, address };
            let to = To { node: 1, address: &members[0].address };
            client.ask::<_, JoinAnswer>(to, JOIN, &request, PATIENCE).await.expect("a place");
            client.ask::<_, ()>(to, PROMOTE, &NodeRequest { node: id }, PATIENCE).await.expect("a vote");
        });
    }
    members
}

fn holders(members: &[Member]) -> Vec<usize> {
    (0..members.len()).filter(|&member| members[member].cluster.holds_lease()).collect()
}

#[test]
fn the_lease_is_held_for_as_long_as_a_majority_hears_its_holder() {
    let members = three(&Arc::default());
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        assert!(holders(&members).len() <= 1);
        std::thread::sleep(POLL);
    }
    until("it is renewed", || holders(&members).len() == 1);
    let holder = holders(&members).pop().unwrap_or(0);
    for (_, other) in members.iter().enumerate().filter(|(member, _)| *member != holder) {
        other.cluster.stop();
    }
    until("nobody hears the holder any more", || holders(&members).is_empty());
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        assert_eq!(holders(&members), [0; 0]);
        std::thread::sleep(POLL);
    }
}

#[test]
fn a_holder_that_is_cut_off_ends_before_another_begins() {
    let links = Arc::default();
    let members = three(&links);
    until("a holder", || holders(&members).len() == 1);
    let first = holders(&members).pop().unwrap_or(0);
    let ids = 1..=members.len() as NodeId;
    let id = first as NodeId + 1;
    links.isolate(id, ids.filter(|&other| other != id));
    until("another one leads", || {
        let now = holders(&members);
        assert!(now.len() <= 1, "{now:?} hold the lease");
        now.iter().any(|&holder| holder != first)
    });
}

#[test]
fn a_node_that_lacks_what_is_too_old_should_not_be_asked() {
    let links = Arc::default();
    let members = three(&links);
    let behind = |lag_secs| vec![PeerLag { node: 2, lag_secs, ..PeerLag::default() }];
    let reason = || members[1].cluster.unready().map_or_else(String::new, |unready| unready.reason);
    *members[0].node.lags.lock() = behind(6);
    until("node 2 is behind", || reason().contains("cluster.max_staleness_secs"));
    until("another one is not", || members[2].cluster.unready().is_none());
    *members[0].node.lags.lock() = behind(5);
    until("node 2 is near enough", || reason().is_empty());
}

#[test]
fn a_node_that_is_marked_for_repair_should_not_be_asked() {
    let links = Arc::default();
    let members = three(&links);
    let marked = PeerLag { node: 2, needs_repair: true, ..PeerLag::default() };
    *members[0].node.lags.lock() = vec![marked];
    until("node 2 says so", || {
        let unready = members[1].cluster.unready();
        unready.is_some_and(|unready| !unready.is_leaving && unready.reason.starts_with("repair"))
    });
    *members[0].node.lags.lock() = Vec::new();
    until("node 2 has taken it", || members[1].cluster.unready().is_none());
}

#[test]
fn a_node_that_hears_too_few_should_not_be_asked() {
    let links = Arc::default();
    let members = three(&links);
    let reason = || members[2].cluster.unready().map_or_else(String::new, |unready| unready.reason);
    until("it is ready", || reason().is_empty());
    links.isolate(3, [1, 2].into_iter());
    let begun = Instant::now();
    until("it is alone", || reason().starts_with("alone"));
    assert!(begun.elapsed() >= STALENESS - Duration::from_secs(2), "not at once: {:?}", begun.elapsed());
    assert!(!members[2].cluster.unready().is_some_and(|unready| unready.is_leaving));
    links.heal();
    until("it hears the others", || reason().is_empty());
}

#[test]
fn a_node_is_drained_and_taken_out_and_learns_it() {
    let links = Arc::default();
    let members = three(&links);
    // The leader itself: the next one takes it out.
    let drained = |member: usize| members[member].node.drained.load(Ordering::Relaxed);
    members[1].cluster.remove(1).expect("it is taken out");
    assert!(drained(0) >= 1 && drained(1) == 0);
    let is_told = |member: usize| {
        members[member].cluster.unready().is_some_and(|unready| unready.is_leaving)
            && members[member].node.is_removed()
    };
    until("node 1 learns it", || is_told(0));
    let refused = members[0].cluster.propose(nothing(1)).expect_err("it is of no cluster");
    assert!(refused.to_string().contains("taken out of the cluster"), "{refused}");
    assert!(!is_told(1) && !is_told(2));
}

#[test]
fn a_node_that_was_away_when_it_was_taken_out_learns_it() {
    let links = Arc::default();
    let members = three(&links);
    links.isolate(3, [1, 2].into_iter());
    members[1].cluster.remove(3).expect("it is taken out");
    assert!(!members[2].node.is_removed() && members[2].node.drained.load(Ordering::Relaxed) == 0);
    links.heal();
    until("node 3 learns it", || members[2].node.is_removed());
}

#[test]
fn a_removal_that_no_majority_can_agree_to_is_refused() {
    let links = Arc::default();
    let members = three(&links);
    until("a leader", || holders(&members) == [0]);
    members[1].cluster.stop();
    let begun = Instant::now();
    let error = members[0].cluster.remove(3).expect_err("two would be left, of which one answers");
    assert!(error.contains("of the 2 nodes that would vote then only 1 answer"), "{error}");
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    assert_eq!(members[2].node.drained.load(Ordering::Relaxed), 0, "it goes on");
    members[0].cluster.remove(2).expect("the one that is away");
}

fn nothing(node: NodeId) -> Proposal {
    Proposal { node, number: 1, clock: 1, command: Command::DropDatabase { name: "none".to_owned() } }
}

#[test]
fn nodes_of_two_versions_understand_each_other() {
    let links = Arc::default();
    for protocols in [[1, 2, 2], [2, 1, 1]] {
        let members = three_speaking(&links, protocols);
        for (member, id) in members.iter().zip(1..) {
            member.cluster.propose(nothing(id)).expect("it is agreed on");
            until("it hears the others", || {
                member.cluster.unready().is_none() && member.cluster.peers().len() == 2
            });
        }
        members[2].cluster.drain(1).expect("it is drained");
        members[1].cluster.drain(3).expect("it is drained");
        until("a leader", || members[1].cluster.leader().is_some());
        members[1].cluster.remove(3).expect("it is taken out");
    }
}
