//! The end of a history: nothing fails any more, and soon all nodes have everything, and answer the same.

use std::collections::BTreeSet;
use std::time::Duration;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::cluster::{Consistency, NodeId};
use hyperbytedb_domain::ports::RepairPort;

use super::Cluster;
use super::checks::{Looked, are_equal};
use crate::cluster::network::Weather;
use crate::cluster::promises::Promises;
use crate::run::retried;
use crate::scheduler::Faults;

/// How long a cluster may take until all have everything, when nothing fails any more.
const QUIET_TIME: Duration = Duration::from_secs(60);
const LOOK_TIME: Duration = Duration::from_millis(500);
/// The same where nodes find out by comparing themselves: after a run that failed they rest four times as long as it took.
const COMPARED_TIME: Duration = Duration::from_secs(200);
const LOOK_TIME_COMPARED: Duration = Duration::from_secs(2);
/// Nothing is on its way any longer.
const DELIVERED_TIME: Duration = Duration::from_secs(5);

impl Cluster {
    /// Nothing fails any more. Soon all nodes have everything, and answer the same.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.network.heal();
        self.network.set_weather(Weather::default());
        for power in [true, false] {
            self.start_all()?;
            self.scheduler.begin(self.random.number(), Faults::default(), false);
            if self.comparing.is_some() {
                self.wait_until_same()?;
            } else {
                self.wait_until(QUIET_TIME, LOOK_TIME, |cluster| Ok(cluster.missing()))?;
                self.compare_if_damaged()?;
            }
            self.check_equal()?;
            if self.computing.is_some() {
                self.settle_computing()?;
                // Meanwhile points have expired.
                self.settled = None;
            }
            self.rest()?;
            self.check_equal()?;
            let ids: Vec<NodeId> = self.members.keys().copied().collect();
            ids.into_iter().try_for_each(|id| self.end(id, power))?;
        }
        Ok(())
    }

    /// Looks now and then until nothing is wrong any more.
    pub(super) fn wait_until(
        &mut self,
        time: Duration,
        interval: Duration,
        wrong: impl Fn(&mut Self) -> Result<Option<String>, String>,
    ) -> Result<(), String> {
        let until = self.scheduler.elapsed() + time;
        while let Some(text) = wrong(self)? {
            if self.scheduler.elapsed() >= until {
                return Err(text);
            }
            self.scheduler.sleep(interval);
            self.look_for_finding()?;
            self.bury(false)?;
            self.start_all()?;
        }
        Ok(())
    }

    /// Who has not carried out everything that is agreed on.
    fn disagreeing(&self) -> Option<String> {
        let length = self.agreement.length();
        self.members.iter().find_map(|(id, member)| {
            let index = member.taken.lock().agreed_index;
            (index < length).then(|| format!("node {id} has {index} of {length} agreed entries"))
        })
    }

    /// What some node lacks still.
    fn missing(&self) -> Option<String> {
        if let Some(disagreeing) = self.disagreeing() {
            return Some(disagreeing);
        }
        let writes = self.writes.lock();
        for (id, member) in &self.members {
            let taken = member.taken.lock();
            let is_excused = |stamp: &Stamp| {
                let damaged = self.damaged.as_ref();
                self.gone.contains(stamp) || damaged.is_some_and(|damaged| damaged.excuses(*id, stamp))
            };
            let is_missing = |stamp: &&Stamp| {
                !self.lost.contains(&stamp.origin) && !taken.has(stamp) && !is_excused(stamp)
            };
            if let Some(stamp) = writes.stamps().find(is_missing) {
                return Some(format!("node {id} lacks {}", writes.describe(stamp)));
            }
        }
        // What was sent to some nodes before a disk was lost does not get to the others.
        let safe = self.safe();
        let lost = safe.iter().find(|stamp| !self.is_logged(stamp))?;
        Some(format!("lost, though answered at quorum: {}", writes.describe(lost)))
    }

    /// What a quorum had when it was answered.
    fn safe(&self) -> BTreeSet<Stamp> {
        let is_safe = |level: &Consistency| matches!(level, Consistency::Quorum | Consistency::All);
        self.confirmed.iter().filter(|(_, level)| is_safe(level)).map(|(stamp, _)| *stamp).collect()
    }

    /// Whether the log of some node that has lost no part has taken a record.
    fn is_logged(&self, stamp: &Stamp) -> bool {
        let mut whole = self.members.values().filter(|member| !member.is_torn);
        whole.any(|member| member.taken.lock().records.contains(stamp))
    }

    /// Until the nodes have found out by themselves what they lack.
    fn wait_until_same(&mut self) -> Result<(), String> {
        self.remove_lost();
        self.scheduler.sleep(DELIVERED_TIME);
        let knows_losses = !self.members.values().any(|member| member.is_torn);
        let is_asked = self.comparing.is_some_and(|comparing| comparing.interval.is_none());
        if knows_losses {
            self.wait_until(COMPARED_TIME, LOOK_TIME_COMPARED, Self::lacking)?;
        }
        if is_asked {
            self.compare_when_asked()?;
        }
        self.wait_until(COMPARED_TIME, LOOK_TIME_COMPARED, Self::differing)?;
        if let Some(damaged) = self.damaged.take() {
            self.gone = damaged.gone(|stamp| self.is_logged(stamp));
        }
        Ok(())
    }

    /// As `cluster repair` does.
    fn compare_when_asked(&mut self) -> Result<(), String> {
        for &id in self.members.keys() {
            if let Some(attached) = self.network.attached(id) {
                attached.repair.start();
            }
        }
        let is_at_it = |cluster: &mut Self| -> Result<Option<String>, String> {
            let ids = cluster.members.keys();
            let mut attached = ids.filter_map(|id| cluster.network.attached(*id));
            let at_it = attached.find(|attached| attached.repair.progress().is_running);
            Ok(at_it.map(|attached| {
                format!("node {} still compares: {:?}", attached.node.id, attached.repair.progress())
            }))
        };
        self.wait_until(COMPARED_TIME, LOOK_TIME_COMPARED, is_at_it)
    }

    /// What some node lacks still, or says that it does.
    fn lacking(&mut self) -> Result<Option<String>, String> {
        if let Some(disagreeing) = self.disagreeing().or_else(|| self.all_compared().err()) {
            return Ok(Some(disagreeing));
        }
        let looked = self.check_all()?;
        // Of a disk that is lost for ever, nobody knows what it had sent to some nodes only.
        let must_have = |stamp: &Stamp| !self.lost.contains(&stamp.origin) && self.must_have(stamp);
        Ok(self.promised(&looked, &BTreeSet::new(), must_have).err())
    }

    /// What of the nodes' points is not the same, or not what was promised.
    fn differing(&mut self) -> Result<Option<String>, String> {
        if let Some(disagreeing) = self.disagreeing().or_else(|| self.all_compared().err()) {
            return Ok(Some(disagreeing));
        }
        let looked = self.check_all()?;
        if let Err(text) = are_equal(&looked).and_then(|()| self.no_torn_series(&looked)) {
            return Ok(Some(text));
        }
        let kept = if self.may_be_outvoted { BTreeSet::new() } else { self.safe() };
        let must_have = |stamp: &Stamp| kept.contains(stamp) || self.must_have(stamp);
        Ok(self.promised(&looked, &kept, must_have).err())
    }

    fn promised(
        &self,
        looked: &[(NodeId, Looked)],
        kept: &BTreeSet<Stamp>,
        must_have: impl Fn(&Stamp) -> bool,
    ) -> Result<(), String> {
        let (writes, agreed) = (self.writes.lock(), self.agreement.up_to(self.agreement.length()));
        looked.iter().try_for_each(|(id, looked)| {
            let promises = Promises { writes: &writes, seen: self.seen(*id, looked, &agreed), kept };
            promises.hold(&looked.contents(), &must_have).map_err(|text| format!("node {id}: {text}"))
        })
    }

    /// Whether all nodes must have the points of a record in the end.
    fn must_have(&self, stamp: &Stamp) -> bool {
        let is_forgotten = || self.damaged.as_ref().is_some_and(|damaged| damaged.has_forgotten(stamp));
        let may_lack = || self.lost.contains(&stamp.origin) || self.gone.contains(stamp) || is_forgotten();
        self.is_logged(stamp) || !may_lack()
    }

    /// Everything flushed, merged and checkpointed.
    fn rest(&self) -> Result<(), String> {
        for (id, member) in &self.members {
            let Some(process) = &member.process else { continue };
            process.host.enter();
            for _ in 0..2 {
                let rest = || {
                    retried(|| process.flush_all())?;
                    retried(|| process.merge())?;
                    retried(|| process.checkpoint())
                };
                rest().map_err(|error| format!("node {id}: coming to rest failed: {error}"))?;
            }
        }
        Ok(())
    }
}
