//! What of the rows of several nodes one of them lacks.
//!
//! A value that is on some node was written and not deleted, for all nodes delete the same; so what is missing is taken. Of
//! values that differ the clocks are not known any more. The one that most nodes have stays, of equally many the greatest: every
//! node comes to the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::{FieldValue, Precision, SeriesId, Tags};
use hyperbytedb_line_protocol::{ParseOptions, PointPrinter, parse};

/// Whose rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Own,
    Peer,
}

#[derive(Debug, Default)]
struct Field {
    own: Option<FieldValue>,
    /// Each value with the number of nodes that have it.
    votes: Vec<(FieldValue, u32)>,
}

#[derive(Debug)]
struct Row {
    tags: Tags,
    fields: BTreeMap<String, Field>,
}

/// What a node has to take.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Line protocol, times in nanoseconds.
    pub lines: String,
    pub rows: u64,
    /// Values that differ and stay as they are.
    pub unsettled: u64,
}

/// The rows of one table that several nodes have.
pub struct Merge<'a> {
    table: &'a Table,
    /// Rows of this time and later are not looked at.
    until: i64,
    rows: BTreeMap<(i64, SeriesId), Row>,
    /// Some row has a tag or a field that this node has not heard of yet.
    pub is_ahead: bool,
}

impl<'a> Merge<'a> {
    pub fn new(table: &'a Table, until: i64) -> Self {
        Self { table, until, rows: BTreeMap::new(), is_ahead: false }
    }

    /// Adds the rows of a node. What a node has whose values do not `count` is taken where there is nothing else.
    pub fn add(&mut self, lines: &str, source: Source, counts: bool) {
        let parsed = parse(lines.as_bytes(), &ParseOptions::accepted(Precision::Nanosecond, 0));
        for batch in parsed.batches.iter().filter(|batch| batch.measurement == self.table.measurement) {
            let mut tags = batch.series.iter().flat_map(Tags::iter);
            self.is_ahead |= tags.any(|(key, _)| !self.table.tags.iter().any(|tag| tag == key))
                || batch.fields.iter().any(|column| self.table.field(&column.name).is_none());
            for (row, &time) in batch.times.iter().enumerate().filter(|(_, time)| **time < self.until) {
                let Some(tags) = batch.series.get(batch.series_of_row[row] as usize) else { continue };
                let new = || Row { tags: tags.clone(), fields: BTreeMap::new() };
                let into = self.rows.entry((time, tags.series_id())).or_insert_with(new);
                for column in batch.fields.iter().filter(|column| column.is_present(row)) {
                    let Some(value) = value_at(column, row) else { continue };
                    into.fields.entry(column.name.clone()).or_default().add(value, source, counts);
                }
            }
        }
    }

    /// What this node lacks; values that differ are taken only where `settles`.
    pub fn wanted(&self, settles: bool) -> Wanted {
        let Wanted { mut lines, mut rows, mut unsettled } = Wanted::default();
        for ((time, _), row) in &self.rows {
            let mut point = PointPrinter::begin(&mut lines, &self.table.measurement);
            row.tags.iter().for_each(|(key, value)| point.tag(key, value));
            for (name, field) in &row.fields {
                unsettled += u64::from(!settles && field.differs());
                if let Some(value) = field.wanted(settles) {
                    point.field(name, value);
                }
            }
            rows += u64::from(point.end(*time));
        }
        Wanted { lines, rows, unsettled }
    }
}

impl Field {
    fn add(&mut self, value: FieldValue, source: Source, counts: bool) {
        if source == Source::Own {
            self.own = Some(value.clone());
        }
        match self.votes.iter_mut().find(|(known, _)| order(known, &value).is_eq()) {
            Some((_, votes)) => *votes += u32::from(counts),
            None => self.votes.push((value, u32::from(counts))),
        }
    }

    fn differs(&self) -> bool {
        self.votes.len() > 1
    }

    fn wanted(&self, settles: bool) -> Option<&FieldValue> {
        let most = self.votes.iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| order(&a.0, &b.0)));
        let (value, _) = most?;
        match &self.own {
            Some(own) if !settles || order(own, value).is_eq() => None,
            _ => Some(value),
        }
    }
}

