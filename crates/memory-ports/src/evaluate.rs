//! Evaluates scans over rows in memory, by the letter of the contract.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan,
    RowSelection, Scan, ScanOutput, TagId,
};
use hyperbytedb_domain::{EngineError, FieldType, FieldValue, SeriesId};

/// A stored row: tags and fields by their position in the table; later columns are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    pub time: i64,
    pub series: SeriesId,
    pub tags: Vec<Arc<str>>,
    pub fields: Vec<FieldValue>,
}

impl StoredRow {
    fn tag(&self, id: TagId) -> Arc<str> {
        self.tags.get(id.0 as usize).cloned().unwrap_or_default()
    }

    fn field(&self, id: FieldId) -> FieldValue {
        self.fields.get(id.0 as usize).cloned().unwrap_or_default()
    }
}

/// The answer of a scan over these rows, in batches of `batch_rows`.
pub fn evaluate<'a>(
    scan: &Scan,
    rows: impl Iterator<Item = &'a StoredRow>,
    batch_rows: usize,
) -> Result<Vec<RecordBatch>, EngineError> {
    let series = match &scan.output {
        ScanOutput::Rows(output) => &output.series,
        ScanOutput::Aggregates(output) => &output.series,
    };
    let selection = RowSelection {
        time: scan.time,
        filter: scan.filter.clone(),
        series: series.clone(),
        // Which partition a row is in is not seen here.
        shards: None,
    };
    let rows: Vec<&StoredRow> = rows.filter(|row| selects(&selection, row)).collect();
    let (types, rows) = match &scan.output {
        ScanOutput::Rows(output) => row_scan(rows, output, &scan.table).ok_or(EngineError::SortLimit)?,
        ScanOutput::Aggregates(output) => aggregate_scan(rows, output, &scan.table),
    };
    Ok(rows.chunks(batch_rows.max(1)).map(|rows| batch(&types, rows)).collect())
}

/// Whether a row is selected, its partition apart.
pub fn selects(selection: &RowSelection, row: &StoredRow) -> bool {
    selection.time.contains(row.time)
        && selection.filter.as_ref().is_none_or(|filter| matches(filter, row))
        && selection.series.as_ref().is_none_or(|series| series.contains(&row.series))
}

fn tag(row: &StoredRow, id: TagId) -> FieldValue {
    FieldValue::String(row.tag(id))
}

fn operand(operand: &Operand, row: &StoredRow) -> FieldValue {
    match operand {
        Operand::Tag(id) => tag(row, *id),
        Operand::Field(id) => row.field(*id),
        Operand::Literal(value) => value.clone(),
    }
}

fn matches(predicate: &Predicate, row: &StoredRow) -> bool {
    match predicate {
        Predicate::Constant(value) => *value,
        Predicate::And(terms) => terms.iter().all(|t| matches(t, row)),
        Predicate::Or(terms) => terms.iter().any(|t| matches(t, row)),
        Predicate::Compare { left, op, right } => {
            let Some(ordering) = compare(&operand(left, row), &operand(right, row)) else { return false };
            match op {
                CompareOp::Eq => ordering.is_eq(),
                CompareOp::Ne => ordering.is_ne(),
                CompareOp::Lt => ordering.is_lt(),
                CompareOp::Le => ordering.is_le(),
                CompareOp::Gt => ordering.is_gt(),
                CompareOp::Ge => ordering.is_ge(),
            }
        }
        Predicate::Regex { operand: text, pattern, negated } => match operand(text, row) {
            FieldValue::String(text) => {
                regex::Regex::new(pattern).expect("a pattern that was checked").is_match(&text) != *negated
            }
            _ => false,
        },
    }
}

fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(v) => Some(*v),
        FieldValue::Integer(v) => Some(*v as f64),
        FieldValue::Unsigned(v) => Some(*v as f64),
        _ => None,
    }
}

fn compare(a: &FieldValue, b: &FieldValue) -> Option<Ordering> {
    match (a, b) {
        (FieldValue::Integer(a), FieldValue::Integer(b)) => Some(a.cmp(b)),
        (FieldValue::Unsigned(a), FieldValue::Unsigned(b)) => Some(a.cmp(b)),
        (FieldValue::String(a), FieldValue::String(b)) => Some(a.cmp(b)),
        (FieldValue::Boolean(a), FieldValue::Boolean(b)) => Some(a.cmp(b)),
        _ => number(a)?.partial_cmp(&number(b)?),
    }
}

type Rows = Vec<Vec<FieldValue>>;

