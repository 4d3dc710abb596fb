//! Conditions on tags as sets of series, from the series index.
//!
//! The engine stores rows by series, so `sid IN (…)` lets it read these series alone, where a condition on a tag column makes
//! it look at every row of the range.

use hashbrown::HashSet;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate, Scan, TagId};
use hyperbytedb_domain::{FieldValue, SeriesId, StorageError};
use regex::Regex;

/// Series that are named in a scan: with more of them the statement takes longer to read than it saves.
const NAMED_MAX: usize = 2_000;
/// Values of a tag that are tried against a regular expression: a few microseconds each.
const TRIED_VALUES_MAX: usize = 2_000;

/// The scan with the terms of its condition that few series of the table meet replaced by these series.
pub fn narrowed(mut scan: Scan, index: &dyn SeriesIndexPort) -> Result<Scan, StorageError> {
    if scan.filter.is_none() || scan.output.series().is_some() {
        return Ok(scan);
    }
    let Some(filter) = scan.filter.take() else { return Ok(scan) };
    let count = index.series_count(scan.table.id)?;
    // What selects most series is not worth a statement that names them.
    let max = NAMED_MAX.min(usize::try_from(count / 2).unwrap_or(usize::MAX));
    let lookup = Lookup { index, table: &scan.table, max };
    let terms = match filter {
        Predicate::And(terms) => terms,
        term => vec![term],
    };
    let mut series: Option<HashSet<SeriesId>> = None;
    let mut rest = Vec::new();
    for term in terms {
        match lookup.series(&term)? {
            None => rest.push(term),
            Some(of_term) => series = Some(both(series, of_term)),
        }
    }
    if let Some(series) = series {
        let mut series: Vec<SeriesId> = series.into_iter().collect();
        series.sort_unstable();
        scan.output.set_series(series.into());
    }
    scan.filter = match rest.len() {
        0 | 1 => rest.pop(),
        _ => Some(Predicate::And(rest)),
    };
    Ok(scan)
}

fn both(series: Option<HashSet<SeriesId>>, mut others: HashSet<SeriesId>) -> HashSet<SeriesId> {
    if let Some(series) = series {
        others.retain(|id| series.contains(id));
    }
    others
}

struct Lookup<'a> {
    index: &'a dyn SeriesIndexPort,
    table: &'a Table,
    /// Series that a term may select.
    max: usize,
}

