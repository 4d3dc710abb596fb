//! Columns as points: the series of each row, and the checks.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch};
use hyperbytedb_domain::series::Tags;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_line_protocol::{
    DroppedPoint, LineError, LineSpan, ParseOptions, Parsed, PointPrinter, Reason, parse, print_point,
};

use crate::stored::keep_rows;
use crate::table::{NO_TAG, Table, TagColumn};

/// Far below what a key may have.
const PLAIN_KEY_BYTES_MAX: usize = 32 << 10;
/// The name of what a line has at its end.
const TIME: &str = "time";

pub fn points(tables: Vec<Table>, options: &ParseOptions) -> Parsed {
    let mut parsed = Parsed::default();
    let rows: usize = tables.iter().map(|table| table.rows).sum();
    if rows > options.max_points {
        parsed.has_too_many_points = true;
        return parsed;
    }
    let mut judge = Judge { options, parsed, error_bytes: 0, next_row: 0 };
    for table in tables {
        judge.add(table);
    }
    judge.parsed
}

/// Which points are taken.
struct Judge<'a> {
    options: &'a ParseOptions,
    parsed: Parsed,
    error_bytes: usize,
    /// Of the body.
    next_row: usize,
}

impl Judge<'_> {
    fn add(&mut self, table: Table) {
        let unit = self.options.precision.nanoseconds();
        let now = self.options.default_time.saturating_sub(self.options.default_time.rem_euclid(unit));
        let (rows, first) = (table.rows, self.next_row);
        self.next_row += rows;
        let is_plain = self.is_plain(&table);
        let (series, series_of_row) = series_of(&table.tags, rows);
        let times = table.times.unwrap_or_else(|| vec![now; rows]);
        let mut batch = PointsBatch {
            measurement: table.measurement,
            times,
            series,
            series_of_row,
            line_of_row: Vec::new(),
            fields: table.fields,
        };
        let doubtful = self.doubtful(&batch, is_plain);
        let mut kept: Option<Vec<bool>> = None;
        for row in (0..rows).filter(|row| doubtful.as_ref().is_some_and(|doubtful| doubtful[*row])) {
            if !self.is_taken(&batch, row, first + row) {
                kept.get_or_insert_with(|| vec![true; rows])[row] = false;
            }
        }
        batch.fields.retain(|field| field.name != TIME);
        let line = |row: usize| LineSpan { start: row, end: row };
        let is_kept = |row: &usize| kept.as_ref().is_none_or(|kept| kept[*row]);
        let first_line = self.parsed.lines.len() as u32;
        self.parsed.lines.extend((0..rows).filter(is_kept).map(|row| line(first + row)));
        if let Some(kept) = &kept {
            keep_rows(&mut batch, kept);
        }
        batch.line_of_row = (first_line..).take(batch.rows()).collect();
        if batch.rows() > 0 {
            self.parsed.batches.push(batch);
        }
    }

    /// The rows that only the parser of lines can decide on; `None`: there are none.
    fn doubtful(&self, batch: &PointsBatch, is_plain: bool) -> Option<Vec<bool>> {
        let rows = batch.rows();
        let mut doubts = Doubts { rows, of_row: None };
        if batch.fields.len() > self.options.max_fields {
            doubts.add_all(|_| true);
        }
        let is_outside = |time: &i64| !(MIN_TIME..=MAX_TIME).contains(time);
        if batch.times.iter().any(is_outside) {
            doubts.add_all(|row| is_outside(&batch.times[row]));
        }
        if !is_plain {
            let bad_series = self.bad_series(batch);
            doubts.add_all(|row| bad_series[batch.series_of_row[row] as usize]);
        }
        for field in &batch.fields {
            if field.name == TIME || !self.is_plain_field(field) {
                doubts.add_all(|row| field.is_present(row));
            } else {
                self.add_doubtful_values(field, &mut doubts);
            }
        }
        if !batch.fields.iter().any(|field| field.present.is_none()) {
            doubts.add_all(|row| !batch.fields.iter().any(|field| field.is_present(row)));
        }
        doubts.of_row
    }

    /// Whether every series reads back whatever is looked at: names and values have nothing that is written in another way.
    fn is_plain(&self, table: &Table) -> bool {
        let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
        let bytes: usize = table.tags.iter().map(|tag| tag.name.len() + longest(&tag.values) + 2).sum();
        let field = table.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        table.tags.len() <= self.options.max_tags
            && table.measurement.len() + bytes + field < PLAIN_KEY_BYTES_MAX
            && is_plain_name(&table.measurement)
            && table.tags.iter().all(|tag| {
                tag.name != TIME
                    && is_plain_name(&tag.name)
                    && tag.values.iter().all(|value| value.bytes().all(is_plain_byte))
            })
    }

    /// Whether each series, as a line, is another one or none.
    fn bad_series(&self, batch: &PointsBatch) -> Vec<bool> {
        let longest = batch.fields.iter().map(|field| field.name.as_str()).max_by_key(|name| name.len());
        let field = longest.filter(|name| self.reads_back("m", &Tags::default(), name)).unwrap_or("f");
        batch.series.iter().map(|tags| !self.reads_back(&batch.measurement, tags, field)).collect()
    }

    fn is_plain_field(&self, field: &FieldColumn) -> bool {
        let takes_type = self.options.uint_support || !matches!(field.values, FieldValues::Unsigned(_));
        takes_type && (is_plain_name(&field.name) || self.reads_back("m", &Tags::default(), &field.name))
    }

    fn reads_back(&self, measurement: &str, tags: &Tags, field: &str) -> bool {
        let mut line = String::new();
        let mut point = PointPrinter::begin(&mut line, measurement);
        tags.iter().for_each(|(key, value)| point.tag(key, value));
        point.field(field, &hyperbytedb_domain::FieldValue::Boolean(true));
        point.end(0);
        let parsed = parse(line.as_bytes(), self.options);
        matches!(&parsed.batches[..], [batch] if batch.measurement == measurement
            && batch.series == [tags.clone()]
            && matches!(&batch.fields[..], [read] if read.name == field))
            && parsed.errors.is_empty()
    }

    fn add_doubtful_values(&self, field: &FieldColumn, doubts: &mut Doubts) {
        match &field.values {
            FieldValues::Float(values) if !values.iter().all(|value| value.is_finite()) => {
                doubts.add_all(|row| field.is_present(row) && !values[row].is_finite());
            }
            FieldValues::String(values) if values.bytes.len() > self.options.max_string_bytes => {
                let is_long = |row: usize| values.get(row).len() > self.options.max_string_bytes;
                doubts.add_all(|row| field.is_present(row) && is_long(row));
            }
            _ => {}
        }
    }

    /// As the parser of lines decides on the point.
    fn is_taken(&mut self, batch: &PointsBatch, row: usize, row_of_body: usize) -> bool {
        let span = LineSpan { start: row_of_body, end: row_of_body };
        let line = line_of(batch, row);
        let is_infinite = |field: &FieldColumn| {
            matches!(&field.values, FieldValues::Float(values) if !values[row].is_finite())
                && field.is_present(row)
        };
        if batch.fields.iter().any(is_infinite) {
            self.refuse(span, line, Reason::InvalidNumber);
            return false;
        }
        let options =
            ParseOptions { precision: hyperbytedb_domain::Precision::Nanosecond, ..self.options.clone() };
        let mut read = parse(line.as_bytes(), &options);
        if let Some(dropped) = read.dropped.pop() {
            self.parsed.dropped.push(DroppedPoint { span, ..dropped });
            return false;
        }
        if let Some(error) = read.errors.pop() {
            self.refuse(span, line, error.reason);
            return false;
        }
        let tags = &batch.series[batch.series_of_row[row] as usize];
        let is_same = matches!(&read.batches[..], [one]
            if one.measurement == batch.measurement && one.series == [tags.clone()] && one.times == [batch.times[row]]);
        if !is_same {
            self.refuse(span, line, Reason::AmbiguousEscapes);
        }
        is_same
    }

    fn refuse(&mut self, span: LineSpan, mut line: String, reason: Reason) {
        let left = self.options.max_error_bytes.saturating_sub(self.error_bytes);
        if left == 0 {
            self.parsed.errors_left_out += 1;
            return;
        }
        let end = (0..=left.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(end);
        self.error_bytes += end + 64;
        self.parsed.errors.push(LineError { span, line, reason });
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('#') && name.bytes().all(is_plain_byte)
}

/// Neither special in lines nor a blank.
fn is_plain_byte(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'\\' | b',' | b'=' | b'"' | 0x7f)
}