fn value_at(column: &FieldColumn, row: usize) -> Option<FieldValue> {
    Some(match &column.values {
        FieldValues::Float(values) => FieldValue::Float(*values.get(row)?),
        FieldValues::Integer(values) => FieldValue::Integer(*values.get(row)?),
        FieldValues::Unsigned(values) => FieldValue::Unsigned(*values.get(row)?),
        FieldValues::Boolean(values) => FieldValue::Boolean(*values.get(row)?),
        FieldValues::String(values) => FieldValue::String(values.get(row).into()),
    })
}

/// Of values of one field, which have one type. Values that the engine tells apart are not equal.
fn order(a: &FieldValue, b: &FieldValue) -> Ordering {
    match (a, b) {
        (FieldValue::Float(a), FieldValue::Float(b)) => a.total_cmp(b),
        (FieldValue::Integer(a), FieldValue::Integer(b)) => a.cmp(b),
        (FieldValue::Unsigned(a), FieldValue::Unsigned(b)) => a.cmp(b),
        (FieldValue::Boolean(a), FieldValue::Boolean(b)) => a.cmp(b),
        (FieldValue::String(a), FieldValue::String(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(own: &str, counts: bool, peers: &[&str], settles: bool) -> String {
        let table = Table { measurement: "m".to_owned(), ..Table::default() };
        let mut merge = Merge::new(&table, 100);
        merge.add(own, Source::Own, counts);
        peers.iter().for_each(|peer| merge.add(peer, Source::Peer, true));
        merge.wanted(settles).lines
    }

    #[test]
    fn what_is_missing_is_taken() {
        let peer = "m,h=a v=1,w=\"x\" 1\nm,h=b v=2i 1\nm,h=a v=3 100";
        assert_eq!(
            wanted("", true, &[peer], false),
            "m,h=b v=2i 1\nm,h=a v=1,w=\"x\" 1\n",
            "by time and series, and not what is later"
        );
        assert_eq!(wanted("m,h=a v=1 1\nm,h=b v=2i 1", true, &[peer], false), "m,h=a w=\"x\" 1\n");
        assert_eq!(wanted(peer, true, &[""], true), "");
    }

    #[test]
    fn of_values_that_differ_most_nodes_decide() {
        assert_eq!(wanted("m v=9 1", true, &["m v=1 1", "m v=1 1"], true), "m v=1 1\n");
        assert_eq!(wanted("m v=1 1", true, &["m v=9 1", "m v=1 1"], true), "");
        assert_eq!(wanted("m v=1 1", true, &["m v=9 1"], true), "m v=9 1\n", "the greatest of as many");
        assert_eq!(wanted("m v=9 1", true, &["m v=1 1"], true), "");
        assert_eq!(wanted("m v=9 1", false, &["m v=1 1"], true), "m v=1 1\n", "it has missed records");
        assert_eq!(wanted("m v=9 1", true, &["m v=1 1", "m v=1 1"], false), "", "not all were asked");
        assert_eq!(wanted("m v=0 1", true, &["m v=-0 1", "m v=-0 1"], true), "m v=-0 1\n");
    }

    #[test]
    fn values_that_stay_different_are_counted() {
        let unsettled = |own: &str, peers: &[&str], settles| {
            let table = Table { measurement: "m".to_owned(), ..Table::default() };
            let mut merge = Merge::new(&table, 100);
            merge.add(own, Source::Own, true);
            peers.iter().for_each(|peer| merge.add(peer, Source::Peer, true));
            merge.wanted(settles).unsettled
        };
        assert_eq!(unsettled("m v=1,w=1 1", &["m v=2,w=1 1", "m v=2 1"], false), 1);
        assert_eq!(unsettled("m v=1,w=1 1", &["m v=2,w=1 1", "m v=2 1"], true), 0);
        assert_eq!(unsettled("", &["m v=2 1", "m v=3 1"], false), 1, "what it takes may be wrong");
        assert_eq!(unsettled("m v=1 1", &["m v=1 1", ""], false), 0);
    }
}
