//! A node that takes no writes any more: it is drained, for a stop or for ever, or the others have taken it out.

use std::time::{Duration, Instant};

use hyperbytedb_domain::ports::PeerLag;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::{Condvar, Mutex};

use super::replication::Replication;
use crate::waiting;

/// How often a drain looks whether it is done.
const POLL: Duration = Duration::from_millis(20);
/// A node that cannot be reached for as long, while this one is drained, is away.
const AWAY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    /// Under way.
    writes: usize,
    is_draining: bool,
    is_removed: bool,
}

/// Lets writes in, and knows which have not ended.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

/// A write under way.
pub struct Entered<'a>(&'a Gate);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.state.lock().writes -= 1;
        self.0.left.notify_all();
    }
}

impl Gate {
    /// An error says why writes are not let in.
    pub fn enter(&self) -> Result<Entered<'_>, String> {
        let mut state = self.state.lock();
        if state.is_removed {
            return Err("this node was removed from the cluster: write to another one".to_owned());
        }
        if state.is_draining {
            return Err("this node is being taken out of the cluster: write to another one".to_owned());
        }
        state.writes += 1;
        Ok(Entered(self))
    }

    /// Lets nobody in any more, and returns when those who were in have left.
    fn close(&self, until: Instant) -> Result<(), String> {
        let mut state = self.state.lock();
        state.is_draining = true;
        while state.writes > 0 {
            if waiting::now() >= until {
                return Err(format!("{} writes are still under way", state.writes));
            }
            waiting::wait_until(&self.left, &mut state, until);
        }
        Ok(())
    }

    fn open(&self) {
        self.state.lock().is_draining = false;
    }

    pub fn is_draining(&self) -> bool {
        self.state.lock().is_draining
    }

    /// Of the cluster: nobody is let in any more.
    pub fn remove(&self) {
        self.state.lock().is_removed = true;
    }

    pub fn is_removed(&self) -> bool {
        self.state.lock().is_removed
    }
}

/// Who lacks something of what a node had when it was asked.
struct Lacking {
    /// In words.
    who: Vec<String>,
    are_away: bool,
    /// Nodes that have everything, this one counted.
    having: usize,
}

impl Replication {
    /// Takes no writes any more, and returns when all others have everything; takes them again when that fails.
    pub fn drain(&self, timeout: Duration) -> Result<(), String> {
        self.close_and_wait(timeout, |_, _| false).map(drop)
    }

    /// The same for a node that will be back: it is enough that all members that can be reached have everything, and that they
    /// are, with this one, a majority. Says what the others lack.
    pub fn drain_for_stop(&self, timeout: Duration) -> Result<Option<String>, String> {
        let begun = waiting::now();
        let members = self.others().count() + 1;
        self.close_and_wait(timeout, |lacking, is_last| {
            let is_sure = is_last || waiting::now() >= begun + AWAY;
            is_sure && lacking.are_away && lacking.having > members / 2
        })
    }

    fn close_and_wait(
        &self,
        timeout: Duration,
        is_enough: impl Fn(&Lacking, bool) -> bool,
    ) -> Result<Option<String>, String> {
        let until = waiting::now() + timeout;
        let closed = self.gate.close(until);
        // What comes from the others goes on coming, and is theirs already.
        let drained = closed.and_then(|()| self.wait_for_others(self.flush.applied(), until, is_enough));
        if drained.is_err() {
            self.gate.open();
        }
        drained
    }

    /// Returns when the others have what this node had when it was asked, or enough of them.
    fn wait_for_others(
        &self,
        applied: Sequence,
        until: Instant,
        is_enough: impl Fn(&Lacking, bool) -> bool,
    ) -> Result<Option<String>, String> {
        loop {
            let lacking = self.lacking(applied);
            if lacking.who.is_empty() {
                return Ok(None);
            }
            let is_last = waiting::now() >= until;
            let who = lacking.who.join(", ");
            if is_enough(&lacking, is_last) {
                return Ok(Some(format!("{who}: away now, it gets them when both are back")));
            }
            if is_last {
                return Err(format!("the others have not got everything: {who}"));
            }
            waiting::sleep(POLL);
        }
    }

    fn lacking(&self, applied: Sequence) -> Lacking {
        let mut lacking = Lacking { who: Vec::new(), are_away: true, having: 1 };
        for PeerLag { node, position, needs_repair, .. } in self.lags() {
            match applied.saturating_sub(position) {
                0 if !needs_repair => {
                    lacking.having += 1;
                    continue;
                }
                0 => lacking.who.push(format!("node {node} has still to compare what it missed")),
                lacks => lacking.who.push(format!("node {node} lacks {lacks} records")),
            }
            lacking.are_away &= self.is_away(node);
        }
        lacking
    }
}