/// The point as a line, also where no line can say it.
fn line_of(batch: &PointsBatch, row: usize) -> String {
    let mut line = String::new();
    print_point(batch, row, &mut line);
    if line.is_empty() {
        let tags = &batch.series[batch.series_of_row[row] as usize];
        line = format!("{} {}", tags.series_key(&batch.measurement), batch.times[row]);
    }
    if line.ends_with('\n') {
        line.pop();
    }
    line
}

struct Doubts {
    rows: usize,
    of_row: Option<Vec<bool>>,
}

impl Doubts {
    fn add_all(&mut self, is_doubtful: impl Fn(usize) -> bool) {
        let of_row = self.of_row.get_or_insert_with(|| vec![false; self.rows]);
        for (row, doubt) in of_row.iter_mut().enumerate() {
            *doubt = *doubt || is_doubtful(row);
        }
    }
}

/// The tag sets, and which of them each row has.
fn series_of(tags: &[TagColumn], rows: usize) -> (Vec<Tags>, Vec<u32>) {
    let mut series: Vec<Tags> = Vec::new();
    let mut number_of: HashMap<Tags, u32> = HashMap::new();
    let hasher = DefaultHashBuilder::default();
    // The first row of each combination of keys, and the number of its series.
    let mut combinations: HashTable<(u64, usize, u32)> = HashTable::new();
    let mut order: Vec<&TagColumn> = tags.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    let is_same = |a: usize, b: usize| order.iter().all(|tag| tag.keys[a] == tag.keys[b]);
    let mut series_of_row: Vec<u32> = Vec::with_capacity(rows);
    for row in 0..rows {
        if let (true, Some(&last)) = (row > 0 && is_same(row - 1, row), series_of_row.last()) {
            series_of_row.push(last);
            continue;
        }
        let mut state = hasher.build_hasher();
        order.iter().for_each(|tag| tag.keys[row].hash(&mut state));
        let hash = state.finish();
        let known = combinations.find(hash, |&(other, first, _)| other == hash && is_same(first, row));
        let number = match known {
            Some(&(.., number)) => number,
            None => {
                let set = tags_of(&order, row);
                let number = *number_of.entry(set).or_insert_with_key(|set| {
                    series.push(set.clone());
                    series.len() as u32 - 1
                });
                combinations.insert_unique(hash, (hash, row, number), |&(hash, ..)| hash);
                number
            }
        };
        series_of_row.push(number);
    }
    (series, series_of_row)
}

fn tags_of<'a>(order: &[&'a TagColumn], row: usize) -> Tags {
    let value = |tag: &'a TagColumn| match tag.keys[row] {
        NO_TAG => "",
        key => tag.values.get(key as usize).map_or("", String::as_str),
    };
    let pairs: Vec<(&str, &str)> = order
        .iter()
        .map(|tag| (tag.name.as_str(), value(tag)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    Tags::from_sorted(pairs.into_iter())
}
