//! Disks that lose a part of what they held, or come back as they were before.
//!
//! What the node's log had taken it does not take again, so the others' logs do not bring it back: the nodes have to compare
//! themselves. Until they have, the damaged node answers anything that agrees with itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_application::cluster::peers;
use hyperbytedb_domain::clock::millis_of;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::ClusterNodePort;
use hyperbytedb_memory_ports::{Disk, MemoryPorts, Undisturbed};
use parking_lot::Mutex;

use super::{Cluster, Member};
use crate::cluster::compare::compare_all;
use crate::cluster::history::Hints;
use crate::cluster::model::{Taken, watch};
use crate::cluster::network::Attached;
use crate::run::retried;

/// How long nodes may take to hear from all others.
const PROVEN_TIME: Duration = Duration::from_secs(20);
const COMPARISONS_MAX: usize = 5;
/// Time for the senders to get to where they were when the loss was noticed.
const BETWEEN_COMPARISONS: Duration = Duration::from_secs(2);

/// What a disk was like before.
pub struct Kept {
    node: NodeId,
    disk: Disk,
    taken: Taken,
}

/// A node that does not have what its log has taken.
pub struct Damaged {
    pub node: NodeId,
    /// What it has forgotten that it had it, or may not have any more though its log says so.
    forgotten: BTreeSet<Stamp>,
}

impl Damaged {
    pub fn has_forgotten(&self, stamp: &Stamp) -> bool {
        self.forgotten.contains(stamp)
    }

    /// What nobody has any more.
    pub fn gone(&self, is_there: impl Fn(&Stamp) -> bool) -> BTreeSet<Stamp> {
        self.forgotten.iter().filter(|stamp| !is_there(stamp)).copied().collect()
    }

    /// Whether a node need not have a record: its log says so no more, or nobody can send it.
    pub fn excuses(&self, node: NodeId, stamp: &Stamp) -> bool {
        self.forgotten.contains(stamp) && (node == self.node || stamp.origin == self.node)
    }
}

impl Cluster {
    /// A copy of a running node's disk, the log last: it has all that the rest lacks.
    pub(super) fn copy_of(&self, node: NodeId) -> Result<Option<(Disk, Taken)>, String> {
        let Some(process) = self.process(node) else { return Ok(None) };
        process.host.enter();
        retried(|| process.checkpoint()).map_err(|error| format!("a checkpoint before a copy: {error}"))?;
        let Some(Member { disk, taken, .. }) = self.members.get(&node) else { return Ok(None) };
        Ok(Some(process.flush.while_cursors_stand(|| {
            let engine = Arc::new(disk.engine.copy());
            self.scheduler.sleep(Duration::from_millis(1));
            let node = Arc::new(disk.node.copy());
            self.scheduler.sleep(Duration::from_millis(1));
            let taken = taken.lock().clone();
            (Disk { wal: Arc::new(disk.wal.copy()), node, engine }, taken)
        })))
    }

    pub(super) fn keep_disk(&mut self, node: usize) -> Result<(), String> {
        let Some(node) = self.nth(node) else { return Ok(()) };
        if let Some((disk, taken)) = self.copy_of(node)? {
            self.kept = Some(Kept { node, disk, taken });
        }
        self.look_for_finding()
    }

    /// A fault at a time: nothing else is lost, or was.
    fn may_be_damaged(&self) -> bool {
        self.lost.is_empty() && self.damaged.is_none()
    }

    pub(super) fn lose_part(&mut self, node: usize) -> Result<(), String> {
        let Some(node) = self.nth(node).filter(|_| self.may_be_damaged()) else { return Ok(()) };
        self.end(node, false)?;
        let Some(member) = self.members.get_mut(&node) else { return Ok(()) };
        if member.disk.engine.lose_part(&mut self.random) {
            member.is_torn = self.comparing.is_some();
            let is_whole_elsewhere = self.hints == Hints::default();
            // Those that know that they lack something have no say.
            self.may_be_outvoted |= !is_whole_elsewhere;
            // Else the others may have been given up, and get it from this disk alone.
            let records = member.taken.lock().records.clone();
            let forgotten = if is_whole_elsewhere { BTreeSet::new() } else { records };
            self.damaged = Some(Damaged { node, forgotten });
        }
        Ok(())
    }

