//! Making the target of a view equal to what its statement answers, over a range of windows.
//!
//! What is there already is not written again, so that a run that changes nothing leaves nothing behind: no records, no
//! dirty windows of views on the target. Points that the statement no longer answers are deleted; those that lost a
//! field are deleted and written again, because a write never takes a field away.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{Command, DeleteScope, Table};
use hyperbytedb_domain::ports::{WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate, TagId};
use hyperbytedb_domain::{CancelToken, FieldValue, QueryContext, StorageError, Tags, TimeRange, settings};
use hyperbytedb_line_protocol::PointPrinter;
use hyperbytedb_timeseriesql::ast::{Expr, Fill, Measurement, SelectStatement, Source, Target, Wildcard};
use thiserror::Error;

use crate::log::LogError;
use crate::statements::{IntoPoint, StatementError, StatementService};
use crate::windows::{Changes, StoredQuery, with_time};

/// Points of one write.
const WRITE_POINTS: usize = 10_000;
/// Deletes of one run. Where more would be needed, one takes all of the series, whose points are written again.
const DELETES_MAX: usize = 32;
/// Series that one delete names.
const DELETE_SERIES_MAX: usize = 256;
/// How often the schema may change before a delete is in the log.
const ATTEMPTS_MAX: usize = 16;

#[derive(Debug, Error)]
pub enum MirrorError {
    /// A statement that cannot be made over a range.
    #[error("{0}")]
    Statement(String),
    #[error("one window has more than {max} points ({})", settings::VIEWS_MAX_POINTS_PER_RUN)]
    TooManyPoints { max: usize },
    #[error(transparent)]
    Query(#[from] StatementError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Delete(#[from] LogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What runs a view's statement and changes its target.
pub struct Mirror<'a> {
    pub statements: &'a StatementService,
    /// Points of one run.
    pub max_points: usize,
}

type Fields = BTreeMap<String, FieldValue>;
/// By measurement and tags, then by time.
type Points = BTreeMap<Arc<str>, BTreeMap<SeriesKey, BTreeMap<i64, Fields>>>;

/// Tags, in the order of their text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeriesKey(Tags);

impl PartialOrd for SeriesKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeriesKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.iter().cmp(other.0.iter())
    }
}