/// `None`: more rows than may be sorted.
fn row_scan(mut rows: Vec<&StoredRow>, output: &RowScan, table: &Table) -> Option<(Vec<FieldType>, Rows)> {
    let value = |row: &StoredRow, id: &FieldId| row.field(*id);
    rows.retain(|row| {
        output.any_of.is_empty() || output.any_of.iter().any(|f| value(row, f) != FieldValue::Null)
    });
    if output.sort_bound.is_some_and(|bound| bound.rows > 0 && rows.len() as u64 > bound.rows) {
        return None;
    }
    let group = |row: &StoredRow| -> Vec<Arc<str>> { output.group_by.iter().map(|t| row.tag(*t)).collect() };
    let mut names: Vec<TagId> = (0..table.tags.len() as u32).map(TagId).collect();
    names.sort_by_key(|id| &table.tags[id.0 as usize]);
    let others = |row: &StoredRow| -> Vec<Arc<str>> { names.iter().map(|&id| row.tag(id)).collect() };
    rows.sort_by(|a, b| {
        let ordering = group(a).cmp(&group(b)).then(a.time.cmp(&b.time));
        let ordering = if output.descending { ordering.reverse() } else { ordering };
        ordering.then_with(|| others(a).cmp(&others(b)))
    });
    let mut seen: BTreeMap<Vec<Arc<str>>, u64> = BTreeMap::new();
    let mut result = Vec::new();
    for row in rows {
        let count = seen.entry(group(row)).or_default();
        *count += 1;
        if output.limit_per_group > 0 && *count > output.limit_per_group {
            continue;
        }
        let tags = output.tags.iter().map(|t| tag(row, *t));
        let fields = output.fields.iter().map(|f| value(row, f));
        result.push(tags.chain([FieldValue::Integer(row.time)]).chain(fields).collect());
    }
    let fields = output.fields.iter().map(|f| table.fields[f.0 as usize].field_type);
    let types = vec![FieldType::String; output.tags.len()];
    Some((types.into_iter().chain([FieldType::Integer]).chain(fields).collect(), result))
}

fn aggregate_scan(rows: Vec<&StoredRow>, output: &AggregateScan, table: &Table) -> (Vec<FieldType>, Rows) {
    let mut groups: BTreeMap<(Vec<Arc<str>>, i64), Vec<&StoredRow>> = BTreeMap::new();
    for row in rows {
        let tags = output.group_by.iter().map(|t| row.tag(*t)).collect();
        let window = output.window.map_or(0, |w| row.time - (row.time - w.offset).rem_euclid(w.every));
        groups.entry((tags, window)).or_default().push(row);
    }
    let mut types = vec![FieldType::String; output.group_by.len()];
    types.push(FieldType::Integer);
    for aggregate in &output.aggregates {
        types.push(result_type(aggregate, table));
        types.extend(aggregate.with_time.then_some(FieldType::Integer));
    }
    types.extend(output.count_rows.then_some(FieldType::Integer));
    let mut groups: Vec<_> = groups.into_iter().collect();
    let tags_of = |tags: &[Arc<str>], after: bool| -> Vec<Arc<str>> {
        let tags = tags.iter().zip(&output.group_by);
        tags.filter(|(_, id)| output.after_time.contains(id) == after).map(|(tag, _)| tag.clone()).collect()
    };
    groups.sort_by(|((a, a_time), _), ((b, b_time), _)| {
        let ordering = tags_of(a, false).cmp(&tags_of(b, false)).then(a_time.cmp(b_time));
        let ordering = if output.descending { ordering.reverse() } else { ordering };
        ordering.then_with(|| tags_of(a, true).cmp(&tags_of(b, true)))
    });
    let mut result = Vec::new();
    for ((tags, window), rows) in groups {
        let mut values: Vec<FieldValue> = tags.into_iter().map(FieldValue::String).collect();
        values.push(FieldValue::Integer(window));
        for aggregate in &output.aggregates {
            let (value, time) = reduce(aggregate, &rows, table);
            values.push(value);
            values.extend(aggregate.with_time.then_some(time));
        }
        values.extend(output.count_rows.then_some(FieldValue::Integer(rows.len() as i64)));
        result.push(values);
    }
    (types, result)
}

fn result_type(aggregate: &Aggregate, table: &Table) -> FieldType {
    match aggregate.function {
        AggregateFunction::Count => FieldType::Integer,
        AggregateFunction::Mean | AggregateFunction::Stddev | AggregateFunction::Median => FieldType::Float,
        _ => table.fields[aggregate.field.0 as usize].field_type,
    }
}

