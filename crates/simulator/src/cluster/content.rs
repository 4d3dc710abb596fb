//! What a log comes to: its records carried out one after the other.
//!
//! A value that loses is not logged, so of a node's own log the last value stays, also of those taken by comparing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use hyperbytedb_domain::Tags;
use hyperbytedb_domain::catalog::{Catalog, TableId};
use hyperbytedb_domain::wal::WriteEntry;

use super::agreement::Agreed;
use crate::model::{Place, Points};

/// A line of a body.
#[derive(Debug, Clone)]
pub struct Row {
    pub measurement: String,
    pub tags: Tags,
    pub time: i64,
    /// Values as line protocol has them.
    pub fields: BTreeMap<String, String>,
}

/// What a write put where.
#[derive(Debug)]
pub struct Content {
    pub tables: HashMap<String, TableId>,
    pub shards: Vec<u64>,
    pub rows: Vec<Row>,
}

/// What a log has taken, in its order.
#[derive(Debug, Clone)]
pub enum Logged {
    Write(Arc<Content>),
    Agreed(u64),
}

impl Content {
    pub fn of(write: &WriteEntry) -> Result<Self, String> {
        let body = String::from_utf8_lossy(&write.body);
        let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let rows =
            lines.map(|line| Row::parse(line).ok_or_else(|| format!("what is logged is no point: {line}")));
        Ok(Self {
            tables: write.tables.iter().map(|table| (table.measurement.to_string(), table.table)).collect(),
            shards: write.shards.clone(),
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    /// Where a row is, if it still can be somewhere.
    pub fn place_of(&self, row: &Row, seen: &Seen<'_>) -> Option<(TableId, Place)> {
        let table = self.tables.get(&row.measurement)?;
        Some((*table, seen.place_of(*table, row.time, &self.shards)?))
    }
}

impl Row {
    /// None of the names and values has a space, a comma or an escape.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (series, fields, time) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let pair = |text: &str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (measurement, tags) = series.split_once(',').unwrap_or((series, ""));
        let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(pair).collect::<Option<_>>()?;
        let fields = fields.split(',').map(pair).collect::<Option<_>>()?;
        Some(Self { measurement: measurement.to_owned(), tags: Tags::new(tags), time, fields })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{} {} {}", self.tags.series_key(&self.measurement), fields.join(","), self.time)
    }
}

/// What a node that is looked at has carried out, and its time of day.
pub struct Seen<'a> {
    pub agreed: &'a [Agreed],
    pub catalog: &'a Catalog,
    pub now: i64,
}

impl Seen<'_> {
    /// The place of a table's row in one of these shard groups; table and shard group may be gone, and the row past its policy.
    fn place_of(&self, table: TableId, time: i64, shards: &[u64]) -> Option<Place> {
        let table = self.catalog.table_by_id(table)?;
        let policy = self.catalog.policy_of(table)?;
        let mut groups = policy.shard_groups.values();
        groups.find(|group| group.contains(time) && shards.contains(&group.id))?;
        let place =
            (table.database.to_string(), table.retention_policy.to_string(), table.measurement.to_string());
        (time >= policy.visible_from(self.now)).then_some(place)
    }
}

/// The points that a log leaves. What was in a shard group that is gone comes late, too, and is nowhere then.
pub fn left_by(log: &[Logged], seen: &Seen<'_>) -> BTreeMap<Place, Points> {
    let mut tables: BTreeMap<(TableId, Place), Points> = BTreeMap::new();
    for logged in log {
        match logged {
            Logged::Write(content) => {
                for row in &content.rows {
                    let Some(place) = content.place_of(row, seen) else { continue };
                    let points = tables.entry(place).or_default();
                    let fields = points.entry((row.tags.clone(), row.time)).or_default();
                    fields.extend(row.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
            }
            Logged::Agreed(index) => {
                let entry = seen.agreed.get((*index as usize).saturating_sub(1));
                if let Some(scope) = entry.and_then(|agreed| agreed.deletes.as_ref()) {
                    for ((table, _), points) in &mut tables {
                        points.retain(|(tags, time), _| !scope.covers(*table, tags, *time));
                    }
                }
            }
        }
    }
    let left = tables.into_iter().filter(|(_, points)| !points.is_empty());
    left.map(|((_, place), points)| (place, points)).collect()
}