impl Mirror<'_> {
    pub fn refresh(
        &self,
        view: &StoredQuery,
        range: &Range<i64>,
        context: &QueryContext,
    ) -> Result<Changes, MirrorError> {
        self.wait_for_removals(view, context)?;
        let select = view.over(range).map_err(MirrorError::Statement)?;
        // Windows without points have no points, whichever others there are.
        let wanted = self.read(view, &SelectStatement { fill: Fill::None, ..select }, context)?;
        let stored = self.read(view, &of_target(view, range)?, context)?;
        let difference = Difference::between(&wanted, &stored);
        self.delete(view, &difference.deletes, context)?;
        let written = self.write(view, &difference.writes)?;
        Ok(Changes { written, removed: difference.removed })
    }

    /// The windows may be dirty because of a delete that the engine has still to carry out.
    fn wait_for_removals(&self, view: &StoredQuery, context: &QueryContext) -> Result<(), MirrorError> {
        let catalog = self.statements.catalog.catalog();
        let reads = |table: &&Arc<Table>| {
            view.reads(&table.database, Some(&table.retention_policy), &table.measurement)
        };
        for table in catalog.tables().filter(reads) {
            self.statements.flush.wait_for_removals(table.id, context).map_err(LogError::Engine)?;
        }
        Ok(())
    }

    fn read(
        &self,
        view: &StoredQuery,
        select: &SelectStatement,
        context: &QueryContext,
    ) -> Result<Points, MirrorError> {
        let (mut points, mut count, max) = (Points::new(), 0, self.max_points);
        let cancel = CancelToken::default();
        let read = self.statements.points_of(select, &view.key.database, &cancel, &mut |batch| {
            context.check()?;
            count += batch.len();
            if count > max {
                cancel.cancel();
            }
            batch.into_iter().for_each(|point| insert(&mut points, point));
            Ok(())
        });
        if count > max {
            return Err(MirrorError::TooManyPoints { max });
        }
        read?;
        Ok(points)
    }

    fn delete(
        &self,
        view: &StoredQuery,
        deletes: &[Delete],
        context: &QueryContext,
    ) -> Result<(), MirrorError> {
        if deletes.is_empty() {
            return Ok(());
        }
        let (database, policy) = target_of(view);
        for _ in 0..ATTEMPTS_MAX {
            let catalog = self.statements.catalog.catalog();
            let scopes: Vec<DeleteScope> = deletes
                .iter()
                .filter_map(|delete| {
                    let table = catalog.table(&database, &policy, &delete.measurement)?;
                    Some(delete.scope(table))
                })
                .collect();
            match self.statements.commands.run(Command::DeletePoints { scopes }, context) {
                Err(LogError::Stale) => {}
                outcome => return Ok(outcome?),
            }
        }
        Err(LogError::Stale.into())
    }

    fn write(&self, view: &StoredQuery, writes: &[Write<'_>]) -> Result<u64, MirrorError> {
        let (database, retention_policy) = target_of(view);
        for batch in writes.chunks(WRITE_POINTS) {
            let mut body = String::new();
            for write in batch {
                let mut point = PointPrinter::begin(&mut body, write.measurement);
                write.tags.iter().for_each(|(key, value)| point.tag(key, value));
                write.fields.iter().for_each(|(key, value)| point.field(key, value));
                point.end(write.time);
            }
            // Who made the view was asked for its privileges then.
            let request = WriteRequest::lines(WriteSource::Server, &*database, &*retention_policy, body);
            self.statements.ingestion.write(request)?;
        }
        Ok(writes.len() as u64)
    }
}

/// Database and retention policy.
fn target_of(view: &StoredQuery) -> (String, String) {
    let target = view.targets.first();
    let database = target.map_or_else(|| view.key.database.clone(), |place| place.database.clone());
    (database, target.and_then(|place| place.retention_policy.clone()).unwrap_or_default())
}

/// The points of the target.
fn of_target(view: &StoredQuery, range: &Range<i64>) -> Result<SelectStatement, MirrorError> {
    let (database, policy) = target_of(view);
    let place = |name| Measurement {
        database: Some(database.clone()),
        retention_policy: Some(policy.clone()).filter(|policy| !policy.is_empty()),
        name,
    };
    let mut names: Vec<_> = view.targets.iter().map(|target| target.name.clone()).collect();
    names.dedup();
    let select = SelectStatement {
        fields: vec![hyperbytedb_timeseriesql::ast::Field {
            expr: Expr::Wildcard(Wildcard::Any),
            alias: None,
        }],
        target: Some(Target { database: Some(database.clone()), retention_policy: None, name: None }),
        sources: names.into_iter().map(|name| Source::Measurement(place(name))).collect(),
        condition: None,
        dimensions: vec![Expr::Wildcard(Wildcard::Any)],
        fill: Fill::Null,
        sort_fields: Vec::new(),
        limit: 0,
        offset: 0,
        slimit: 0,
        soffset: 0,
        time_zone: None,
    };
    with_time(&select, range.start, range.end).map_err(MirrorError::Statement)
}

/// As a write does: later fields win.
fn insert(points: &mut Points, point: IntoPoint) {
    if point.fields.is_empty() {
        return;
    }
    let series = points.entry(point.measurement).or_default().entry(SeriesKey(point.tags)).or_default();
    series.entry(point.time).or_default().extend(point.fields);
}

struct Write<'a> {
    measurement: &'a str,
    tags: &'a Tags,
    time: i64,
    fields: &'a Fields,
}

/// Points of some series of a measurement in a range of time; without series of all.
#[derive(Debug, PartialEq)]
struct Delete {
    measurement: Arc<str>,
    /// Both ends included.
    times: (i64, i64),
    series: Vec<Tags>,
}

