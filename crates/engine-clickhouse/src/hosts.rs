//! The servers, which of them answer, and which rows they have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_domain::SeriesId;
use parking_lot::Mutex;

/// How long a server that did not answer is asked last.
const DOWN_FOR: Duration = Duration::from_secs(5);

/// One of [`Hosts`].
pub(crate) type HostId = usize;

pub(crate) struct Host {
    /// Without a slash at the end.
    pub(crate) url: String,
    down_until: Mutex<Option<Instant>>,
}

pub(crate) struct Hosts {
    hosts: Vec<Host>,
    turn: AtomicUsize,
}

impl Hosts {
    pub(crate) fn new(urls: &[String]) -> Self {
        let host =
            |url: &String| Host { url: url.trim_end_matches('/').to_owned(), down_until: Mutex::default() };
        Self { hosts: urls.iter().map(host).collect(), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> std::ops::Range<HostId> {
        0..self.hosts.len()
    }

    pub(crate) fn url(&self, host: HostId) -> &str {
        &self.hosts[host].url
    }

    pub(crate) fn set_up(&self, host: HostId) {
        *self.hosts[host].down_until.lock() = None;
    }

    pub(crate) fn set_down(&self, host: HostId) {
        *self.hosts[host].down_until.lock() = Some(Instant::now() + DOWN_FOR);
    }

    /// Whether it did not answer when it was asked last.
    pub(crate) fn is_suspect(&self, host: HostId) -> bool {
        self.hosts[host].down_until.lock().is_some()
    }

    /// In the order in which they are to be asked: by turns, those that did not answer last.
    pub(crate) fn in_turn(&self, of: &[HostId]) -> Vec<HostId> {
        let mut hosts = of.to_vec();
        if !hosts.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            hosts.rotate_left(turn % of.len());
        }
        let now = Instant::now();
        hosts.sort_by_key(|host| self.hosts[*host].down_until.lock().is_some_and(|until| until > now));
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

    #[test]
    fn series_have_one_shard() {
        let layout = Layout { shards: vec![vec![0], vec![1]], slots: vec![0, 0, 1] };
        let shards: Vec<usize> = (0..6).map(|id| layout.shard_of(SeriesId(id))).collect();
        assert_eq!(shards, [0, 0, 1, 0, 0, 1]);
        assert_eq!(layout.shard_of_all(&[SeriesId(0), SeriesId(4)]), Some(0));
        assert_eq!(layout.shard_of_all(&[SeriesId(0), SeriesId(5)]), None);
    }
}
