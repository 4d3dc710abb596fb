//! SLIMIT and SOFFSET.
//!
//! InfluxDB counts, shard by shard, the tag sets that a shard knows, whether or not they have points that the statement
//! selects. So they are listed first, over whole shards and with conditions on tags alone. The tags are those of the
//! outermost GROUP BY, also in a subquery.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateScan, Scan, ScanOutput, TagId};
use hyperbytedb_timeseriesql::ast::Expr;

use crate::budget::HeldPoints;
use crate::error::ExecError;
use crate::row::Series;
use crate::runtime::Runtime;
use crate::scan::column_reader::ColumnReader;
use crate::scan::predicate;
use crate::scan::shards::Shards;
use crate::scan::table_rows::SeriesFilter;
use crate::scan::tables::TableSource;
use crate::scope::{Grouping, Scope};

/// The values of the outermost GROUP BY tags.
type TagSet = Box<[Arc<str>]>;

/// The tag sets of one table that a SELECT may show.
#[derive(Debug)]
pub(crate) struct SeriesLimit {
    grouping: Grouping,
    /// For each tag of the outermost GROUP BY its name, and the table's tag if it has one.
    tags: Vec<(String, Option<TagId>)>,
    scan: Scan,
    shards: Shards,
    /// 0 admits none: SOFFSET alone leaves nothing.
    limit: usize,
    offset: usize,
    /// By shard.
    admitted: Option<HashMap<i128, HashSet<TagSet>>>,
    held: Option<HeldPoints>,
}

impl SeriesLimit {
    /// `None`: the SELECT has no limit on series.
    pub fn new(source: &TableSource, scope: &Scope, condition: Option<&Expr>) -> Option<Self> {
        if scope.slimit == 0 && scope.soffset == 0 {
            return None;
        }
        let table: &Table = &source.table;
        let names = scope.grouping.outer.iter().map(|&i| &scope.grouping.keys[i]);
        let tags: Vec<_> = names.map(|name| (name.clone(), table.tag(name))).collect();
        let shards = Shards::of(table);
        let scan = Scan {
            table: Arc::clone(&source.table),
            time: shards.whole(scope.range),
            filter: condition.and_then(|c| predicate::series_part(c, table)),
            shards: None,
            merge_duplicates: false,
            output: ScanOutput::Aggregates(AggregateScan {
                group_by: tags.iter().filter_map(|(_, tag)| *tag).collect(),
                window: Some(shards.windows()),
                ..AggregateScan::default()
            }),
        };
        let grouping = scope.grouping.clone();
        let (limit, offset) = (scope.slimit, scope.soffset);
        Some(Self { grouping, tags, scan, shards, limit, offset, admitted: None, held: None })
    }

    /// What InfluxDB sorts tag sets by: the keys that are there, then their values.
    fn order(&self, set: &TagSet) -> String {
        let present = || self.tags.iter().zip(set).filter(|(_, value)| !value.is_empty());
        let keys = present().map(|((key, _), _)| key.as_str());
        let values = present().map(|(_, value)| &**value);
        keys.chain(values).collect::<Vec<_>>().join("|")
    }

    fn tag_set(&self, columns: &[ColumnReader], row: usize) -> TagSet {
        let mut columns = columns.iter();
        let text = |(_, tag): &(String, Option<TagId>)| match tag.and_then(|_| columns.next()) {
            Some(column) => column.shared_text(row),
            None => Arc::from(""),
        };
        self.tags.iter().map(text).collect()
    }

    fn tag_set_of(&self, series: &Series) -> TagSet {
        self.grouping.outer.iter().map(|&i| Arc::clone(&series.tags[i])).collect()
    }

    /// The tag sets shown, if they are the same in all shards. [`Self::prepare`] comes first.
    pub fn is_uniform(&self) -> bool {
        let mut shards = self.admitted.iter().flat_map(HashMap::values);
        let first = shards.next();
        shards.all(|sets| Some(sets) == first)
    }

    /// The same for a group of all shards, where [`Self::is_uniform`].
    pub fn admits_everywhere(&self, series: &Series) -> bool {
        let set = self.tag_set_of(series);
        self.admitted.as_ref().is_none_or(|shards| shards.values().next().is_some_and(|s| s.contains(&set)))
    }
}

impl SeriesFilter for SeriesLimit {
    /// Lists the tag sets.
    fn prepare(&mut self, runtime: &Runtime<'_>) -> Result<(), ExecError> {
        if self.admitted.is_some() {
            return Ok(());
        }
        let mut known: HashMap<i128, Vec<TagSet>> = HashMap::new();
        let mut held = HeldPoints::none_of(&runtime.budget);
        let mut stream = runtime.scan(&self.scan)?;
        while let Some(batch) = runtime.next_batch(stream.as_mut())? {
            let columns = batch.columns().iter().map(ColumnReader::new).collect::<Result<Vec<_>, _>>()?;
            let Some((times, tags)) = columns.split_last() else { continue };
            held.add(batch.num_rows())?;
            for row in 0..batch.num_rows() {
                let shard = self.shards.index(times.integer(row));
                known.entry(shard).or_default().push(self.tag_set(tags, row));
            }
        }
        let choose = |(shard, mut sets): (i128, Vec<TagSet>)| {
            sets.sort_by_cached_key(|set| self.order(set));
            (shard, sets.into_iter().skip(self.offset).take(self.limit).collect())
        };
        self.admitted = Some(known.into_iter().map(choose).collect());
        self.held = Some(held);
        Ok(())
    }

    fn admits(&self, series: &Series, time: i64) -> bool {
        let Some(admitted) = &self.admitted else { return true };
        let Some(sets) = admitted.get(&self.shards.index(time)) else { return false };
        sets.contains(&self.tag_set_of(series))
    }
}