/// What makes the stored points the wanted ones.
#[derive(Default)]
struct Difference<'a> {
    deletes: Vec<Delete>,
    writes: Vec<Write<'a>>,
    removed: u64,
}

impl<'a> Difference<'a> {
    fn between(wanted: &'a Points, stored: &Points) -> Self {
        let mut difference = Difference::default();
        let none = BTreeMap::new();
        for (measurement, stored_series) in stored {
            let wanted_series = wanted.get(measurement).unwrap_or(&none);
            difference.remove_stale(measurement, wanted_series, stored_series);
        }
        for (measurement, series) in wanted {
            for (tags, points) in series {
                let stored = stored.get(measurement).and_then(|series| series.get(tags));
                for (&time, fields) in points {
                    let is_there =
                        stored.and_then(|points| points.get(&time)).is_some_and(|s| same(s, fields));
                    if !is_there || difference.takes_away(measurement, &tags.0, time) {
                        difference.writes.push(Write { measurement, tags: &tags.0, time, fields });
                    }
                }
            }
        }
        difference
    }

    fn remove_stale(
        &mut self,
        measurement: &Arc<str>,
        wanted: &BTreeMap<SeriesKey, BTreeMap<i64, Fields>>,
        stored: &BTreeMap<SeriesKey, BTreeMap<i64, Fields>>,
    ) {
        // Runs of stale points without others between them, and the series that have them.
        let mut runs: BTreeMap<(i64, i64), Vec<Tags>> = BTreeMap::new();
        for (tags, points) in stored {
            let wanted = wanted.get(tags);
            let mut run: Option<(i64, i64)> = None;
            for (&time, fields) in points {
                let kept = wanted.and_then(|points| points.get(&time));
                self.removed += u64::from(kept.is_none());
                let is_stale = kept.is_none_or(|kept| fields.keys().any(|field| !kept.contains_key(field)));
                if is_stale {
                    run = Some((run.map_or(time, |(first, _)| first), time));
                } else if let Some(ended) = run.take() {
                    runs.entry(ended).or_default().push(tags.0.clone());
                }
            }
            if let Some(ended) = run {
                runs.entry(ended).or_default().push(tags.0.clone());
            }
        }
        if runs.len() > DELETES_MAX {
            let first = runs.keys().map(|run| run.0).min().unwrap_or(0);
            let last = runs.keys().map(|run| run.1).max().unwrap_or(0);
            let mut series: Vec<Tags> = Vec::new();
            for tags in runs.into_values().flatten() {
                if !series.contains(&tags) {
                    series.push(tags);
                }
            }
            runs = BTreeMap::from([((first, last), series)]);
        }
        for (times, mut series) in runs {
            if series.len() > DELETE_SERIES_MAX {
                series.clear();
            }
            self.deletes.push(Delete { measurement: measurement.clone(), times, series });
        }
    }

    /// Whether a delete is about this point.
    fn takes_away(&self, measurement: &str, tags: &Tags, time: i64) -> bool {
        self.deletes.iter().any(|delete| {
            *delete.measurement == *measurement
                && (delete.times.0..=delete.times.1).contains(&time)
                && (delete.series.is_empty() || delete.series.contains(tags))
        })
    }
}

impl Delete {
    fn scope(&self, table: &Table) -> DeleteScope {
        let of_series = |tags: &Tags| {
            let equals = |(id, key): (u32, &String)| Predicate::Compare {
                left: Operand::Tag(TagId(id)),
                op: CompareOp::Eq,
                right: Operand::Literal(FieldValue::String(tags.get(key).unwrap_or_default().into())),
            };
            Predicate::And((0..).zip(&table.tags).map(equals).collect())
        };
        let filter = match self.series.as_slice() {
            [] => None,
            _ if table.tags.is_empty() => None,
            [one] => Some(of_series(one)),
            all => Some(Predicate::Or(all.iter().map(of_series).collect())),
        };
        let time = TimeRange { min: self.times.0, max: self.times.1 };
        DeleteScope { table: table.id, version: table.version, time, filter }
    }
}

