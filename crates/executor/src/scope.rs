//! The bounds and groupings under which one SELECT of a nest runs: its own, joined with those of the statements
//! around it.

use std::cmp::Ordering;

use hyperbytedb_domain::TimeRange;
use hyperbytedb_functions::{Interval, Windows};
use hyperbytedb_planner::PreparedSelect;
use hyperbytedb_timeseriesql::ast::Fill;
use jiff::tz::TimeZone;

use crate::row::Series;

/// The tags that group rows. A subquery groups by its own tags and by those of the statements around it, but its
/// rows are ordered by the tags of the outermost statement alone: these make up its outer group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grouping {
    /// Sorted, each once.
    pub keys: Vec<String>,
    /// Positions in `keys` of the outermost statement's tags, in their order.
    pub outer: Vec<usize>,
}

impl Grouping {
    fn outermost(keys: &[String]) -> Self {
        let keys = sorted(keys.to_vec());
        let outer = (0..keys.len()).collect();
        Self { keys, outer }
    }

    fn inner(&self, own: &[String]) -> Self {
        let keys = sorted([own, &self.keys].concat());
        let outer = self.outer.iter().filter_map(|&i| keys.binary_search(&self.keys[i]).ok()).collect();
        Self { keys, outer }
    }

    /// Every group is an outer group of its own.
    pub fn is_flat(&self) -> bool {
        self.outer.len() == self.keys.len()
    }

    pub fn position(&self, key: &str) -> Option<usize> {
        self.keys.binary_search_by(|k| k.as_str().cmp(key)).ok()
    }

    pub fn compare_outer_groups(&self, a: &Series, b: &Series) -> Ordering {
        if self.is_flat() {
            return a.cmp(b);
        }
        a.name.cmp(&b.name).then_with(|| {
            self.outer
                .iter()
                .map(|&i| a.tags[i].cmp(&b.tags[i]))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// How one statement of the nest runs.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub grouping: Grouping,
    pub range: TimeRange,
    pub interval: Option<Interval>,
    pub zone: Option<TimeZone>,
    pub fill: Fill,
    pub ascending: bool,
    pub limit: usize,
    pub offset: usize,
    pub slimit: usize,
    pub soffset: usize,
}

impl Scope {
    pub fn outermost(select: &PreparedSelect) -> Self {
        // Nulls are not written, so INTO needs no windows filled with them.
        let fill = if select.into.is_some() && select.fill == Fill::Null { Fill::None } else { select.fill };
        Self {
            grouping: Grouping::outermost(&select.dimensions),
            range: select.time.range,
            interval: select.interval,
            zone: select.zone.clone(),
            fill,
            ascending: select.ascending,
            limit: select.limit,
            offset: select.offset,
            slimit: select.slimit,
            soffset: select.soffset,
        }
    }

    /// That of a subquery within this one.
    pub fn inner(&self, select: &PreparedSelect) -> Self {
        let own = select.time.range;
        Self {
            grouping: self.grouping.inner(&select.dimensions),
            range: TimeRange { min: own.min.max(self.range.min), max: own.max.min(self.range.max) },
            interval: select.interval.or(self.interval),
            zone: select.zone.clone(),
            // The statement around it would skip the nulls.
            fill: if select.fill == Fill::Null { Fill::None } else { select.fill },
            ascending: self.ascending,
            limit: select.limit,
            offset: select.offset,
            slimit: select.slimit + self.slimit,
            soffset: select.soffset + self.soffset,
        }
    }

    /// The same scope reading one window more at the end where it begins. Like InfluxDB's, an unbounded start wraps
    /// around, so that nothing is read.
    pub fn with_leading_window(&self) -> Self {
        let mut scope = self.clone();
        if let Some(interval) = self.interval {
            if self.ascending {
                scope.range.min = self.range.min.wrapping_sub(interval.every);
            } else {
                scope.range.max = self.range.max.wrapping_add(interval.every);
            }
        }
        scope
    }

    pub fn windows(&self) -> Windows {
        Windows { interval: self.interval, range: self.range, zone: self.zone.clone() }
    }

    /// Orders as the statement does.
    pub fn directed(&self, ordering: Ordering) -> Ordering {
        if self.ascending { ordering } else { ordering.reverse() }
    }
}