    pub(super) fn restore_disk(&mut self) -> Result<(), String> {
        if !self.may_be_damaged() {
            return Ok(());
        }
        let Some(Kept { node, disk, taken }) = self.kept.take() else { return Ok(()) };
        if !self.members.contains_key(&node) {
            return Ok(());
        }
        self.end(node, false)?;
        self.wait_past_clock(node)?;
        let all = self.writes.lock().stamps().copied().collect::<BTreeSet<Stamp>>();
        let forgotten = all.difference(&taken.records).copied().collect();
        self.damaged = Some(Damaged { node, forgotten });
        let taken = Arc::new(Mutex::new(taken));
        watch(&disk.wal, &taken, &self.writes, &self.scheduler);
        if let Some(member) = self.members.get_mut(&node) {
            (member.disk, member.taken) = (disk, taken);
        }
        Ok(())
    }

    /// What a node writes anew is later than what it has forgotten, also where its clock was ahead of the time.
    fn wait_past_clock(&self, node: NodeId) -> Result<(), String> {
        let Some(Member { disk, seat, .. }) = self.members.get(&node) else { return Ok(()) };
        let ports = MemoryPorts::open(disk, Arc::new(Undisturbed)).outbound();
        let cursors = ports.local_state.cursors().map_err(|error| error.to_string())?;
        let promised = cursors.get(peers::PROMISED).copied().unwrap_or(0);
        let last = millis_of(ports.wal.last_clock().max(promised));
        self.scheduler.sleep(Duration::from_millis(2 + last.saturating_sub((seat.wall)())));
        Ok(())
    }

    /// Until each node knows what it has lost.
    fn wait_until_proven(&self) -> Result<(), String> {
        let is_proven = |member: &Member| {
            let process = member.process.as_ref();
            process.and_then(|process| process.node.as_ref()).is_some_and(|node| node.is_proven())
        };
        let are_proven = || self.members.values().all(is_proven);
        self.scheduler.wait_for(PROVEN_TIME, are_proven);
        self.look_for_finding()?;
        if are_proven() { Ok(()) } else { Err("some node has not heard from all others".to_owned()) }
    }

    /// No node says that it, or another one, has lost or missed anything.
    pub(super) fn no_losses(&self) -> Result<(), String> {
        let nodes = self.members.values().filter_map(|member| member.process.as_ref()?.node.clone());
        for node in nodes {
            let missed = node.lags().into_iter().find(|lag| lag.needs_repair).map(|lag| lag.node);
            if let Some(lacking) = node.needs_repair().then_some(node.id).or(missed) {
                return Err(format!("node {} says that node {lacking} has lost something", node.id));
            }
        }
        Ok(())
    }

    /// No node has still to compare itself.
    pub(super) fn all_compared(&self) -> Result<(), String> {
        self.no_losses()?;
        let mut nodes = self.members.values().filter_map(|member| member.process.as_ref()?.node.clone());
        let doubting = nodes.find(|node| node.replication.losses.is_in_doubt());
        doubting.map_or(Ok(()), |node| Err(format!("node {} has to compare itself with all", node.id)))
    }

    /// All nodes take what they lack. From then on each has what any has.
    pub(super) fn compare_if_damaged(&mut self) -> Result<(), String> {
        let damaged = self.damaged.take();
        if damaged.is_none() {
            self.no_losses()?;
        }
        if damaged.is_none() && self.all_compared().is_ok() {
            return Ok(());
        }
        self.wait_until_proven()?;
        let nodes: Vec<Attached> =
            self.members.keys().filter_map(|&node| self.network.attached(node)).collect();
        // As the nodes do it by themselves: as long as one says that something is missing.
        for _ in 0..COMPARISONS_MAX {
            compare_all(&nodes)?;
            self.look_for_finding()?;
            if self.all_compared().is_ok() {
                break;
            }
            self.scheduler.sleep(BETWEEN_COMPARISONS);
        }
        self.all_compared()?;
        let all: BTreeSet<Stamp> =
            self.members.values().flat_map(|member| member.taken.lock().records.clone()).collect();
        self.members.values().for_each(|member| member.taken.lock().compared.clone_from(&all));
        if let Some(damaged) = damaged {
            self.gone = damaged.gone(|stamp| all.contains(stamp));
        }
        Ok(())
    }
}
