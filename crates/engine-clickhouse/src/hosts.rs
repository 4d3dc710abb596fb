//! The servers, which of them answer, and which rows they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyperbytedb_domain::SeriesId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// One of [`Hosts`].
pub(crate) type HostId = usize;

struct Host {
    /// Without a slash at the end.
    url: String,
    /// It did not answer when it was asked last.
    is_down: AtomicBool,
    /// It has not said yet whose tables it holds.
    is_stranger: AtomicBool,
    /// Wakes those who wait for an answer of a server that has stopped answering.
    lost: Notify,
    process: Mutex<Process>,
}

/// What is known of a server's process.
#[derive(Default)]
struct Process {
    /// Tells it from the process before; `None`: it may be another one since it was asked.
    name: Option<Arc<str>>,
    /// How often it has not answered.
    doubts: u64,
}

pub(crate) struct Hosts {
    hosts: Vec<Host>,
    turn: AtomicUsize,
}

impl Hosts {
    pub(crate) fn new(urls: &[String]) -> Self {
        let host = |url: &String| Host {
            url: url.trim_end_matches('/').to_owned(),
            is_down: AtomicBool::default(),
            is_stranger: AtomicBool::default(),
            lost: Notify::new(),
            process: Mutex::default(),
        };
        Self { hosts: urls.iter().map(host).collect(), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> std::ops::Range<HostId> {
        0..self.hosts.len()
    }

    pub(crate) fn url(&self, host: HostId) -> &str {
        &self.hosts[host].url
    }

    pub(crate) fn set_up(&self, host: HostId) {
        self.hosts[host].is_down.store(false, Ordering::Relaxed);
    }

    pub(crate) fn set_down(&self, host: HostId) {
        let mut process = self.hosts[host].process.lock();
        process.name = None;
        process.doubts += 1;
        self.hosts[host].is_down.store(true, Ordering::Relaxed);
    }

    /// Whether it did not answer when it was asked last.
    pub(crate) fn is_down(&self, host: HostId) -> bool {
        self.hosts[host].is_down.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stranger(&self, host: HostId, is_stranger: bool) {
        self.hosts[host].is_stranger.store(is_stranger, Ordering::Relaxed);
    }

    pub(crate) fn is_stranger(&self, host: HostId) -> bool {
        self.hosts[host].is_stranger.load(Ordering::Relaxed)
    }

    /// Ends when the server is given up.
    pub(crate) fn lost(&self, host: HostId) -> Notified<'_> {
        self.hosts[host].lost.notified()
    }

    /// Nobody waits for the server's answers any longer.
    pub(crate) fn give_up(&self, host: HostId) {
        self.hosts[host].lost.notify_waiters();
    }

    /// The name of the server's process, or else the doubts with which one that is found out is to be noted.
    pub(crate) fn process(&self, host: HostId) -> Result<Arc<str>, u64> {
        let process = self.hosts[host].process.lock();
        process.name.clone().ok_or(process.doubts)
    }

    /// Notes the name, unless the server has not answered somebody meanwhile.
    pub(crate) fn note_process(&self, host: HostId, name: &Arc<str>, doubts: u64) {
        let mut process = self.hosts[host].process.lock();
        if process.doubts == doubts {
            process.name = Some(name.clone());
        }
    }

    /// In the order in which they are to be asked: by turns, those that did not answer last.
    pub(crate) fn in_turn(&self, of: &[HostId]) -> Vec<HostId> {
        let mut hosts = of.to_vec();
        if !hosts.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            hosts.rotate_left(turn % of.len());
        }
        hosts.sort_by_key(|host| self.is_down(*host));
        hosts
    }
}

/// Which servers hold which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The servers of each shard; all of them have the same rows.
    pub(crate) shards: Vec<Vec<HostId>>,
    /// The shard of each slot, as ClickHouse's Distributed tables have it: a series is in slot `sid` modulo their number.
    pub(crate) slots: Vec<usize>,
}

impl Layout {
    pub(crate) fn of_one_server() -> Self {
        Self { shards: vec![vec![0]], slots: vec![0] }
    }

    pub(crate) fn shard_of(&self, series: SeriesId) -> usize {
        self.slots[(series.0 % self.slots.len() as u64) as usize]
    }

    /// The shard that has all of these series, if there is one.
    pub(crate) fn shard_of_all(&self, series: &[SeriesId]) -> Option<usize> {
        let shard = self.shard_of(*series.first()?);
        series.iter().all(|id| self.shard_of(*id) == shard).then_some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_do_not_answer_are_asked_last() {
        let hosts = Hosts::new(&["http://a/".into(), "http://b".into(), "http://c".into()]);
        assert_eq!(hosts.url(0), "http://a");
        hosts.set_down(1);
        for _ in 0..3 {
            assert_eq!(hosts.in_turn(&[0, 1, 2])[2], 1);
        }
        hosts.set_up(1);
        let firsts: Vec<HostId> = (0..3).map(|_| hosts.in_turn(&[0, 1, 2])[0]).collect();
        assert!([0, 1, 2].iter().all(|host| firsts.contains(host)), "{firsts:?}");
    }

    /// Between two answers that did not come it is one process.
    #[test]
    fn a_process_is_noted_as_long_as_it_answers() {
        let hosts = Hosts::new(&["http://a".into()]);
        let name: Arc<str> = "1".into();
        let doubts = hosts.process(0).unwrap_err();
        hosts.note_process(0, &name, doubts);
        assert_eq!(hosts.process(0), Ok(name.clone()));
        hosts.set_down(0);
        hosts.set_up(0);
        assert!(hosts.process(0).is_err());
        // Asked before it did not answer.
        hosts.note_process(0, &name, doubts);
        assert!(hosts.process(0).is_err());
    }

    #[test]
    fn series_have_one_shard() {
        let layout = Layout { shards: vec![vec![0], vec![1]], slots: vec![0, 0, 1] };
        let shards: Vec<usize> = (0..6).map(|id| layout.shard_of(SeriesId(id))).collect();
        assert_eq!(shards, [0, 0, 1, 0, 0, 1]);
        assert_eq!(layout.shard_of_all(&[SeriesId(0), SeriesId(4)]), Some(0));
        assert_eq!(layout.shard_of_all(&[SeriesId(0), SeriesId(5)]), None);
    }
}