fn same(a: &Fields, b: &Fields) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a_key, a), (b_key, b))| a_key == b_key && same_value(a, b))
}

fn same_value(a: &FieldValue, b: &FieldValue) -> bool {
    match (a, b) {
        (FieldValue::Float(a), FieldValue::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host, a time, and fields.
    type Point<'a> = (&'a str, i64, &'a [(&'a str, f64)]);
    /// Deletes by their times and number of series; writes by host and time.
    type Summary = (Vec<(i64, i64, usize)>, Vec<(String, i64)>);

    fn points(of: &[Point<'_>]) -> Points {
        let mut points = Points::new();
        for (host, time, fields) in of {
            let tags = Tags::new(vec![("host".to_owned(), (*host).to_owned())]);
            let fields =
                fields.iter().map(|(key, value)| ((*key).to_owned(), FieldValue::Float(*value))).collect();
            insert(&mut points, IntoPoint { measurement: "m".into(), tags, time: *time, fields });
        }
        points
    }

    fn summary(wanted: &Points, stored: &Points) -> Summary {
        let difference = Difference::between(wanted, stored);
        let deletes = difference.deletes.iter().map(|d| (d.times.0, d.times.1, d.series.len())).collect();
        let host = |tags: &Tags| tags.get("host").unwrap_or_default().to_owned();
        (deletes, difference.writes.iter().map(|w| (host(w.tags), w.time)).collect())
    }

    #[test]
    fn only_what_differs_is_changed() {
        let stored = points(&[("a", 1, &[("v", 1.0)]), ("a", 2, &[("v", 2.0)]), ("b", 1, &[("v", 3.0)])]);
        assert_eq!(summary(&stored, &stored), (vec![], vec![]));
        let wanted = points(&[("a", 1, &[("v", 1.0)]), ("a", 2, &[("v", 5.0)]), ("b", 1, &[("v", 3.0)])]);
        assert_eq!(summary(&wanted, &stored), (vec![], vec![("a".to_owned(), 2)]));
    }

    #[test]
    fn what_is_gone_is_deleted_in_runs() {
        let point = |time| ("a", time, [("v", 1.0)].as_slice().to_vec());
        let all: Vec<_> = (0..6).map(point).collect();
        let of = |kept: &[i64]| {
            let kept: Vec<_> =
                all.iter().filter(|p| kept.contains(&p.1)).map(|p| (p.0, p.1, &*p.2)).collect();
            points(&kept)
        };
        let stored = of(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(summary(&of(&[0, 3]), &stored).0, [(1, 2, 1), (4, 5, 1)]);
        assert_eq!(summary(&of(&[]), &stored).0, [(0, 5, 1)]);
    }

    #[test]
    fn a_point_that_lost_a_field_is_written_anew() {
        let stored = points(&[("a", 1, &[("v", 1.0), ("w", 2.0)]), ("a", 2, &[("v", 1.0)])]);
        let wanted = points(&[("a", 1, &[("v", 1.0)]), ("a", 2, &[("v", 1.0)])]);
        assert_eq!(summary(&wanted, &stored), (vec![(1, 1, 1)], vec![("a".to_owned(), 1)]));
    }

    #[test]
    fn many_holes_are_one_delete_behind_which_the_rest_is_written_again() {
        let fields = [("v", 1.0)];
        let all: Vec<_> = (0..200).map(|time| ("a", time, fields.as_slice())).collect();
        let kept: Vec<_> = all.iter().copied().filter(|p| p.1 % 2 == 1).collect();
        let (deletes, writes) = summary(&points(&kept), &points(&all));
        assert_eq!(deletes, [(0, 198, 1)]);
        assert_eq!(writes.len(), 99, "all but the last, which the delete does not touch");
    }
}
