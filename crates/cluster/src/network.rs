//! Raft's messages as requests to other nodes.

use std::time::Duration;

use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{CallError, Client, To};
use crate::types::TypeConfig;

pub const APPEND: &str = "/v1/raft/append";
pub const VOTE: &str = "/v1/raft/vote";
pub const SNAPSHOT: &str = "/v1/raft/snapshot";

pub struct Network(pub Client);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, id: NodeId, node: &NodeAddress) -> Connection {
        Connection { client: self.0.clone(), id, address: node.address.clone() }
    }
}

pub struct Connection {
    client: Client,
    id: NodeId,
    address: String,
}

type CallResult<A, E = RaftError<NodeId>> = Result<A, RPCError<NodeId, NodeAddress, E>>;

impl Connection {
    async fn call<Q: Serialize, A: DeserializeOwned, E: std::error::Error>(
        &self,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> CallResult<A, E> {
        let to = To { node: self.id, address: &self.address };
        self.client.call(to, path, question, timeout).await.map_err(|error| match error {
            // Openraft waits a little before it tries an unreachable node again.
            CallError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::NoAnswer { .. } | CallError::Refused { .. } => {
                RPCError::Network(NetworkError::new(&error))
            }
        })
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> CallResult<AppendEntriesResponse<NodeId>> {
        self.call(APPEND, &request, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> CallResult<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>> {
        self.call(SNAPSHOT, &request, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> CallResult<VoteResponse<NodeId>> {
        self.call(VOTE, &request, option.hard_ttl()).await
    }
}