impl Lookup<'_> {
    /// The series that meet a condition; `None` where that does not depend on tags alone, or too many do.
    fn series(&self, predicate: &Predicate) -> Result<Option<HashSet<SeriesId>>, StorageError> {
        match predicate {
            Predicate::Constant(false) => Ok(Some(HashSet::new())),
            Predicate::And(terms) => {
                let mut series = None;
                for term in terms {
                    let Some(of_term) = self.series(term)? else { return Ok(None) };
                    series = Some(both(series, of_term));
                }
                Ok(series)
            }
            Predicate::Or(terms) => {
                let mut series = HashSet::new();
                for term in terms {
                    let Some(of_term) = self.series(term)? else { return Ok(None) };
                    series.extend(of_term);
                    if series.len() > self.max {
                        return Ok(None);
                    }
                }
                Ok(Some(series))
            }
            Predicate::Compare { left, op: CompareOp::Eq, right } => match (left, right) {
                (Operand::Tag(tag), Operand::Literal(FieldValue::String(value)))
                | (Operand::Literal(FieldValue::String(value)), Operand::Tag(tag)) => {
                    self.with_values(*tag, &[value.as_ref()])
                }
                _ => Ok(None),
            },
            Predicate::Regex { operand: Operand::Tag(tag), pattern, negated } => {
                // The engine has its own say about a pattern that is none.
                let Ok(regex) = Regex::new(pattern) else { return Ok(None) };
                self.matching(*tag, |value| regex.is_match(value) != *negated)
            }
            _ => Ok(None),
        }
    }

    fn matching(
        &self,
        tag: TagId,
        is_match: impl Fn(&str) -> bool,
    ) -> Result<Option<HashSet<SeriesId>>, StorageError> {
        let Some(key) = self.key(tag) else { return Ok(None) };
        // The index does not list the series without a tag.
        if is_match("") {
            return Ok(None);
        }
        let (mut tried, mut values) = (0, Vec::new());
        self.index.for_each_tag_value(self.table.id, key, &mut |value| {
            tried += 1;
            if is_match(value) {
                values.push(value.to_owned());
            }
            if tried > TRIED_VALUES_MAX || values.len() > self.max {
                return std::ops::ControlFlow::Break(());
            }
            std::ops::ControlFlow::Continue(())
        })?;
        if tried > TRIED_VALUES_MAX {
            return Ok(None);
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        self.with_values(tag, &values)
    }

    fn with_values(&self, tag: TagId, values: &[&str]) -> Result<Option<HashSet<SeriesId>>, StorageError> {
        let Some(key) = self.key(tag) else { return Ok(None) };
        let mut series = HashSet::new();
        for value in values {
            if value.is_empty() {
                return Ok(None);
            }
            let left = self.max.saturating_sub(series.len());
            let Some(of_value) = self.index.series_with_tag(self.table.id, key, value, left)? else {
                return Ok(None);
            };
            series.extend(of_value);
        }
        Ok(Some(series))
    }

    fn key(&self, tag: TagId) -> Option<&str> {
        self.table.tags.get(tag.0 as usize).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyperbytedb_domain::catalog::TableId;
    use hyperbytedb_domain::scan::{FieldId, RowScan, ScanOutput};
    use hyperbytedb_domain::{Tags, TimeRange};
    use hyperbytedb_memory_ports::MemoryPorts;

    use super::*;

    const HOST: TagId = TagId(0);
    const REGION: TagId = TagId(1);

    fn table() -> Table {
        Table { id: TableId(1), tags: vec!["host".into(), "region".into()], ..Table::default() }
    }

    /// Hosts 0 to 9; all but the last, which has no region, are in `eu`.
    fn tags(host: usize) -> Tags {
        let region = (host < 9).then(|| ("region".to_owned(), "eu".to_owned()));
        Tags::new(region.into_iter().chain([("host".to_owned(), format!("h{host}"))]).collect())
    }

    fn equals(tag: TagId, value: &str) -> Predicate {
        compare(tag, CompareOp::Eq, value)
    }

    fn compare(tag: TagId, op: CompareOp, value: &str) -> Predicate {
        let right = Operand::Literal(FieldValue::String(value.into()));
        Predicate::Compare { left: Operand::Tag(tag), op, right }
    }

    fn matches(tag: TagId, pattern: &str, negated: bool) -> Predicate {
        Predicate::Regex { operand: Operand::Tag(tag), pattern: pattern.to_owned(), negated }
    }

    /// The hosts that the scan names, and what is left of the condition.
    fn narrow(filter: Predicate) -> (Option<Vec<usize>>, Option<Predicate>) {
        let index = MemoryPorts::default().series;
        let tags: Vec<Tags> = (0..10).map(tags).collect();
        let series: Vec<_> = tags.iter().map(|tags| (tags.series_id(), tags)).collect();
        index.register(&table(), &series).unwrap();
        let scan = Scan {
            table: Arc::new(table()),
            time: TimeRange::ALL,
            filter: Some(filter),
            shards: None,
            merge_duplicates: false,
            output: ScanOutput::Rows(RowScan::default()),
        };
        let scan = narrowed(scan, &*index).unwrap();
        let named = scan
            .output
            .series()
            .map(|named| (0..10).filter(|&host| named.contains(&tags[host].series_id())).collect::<Vec<_>>());
        assert_eq!(named.as_ref().map(Vec::len), scan.output.series().map(|named| named.len()));
        (named, scan.filter)
    }

    #[test]
    fn what_few_series_meet_becomes_these_series() {
        let of_field = Predicate::Compare {
            left: Operand::Field(FieldId(0)),
            op: CompareOp::Gt,
            right: Operand::Literal(FieldValue::Integer(1)),
        };
        let not_h3 = compare(HOST, CompareOp::Ne, "h3");
        for (filter, hosts, rest) in [
            (equals(HOST, "h3"), vec![3], None),
            (equals(HOST, "nope"), vec![], None),
            (matches(HOST, "^h[12]$", false), vec![1, 2], None),
            (Predicate::Or(vec![equals(HOST, "h1"), equals(HOST, "h9")]), vec![1, 9], None),
            (
                Predicate::And(vec![equals(HOST, "h3"), of_field.clone(), not_h3.clone()]),
                vec![3],
                Some(Predicate::And(vec![of_field.clone(), not_h3])),
            ),
            (
                Predicate::And(vec![matches(HOST, "[123]", false), matches(HOST, "[345]", false)]),
                vec![3],
                None,
            ),
            (Predicate::And(vec![equals(HOST, "h3"), of_field.clone()]), vec![3], Some(of_field)),
        ] {
            assert_eq!(narrow(filter.clone()), (Some(hosts), rest), "{filter:?}");
        }
    }

    #[test]
    fn what_many_series_meet_or_the_index_does_not_know_stays() {
        for filter in [
            equals(REGION, "eu"),
            equals(REGION, ""),
            compare(HOST, CompareOp::Ne, "h3"),
            compare(HOST, CompareOp::Lt, "h3"),
            matches(HOST, "^h[0-6]$", false),
            matches(REGION, "^(as)?$", false),
            matches(REGION, "eu", true),
            Predicate::Or(vec![equals(HOST, "h1"), compare(HOST, CompareOp::Gt, "h7")]),
        ] {
            assert_eq!(narrow(filter.clone()), (None, Some(filter)));
        }
    }
}
