//! Nodes of one process: who holds the lease, who is too far behind, and what is heard twice.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::backup::{BackupError, Snapshot};
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{
    BackupPort, ClusterPort, ConsensusPort, DigestQuery, PeerLag, ReceiveError, RepairPort, RepairProgress,
    RowsPage, RowsQuery,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use reqwest::StatusCode;
use tempfile::TempDir;

use super::CatalogNode;
use super::links::Links;
use crate::client::{
    Client, NODE_HEADER, PROTOCOL, PROTOCOL_HEADER, PROTOCOL_LEAST, PROTOCOL_LEAST_HEADER, SIGNATURE_HEADER,
    TIME_HEADER, signed_parts,
};
use crate::cluster::{Cluster, ClusterOptions, JoinAnswer, JoinRequest, NodeRequest};
use crate::server::{JOIN, PROMOTE, RECORDS, REMOVE};
use crate::signature::{SIGNATURE_AGE_MAX, Secret, now_ms};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// Longer than a lease, and than it takes until another node leads.
const LONG: Duration = Duration::from_secs(3);
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

struct Member {
    cluster: Cluster,
    node: Arc<CatalogNode>,
    address: String,
    _folder: TempDir,
}

/// A process that ends while Raft still writes to RocksDB may abort.
impl Drop for Member {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

fn secret() -> Secret {
    Secret::new(SECRET)
}

fn start(links: &Arc<Links>, id: NodeId) -> Member {
    let (folder, node) = (tempfile::tempdir().expect("a folder"), Arc::new(CatalogNode::default()));
    let address = links.listen(id);
    let options = ClusterOptions {
        node: id,
        bind_address: "127.0.0.1:0".to_owned(),
        advertised: NodeAddress { address: address.clone(), ..NodeAddress::default() },
        secret: secret(),
        tls: None,
        propose_timeout: LONG,
        max_staleness: Duration::from_secs(5),
        version: String::new(),
    };
    let log = Arc::new(RocksConsensusLog::open(folder.path()).expect("a log"));
    let nothing = Arc::new(Nothing);
    let cluster =
        Cluster::start(options, log, node.clone(), nothing.clone(), nothing, id == 1).expect("a node");
    links.lead_to(id, cluster.local_address);
    Member { cluster, node, address, _folder: folder }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(POLL);
    }
}

fn three(links: &Arc<Links>) -> Vec<Member> {
    let members: Vec<Member> = (1..=3).map(|id| start(links, id)).collect();
    until("node 1 leads", || members[0].cluster.holds_lease());
    let client = Client::new(9, secret(), None).expect("a client");
    for (id, member) in (2..).zip(&members[1..]) {
        let address = NodeAddress { address: member.address.clone(), ..NodeAddress::default() };
        run(async {
            let request = JoinRequest { node: id, address };
            let to = &members[0].address;
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
    let reason = || members[1].cluster.unready().unwrap_or_default();
    *members[0].node.lags.lock() = behind(6);
    until("node 2 is behind", || reason().contains("cluster.max_staleness_secs"));
    assert_eq!(members[2].cluster.unready(), None, "another one is");
    *members[0].node.lags.lock() = behind(5);
    until("node 2 is near enough", || reason().is_empty());
}

/// What a node answers to a request that was signed at this time.
async fn ask(address: &str, path: &str, signed_ms: u64, body: &str) -> (StatusCode, String) {
    let (node, time) = ("2", signed_ms.to_string());
    let signature = secret().sign(&signed_parts("POST", path, node, &time, body.as_bytes()));
    let request = reqwest::Client::new()
        .post(format!("http://{address}{path}"))
        .header(PROTOCOL_HEADER, PROTOCOL)
        .header(PROTOCOL_LEAST_HEADER, PROTOCOL_LEAST)
        .header(NODE_HEADER, node)
        .header(TIME_HEADER, time)
        .header(SIGNATURE_HEADER, signature)
        .body(body.to_owned());
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.unwrap_or_default())
}

#[test]
fn what_was_heard_before_is_not_heard_again() {
    let member = start(&Arc::default(), 1);
    until("it leads", || member.cluster.holds_lease());
    let address = member.cluster.local_address.to_string();
    run(async {
        let now = now_ms();
        let (status, text) = ask(&address, REMOVE, now, r#"{"node":7}"#).await;
        assert!(status == StatusCode::BAD_REQUEST && text.contains("node 7"), "{status} {text}");
        let again = ask(&address, REMOVE, now, r#"{"node":7}"#).await;
        assert_eq!(again, (StatusCode::UNAUTHORIZED, "this request was sent before".to_owned()));
        let changed = ask(&address, REMOVE, now, r#"{"node":8}"#).await;
        assert_eq!(changed.0, StatusCode::BAD_REQUEST, "another one");
        let age = SIGNATURE_AGE_MAX.as_millis() as u64 + 1000;
        for path in [REMOVE, RECORDS] {
            for signed_ms in [now - age, now + age] {
                let (status, text) = ask(&address, path, signed_ms, "").await;
                assert!(status == StatusCode::UNAUTHORIZED && text.contains("clocks"), "{status} {text}");
            }
        }
    });
}
