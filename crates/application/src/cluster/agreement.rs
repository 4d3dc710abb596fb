//! Commands on their way to all nodes.
//!
//! Whoever asks for a command waits until it has taken effect on this node, whichever node leads: then the next request
//! here sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::cluster::{NodeId, Proposal};
use hyperbytedb_domain::ports::{ConsensusPort, ProposalError};
use parking_lot::Mutex;

use crate::log::LogError;
use crate::log::committer::{Committer, Outcome};
use crate::waiting;

/// The proposals of this node that have not taken effect here yet.
#[derive(Default)]
pub struct Waiting(Mutex<HashMap<u64, Sender<Outcome>>>);

impl Waiting {
    fn enter(&self, number: u64) -> Receiver<Outcome> {
        let (sender, receiver) = bounded(1);
        self.0.lock().insert(number, sender);
        receiver
    }

    fn leave(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    /// Tells who waits how a proposal ended.
    pub fn settle(&self, number: u64, outcome: Outcome) {
        if let Some(sender) = self.0.lock().remove(&number) {
            // Whoever asked may have gone away.
            let _ = sender.send(outcome);
        }
    }
}

/// Proposes commands.
pub struct Agreement {
    node: NodeId,
    port: Arc<dyn ConsensusPort>,
    waiting: Arc<Waiting>,
    /// Proposals of an earlier process of this node have other numbers.
    next_number: AtomicU64,
    committer: std::sync::Weak<Committer>,
    timeout: Duration,
}

impl Agreement {
    pub fn new(
        node: NodeId,
        port: Arc<dyn ConsensusPort>,
        waiting: Arc<Waiting>,
        committer: &Arc<Committer>,
        timeout: Duration,
    ) -> Self {
        let next_number = AtomicU64::new(committer.clock().next());
        Self { node, port, waiting, next_number, committer: Arc::downgrade(committer), timeout }
    }

    /// Returns when the command has taken effect on this node.
    pub fn propose(&self, command: Command) -> Outcome {
        let committer = self.committer.upgrade().ok_or(LogError::Stopped)?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let outcome = self.waiting.enter(number);
        let clock = committer.clock().next();
        let proposed = self.port.propose(Proposal { node: self.node, number, clock, command });
        let answer = match proposed {
            Err(ProposalError::NotAgreed(error)) => Err(LogError::NotAgreed(error)),
            // Whatever the leader could say, this node will hear of it.
            Ok(()) | Err(ProposalError::Unknown(_)) => {
                match waiting::receive_until(&outcome, waiting::now() + self.timeout) {
                    Ok(outcome) => outcome,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        let reason = proposed.err().map_or_else(String::new, |error| format!(": {error}"));
                        Err(LogError::NotAgreed(format!(
                            "timeout: the cluster has not confirmed the change, which may still take effect{reason}"
                        )))
                    }
                }
            }
        };
        self.waiting.leave(number);
        answer
    }
}