fn reduce(aggregate: &Aggregate, rows: &[&StoredRow], table: &Table) -> (FieldValue, FieldValue) {
    let mut points: Vec<(i64, FieldValue)> = rows
        .iter()
        .map(|row| (row.time, row.field(aggregate.field)))
        .filter(|(_, value)| *value != FieldValue::Null)
        .collect();
    if points.is_empty() {
        return (FieldValue::Null, FieldValue::Null);
    }
    let by_value =
        |a: &(i64, FieldValue), b: &(i64, FieldValue)| compare(&a.1, &b.1).expect("values of one type");
    let chosen = |point: &(i64, FieldValue)| (point.1.clone(), FieldValue::Integer(point.0));
    let field_type = table.fields[aggregate.field.0 as usize].field_type;
    let numbers: Vec<f64> = points.iter().filter_map(|(_, v)| number(v)).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let plain = |value| (value, FieldValue::Null);
    match aggregate.function {
        AggregateFunction::Count => plain(FieldValue::Integer(points.len() as i64)),
        AggregateFunction::Sum => plain(typed(numbers.iter().sum(), field_type)),
        AggregateFunction::Mean => plain(FieldValue::Float(mean)),
        AggregateFunction::Min => {
            chosen(points.iter().min_by(|a, b| by_value(a, b).then(a.0.cmp(&b.0))).expect("a point"))
        }
        AggregateFunction::Max => {
            chosen(points.iter().max_by(|a, b| by_value(a, b).then(b.0.cmp(&a.0))).expect("a point"))
        }
        AggregateFunction::First => {
            chosen(points.iter().min_by(|a, b| a.0.cmp(&b.0).then(by_value(b, a))).expect("a point"))
        }
        AggregateFunction::Last => {
            chosen(points.iter().max_by(|a, b| a.0.cmp(&b.0).then(by_value(a, b))).expect("a point"))
        }
        AggregateFunction::Spread => {
            let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            plain(typed(max - min, field_type))
        }
        AggregateFunction::Stddev if numbers.len() < 2 => plain(FieldValue::Null),
        AggregateFunction::Stddev => {
            let squares: f64 = numbers.iter().map(|n| (n - mean).powi(2)).sum();
            plain(FieldValue::Float((squares / (numbers.len() - 1) as f64).sqrt()))
        }
        AggregateFunction::Median => {
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.len() / 2;
            let low = if sorted.len().is_multiple_of(2) { sorted[middle - 1] } else { sorted[middle] };
            plain(FieldValue::Float(low + (sorted[middle] - low) / 2.0))
        }
        AggregateFunction::Percentile(rank) => {
            points.sort_by(|a, b| by_value(a, b).then(a.0.cmp(&b.0)));
            let position = (points.len() as f64 * rank / 100.0 + 0.5).floor() as i64 - 1;
            match usize::try_from(position).ok().and_then(|i| points.get(i)) {
                Some(point) => chosen(point),
                None => (FieldValue::Null, FieldValue::Null),
            }
        }
    }
}

fn typed(value: f64, field_type: FieldType) -> FieldValue {
    match field_type {
        FieldType::Integer => FieldValue::Integer(value as i64),
        FieldType::Unsigned => FieldValue::Unsigned(value as u64),
        _ => FieldValue::Float(value),
    }
}

fn batch(types: &[FieldType], rows: &[Vec<FieldValue>]) -> RecordBatch {
    let columns = types.iter().enumerate().map(|(i, t)| {
        let values = rows.iter().map(|row| &row[i]);
        let array: ArrayRef = match t {
            FieldType::Float => Arc::new(Float64Array::from_iter(values.map(number))),
            FieldType::Integer => Arc::new(Int64Array::from_iter(values.map(|v| match v {
                FieldValue::Integer(v) => Some(*v),
                _ => None,
            }))),
            FieldType::Unsigned => Arc::new(UInt64Array::from_iter(values.map(|v| match v {
                FieldValue::Unsigned(v) => Some(*v),
                _ => None,
            }))),
            FieldType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|v| match v {
                FieldValue::Boolean(v) => Some(*v),
                _ => None,
            }))),
            FieldType::String => Arc::new(StringArray::from_iter(values.map(|v| match v {
                FieldValue::String(v) => Some(v.to_string()),
                _ => None,
            }))),
        };
        (format!("c{i}"), array)
    });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true)))
        .expect("columns of one length")
}
