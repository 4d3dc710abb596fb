//! What an import takes: databases, policies and shards; and which shards are through.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use hyperbytedb_influx_files::meta::{Database, Policy, User};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::error::Error;

/// InfluxDB's own figures about itself.
const INTERNAL: &str = "_internal";

pub struct Plan {
    pub databases: Vec<Database>,
    /// None where only one database is wanted.
    pub users: Vec<User>,
    pub shards: Vec<ShardPlan>,
}

pub struct ShardPlan {
    pub database: String,
    pub policy: String,
    pub id: u64,
    pub range: RangeInclusive<i64>,
}

impl Plan {
    pub fn of(
        source: &Source,
        database: Option<&str>,
        policy: Option<&str>,
        range: RangeInclusive<i64>,
    ) -> Result<Self, Error> {
        let mut databases = Vec::new();
        for found in &source.meta().databases {
            let wanted = database.map_or(found.name != INTERNAL, |name| name == found.name);
            if !wanted {
                continue;
            }
            if database.is_none() && !source.has_database(&found.name) {
                eprintln!("database {:?} has no points in this backup: left out", found.name);
                continue;
            }
            let mut found = found.clone();
            found.policies.retain(|found| policy.is_none_or(|name| name == found.name));
            if policy.is_some() {
                found.continuous_queries.clear();
            }
            databases.push(found);
        }
        let names =
            || source.meta().databases.iter().map(|found| found.name.as_str()).collect::<Vec<_>>().join(", ");
        if databases.is_empty() {
            return Err(Error::usage(match database {
                Some(name) => format!("no database {name:?}; there are: {}", names()),
                None => format!("no databases to import; there are: {}", names()),
            }));
        }
        if let Some(name) = policy.filter(|_| databases.iter().all(|found| found.policies.is_empty())) {
            return Err(Error::usage(format!("no retention policy {name:?}")));
        }
        let users = if database.is_none() { source.meta().users.clone() } else { Vec::new() };
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut shards = Vec::new();
        for database in &databases {
            for policy in &database.policies {
                let range = *range.start().max(&expiry(policy, now))..=*range.end();
                for group in policy.shard_groups.iter().filter(|group| !group.is_deleted()) {
                    let meets = group.start <= *range.end() && group.end > *range.start();
                    for shard in group.shards.iter().filter(|shard| meets && source.has_shard(shard.id)) {
                        shards.push(ShardPlan {
                            database: database.name.clone(),
                            policy: policy.name.clone(),
                            id: shard.id,
                            range: range.clone(),
                        });
                    }
                }
            }
        }
        Ok(Self { databases, users, shards })
    }
}

/// The time from which on a policy keeps points.
fn expiry(policy: &Policy, now: i64) -> i64 {
    if policy.duration == 0 { i64::MIN } else { now.saturating_sub(policy.duration) }
}

/// The shards whose points have all arrived.
#[derive(Debug, Default)]
pub struct Done {
    path: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stored: Stored,
    /// What earlier runs lost.
    lost_before: u64,
    /// Batches on their way by shard, and whether the shard has no more.
    running: HashMap<u64, (usize, bool)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    path: PathBuf,
    shards: BTreeSet<u64>,
    /// Lines that were refused and values that were left out.
    #[serde(default)]
    lost: u64,
}

impl Done {
    pub fn open(state: Option<PathBuf>, source: &Path) -> Result<Self, Error> {
        let mut stored = Stored { path: source.to_owned(), shards: BTreeSet::new(), lost: 0 };
        if let Some(path) = &state {
            match fs::read(path) {
                Ok(bytes) => {
                    let found: Option<Stored> = serde_json::from_slice(&bytes).ok();
                    stored = found.filter(|found| found.path == source).ok_or_else(|| {
                        let name = path.display();
                        Error::usage(format!(
                            "{name}: no state of an import of {}; give another --state",
                            source.display()
                        ))
                    })?;
                    eprintln!(
                        "leaving out {} shards that are through ({})",
                        stored.shards.len(),
                        path.display()
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::file(path)(error)),
            }
        }
        let inner = Inner { lost_before: stored.lost, stored, running: HashMap::new() };
        Ok(Self { path: state, inner: Mutex::new(inner) })
    }

    pub fn contains(&self, shard: u64) -> bool {
        self.inner.lock().stored.shards.contains(&shard)
    }

    /// Lines and values that did not arrive in earlier runs.
    pub fn lost_before(&self) -> u64 {
        self.inner.lock().lost_before
    }

    pub fn batch_sent(&self, shard: u64) {
        self.inner.lock().running.entry(shard).or_default().0 += 1;
    }

    /// `lost`: by this run so far.
    pub fn batch_through(&self, shard: u64, lost: u64) {
        let mut inner = self.inner.lock();
        inner.running.entry(shard).or_default().0 -= 1;
        self.note(&mut inner, shard, lost);
    }

    /// All batches of the shard are sent.
    pub fn shard_read(&self, shard: u64, lost: u64) {
        let mut inner = self.inner.lock();
        inner.running.entry(shard).or_default().1 = true;
        self.note(&mut inner, shard, lost);
    }

    fn note(&self, inner: &mut Inner, shard: u64, lost: u64) {
        if inner.running.get(&shard) != Some(&(0, true)) {
            return;
        }
        inner.stored.shards.insert(shard);
        inner.stored.lost = inner.lost_before + lost;
        let Some(path) = &self.path else { return };
        let new = path.with_added_extension("new");
        let saved = serde_json::to_vec(&inner.stored)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, path));
        // The import is worth more than its state.
        if let Err(error) = saved {
            eprintln!("{}: {error}", path.display());
        }
    }

    /// The import is through.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.path {
            Some(path) if path.exists() => fs::remove_file(path).map_err(Error::file(path)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_earlier_runs_did_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let open = || Done::open(Some(path.clone()), Path::new("influxdb")).unwrap();
        let first = open();
        first.batch_sent(1);
        first.shard_read(1, 2);
        assert!(!first.contains(1) && !path.exists(), "a batch is on its way");
        first.batch_through(1, 2);
        let second = open();
        assert!(second.contains(1) && !second.contains(2));
        second.shard_read(2, 1);
        let third = open();
        assert!(third.contains(1) && third.contains(2));
        assert_eq!(third.lost_before(), 3);
        assert!(Done::open(Some(path.clone()), Path::new("another")).is_err());
        third.finish().unwrap();
        assert!(!path.exists());
    }
}
