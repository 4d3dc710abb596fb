//! What the rows of the servers come to.
//!
//! Each server is asked for its own rows. Servers of a shard that each get their rows from here have to have the same: where
//! they have not, the digest is like no other, so that whoever compares sees that something is wrong.

use std::collections::BTreeMap;
use std::thread;

use hyperbytedb_clickhouse_sql::{Select, digests};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};
use hyperbytedb_engine_common::answers;

use crate::engine::ClickHouseEngine;
use crate::hosts::HostId;

/// More rows than there are.
const UNLIKE_ANY: u64 = u64::MAX;

impl ClickHouseEngine {
    pub(crate) fn digests_of_shards(
        &self,
        table: &Table,
        rows: &RowSelection,
        merge_duplicates: bool,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        let connected = self.servers.connected()?;
        let layout = &connected.layout;
        let mut select = digests(table, self.servers.database.table(table.id), rows, merge_duplicates, by);
        self.see_confirmed(&mut select);
        let mut all = BTreeMap::new();
        for (shard, of_servers) in self.ask_servers(&layout.shards, &select, context)?.into_iter().enumerate()
        {
            let mut of_shard = agreed(of_servers);
            if matches!(by, DigestBy::Series(_)) {
                let strays = of_shard.values_mut().filter(|one| layout.shard_of(SeriesId(one.key)) != shard);
                strays.for_each(|one| one.rows = UNLIKE_ANY);
            }
            add(&mut all, of_shard);
        }
        Ok(all.into_values().collect())
    }

    /// By shard, what each of its servers has; where the servers keep each other's rows, what one of them has.
    fn ask_servers(
        &self,
        shards: &[Vec<HostId>],
        select: &Select,
        context: &QueryContext,
    ) -> Result<Vec<Vec<Vec<Digest>>>, EngineError> {
        let groups = |shard: &Vec<HostId>| match self.servers.options.replicated {
            true => vec![shard.clone()],
            false => shard.iter().map(|host| vec![*host]).collect(),
        };
        thread::scope(|scope| {
            let ask = |hosts: Vec<HostId>| scope.spawn(move || self.digests_of_one(&hosts, select, context));
            let asked: Vec<Vec<_>> =
                shards.iter().map(|shard| groups(shard).into_iter().map(ask).collect()).collect();
            let answer = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(EngineError::failed("comparing", "a thread panicked")))
            };
            asked.into_iter().map(|shard| shard.into_iter().map(answer).collect()).collect()
        })
    }

    fn digests_of_one(
        &self,
        hosts: &[HostId],
        select: &Select,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        let answer = self.collect(hosts, select.clone(), context);
        answers::digests(&answer.map_err(|failed| self.servers.error(failed, "comparing"))?)
    }
}

/// What servers have that should have the same.
fn agreed(of_servers: Vec<Vec<Digest>>) -> BTreeMap<u64, Digest> {
    let mut maps = of_servers.into_iter().map(by_key);
    let mut agreed = maps.next().unwrap_or_default();
    for other in maps {
        for (key, digest) in &mut agreed {
            if other.get(key) != Some(digest) {
                digest.rows = UNLIKE_ANY;
            }
        }
        for (key, digest) in other {
            agreed.entry(key).or_insert(Digest { rows: UNLIKE_ANY, ..digest });
        }
    }
    agreed
}

fn by_key(digests: Vec<Digest>) -> BTreeMap<u64, Digest> {
    digests.into_iter().map(|digest| (digest.key, digest)).collect()
}

fn add(all: &mut BTreeMap<u64, Digest>, of_shard: BTreeMap<u64, Digest>) {
    for (key, digest) in of_shard {
        let sum = all.entry(key).or_insert(Digest { key, rows: 0, hash: 0 });
        sum.rows = sum.rows.saturating_add(digest.rows);
        sum.hash = sum.hash.wrapping_add(digest.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: u64, rows: u64) -> Digest {
        Digest { key, rows, hash: rows * 7 }
    }

    #[test]
    fn servers_that_differ_are_like_nothing() {
        let same = agreed(vec![vec![digest(1, 5), digest(2, 6)]; 2]);
        assert_eq!(same.into_values().collect::<Vec<_>>(), [digest(1, 5), digest(2, 6)]);
        let differing = agreed(vec![vec![digest(1, 5), digest(2, 6)], vec![digest(1, 4), digest(3, 1)]]);
        assert_eq!(differing.len(), 3);
        assert!(differing.values().all(|digest| digest.rows == UNLIKE_ANY), "{differing:?}");
    }

    #[test]
    fn shards_add_up() {
        let mut all = BTreeMap::new();
        add(&mut all, by_key(vec![digest(1, 5)]));
        add(&mut all, by_key(vec![digest(1, 6), digest(2, 1)]));
        assert_eq!(all.into_values().collect::<Vec<_>>(), [digest(1, 11), digest(2, 1)]);
    }
}
