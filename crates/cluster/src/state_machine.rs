//! The state machine of Raft is the catalogue, which the application keeps in its own way: here is the translation.

use std::io::Cursor;
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedChange, AgreedEntry, NodeAddress, NodeId};
use hyperbytedb_domain::ports::ClusterNodePort;
use openraft::storage::RaftStateMachine;
use openraft::{
    Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, RaftTypeConfig, Snapshot, SnapshotMeta,
    StoredMembership,
};
use parking_lot::Mutex;

use crate::types::{
    Failed, RaftStorageError, TypeConfig, corrupt, log_id_of, membership_of, position_of, storage_error,
    stored_membership_of,
};

/// Snapshots begin with it.
const VERSION: u8 = 1;

type Meta = SnapshotMeta<NodeId, NodeAddress>;
type StoredSnapshot = (Meta, Vec<u8>);

/// Cheap to clone.
#[derive(Clone)]
pub struct StateMachine {
    node: Arc<dyn ClusterNodePort>,
    /// The last snapshot that was made or came. It is small, and made again after a start.
    snapshot: Arc<Mutex<Option<StoredSnapshot>>>,
}

impl StateMachine {
    pub fn new(node: Arc<dyn ClusterNodePort>) -> Self {
        Self { node, snapshot: Arc::default() }
    }

    fn applied(&self) -> (Option<LogId<NodeId>>, StoredMembership<NodeId, NodeAddress>) {
        let state = &self.node.catalog().cluster;
        (state.applied.map(log_id_of), stored_membership_of(&state.membership))
    }

    /// Carries out one entry, on a thread that may block.
    async fn carry_out(&self, entry: Entry<TypeConfig>) -> Result<(), StorageError> {
        let node = self.node.clone();
        blocking(move || {
            let position = position_of(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {
                    node.agreed(AgreedEntry { position, change: AgreedChange::Nothing }, 0, None)
                }
                EntryPayload::Normal(proposal) => {
                    let proposer = Some((proposal.node, proposal.number));
                    let change = AgreedChange::Command(proposal.command);
                    node.agreed(AgreedEntry { position, change }, proposal.clock, proposer)
                }
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(entry.log_id), membership);
                    let change = AgreedChange::Membership(membership_of(&stored));
                    node.agreed(AgreedEntry { position, change }, 0, None)
                }
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StorageError::failed("carry out what the cluster agreed on", error)))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<NodeId>>, StoredMembership<NodeId, NodeAddress>), RaftStorageError> {
        Ok(self.applied())
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, RaftStorageError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.carry_out(entry).await.map_err(|error| storage_error(Failed::WriteState, &error))?;
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, RaftStorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<<TypeConfig as RaftTypeConfig>::SnapshotData>,
    ) -> Result<(), RaftStorageError> {
        let failed = |error: StorageError| storage_error(Failed::WriteState, &error);
        let bytes = snapshot.into_inner();
        let mut catalog = decode(&bytes).map_err(failed)?;
        catalog.cluster.membership = membership_of(&meta.last_membership);
        if let Some(log_id) = meta.last_log_id {
            let change = AgreedChange::Catalog(Box::new(catalog));
            let (node, entry) = (self.node.clone(), AgreedEntry { position: position_of(log_id), change });
            blocking(move || node.agreed(entry, 0, None)).await.map_err(failed)?;
        }
        *self.snapshot.lock() = Some((meta.clone(), bytes));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, RaftStorageError> {
        let snapshot = self.snapshot.lock().clone();
        Ok(snapshot.map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, RaftStorageError> {
        let catalog = self.node.catalog();
        let (last_log_id, last_membership) =
            (catalog.cluster.applied.map(log_id_of), stored_membership_of(&catalog.cluster.membership));
        let snapshot_id =
            last_log_id.map_or_else(|| "0".to_owned(), |id| format!("{}-{}", id.leader_id, id.index));
        let bytes = encode(&catalog).map_err(|error| storage_error(Failed::ReadState, &error))?;
        let meta = Meta { last_log_id, last_membership, snapshot_id };
        *self.snapshot.lock() = Some((meta.clone(), bytes.clone()));
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

fn encode(catalog: &Catalog) -> Result<Vec<u8>, StorageError> {
    postcard::to_extend(catalog, vec![VERSION]).map_err(|error| corrupt("a snapshot of the catalogue", error))
}

fn decode(bytes: &[u8]) -> Result<Catalog, StorageError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| corrupt("a snapshot of the catalogue", error))
        }
        _ => Err(corrupt("a snapshot of the catalogue", "its version is unknown")),
    }
}
