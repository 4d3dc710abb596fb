//! Columns as points: the series of each row, and the checks.

use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch};
use hyperbytedb_domain::series::Tags;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_line_protocol::{
    DroppedPoint, LineError, LineSpan, ParseOptions, Parsed, PointPrinter, Reason, parse, print_point,
};

use crate::series::KnownSeries;
use crate::stored::keep_rows;
use crate::table::{Table, longest};

/// Far below what a key may have.
const PLAIN_KEY_BYTES_MAX: usize = 32 << 10;
/// More than a number takes in a line.
const NUMBER_BYTES_MAX: usize = 32;
/// The name of what a line has at its end.
const TIME: &str = "time";

pub fn points(tables: Vec<Table>, options: &ParseOptions, known: &KnownSeries) -> Parsed {
    let mut parsed = Parsed::default();
    let rows: usize = tables.iter().map(|table| table.rows).sum();
    if rows > options.max_points {
        parsed.has_too_many_points = true;
        return parsed;
    }
    let mut judge = Judge { options, known, parsed, error_bytes: 0, next_row: 0, absent_values: 0 };
    for table in tables {
        judge.add(table);
    }
    judge.parsed
}

/// Which points are taken.
struct Judge<'a> {
    options: &'a ParseOptions,
    known: &'a KnownSeries,
    parsed: Parsed,
    error_bytes: usize,
    /// Of the body.
    next_row: usize,
    /// Cells of the columns that their row does not have, over all that was taken.
    absent_values: usize,
}

/// What is known of all keys of a table.
struct Keyspace {
    /// Every series reads back whatever is looked at: names and values have nothing that is written in another way.
    is_plain: bool,
    /// No series is longer.
    bytes_max: usize,
}

impl Judge<'_> {
    fn add(&mut self, table: Table) {
        let unit = self.options.precision.nanoseconds();
        let now = self.options.default_time.saturating_sub(self.options.default_time.rem_euclid(unit));
        let (rows, first) = (table.rows, self.next_row);
        self.next_row += rows;
        let keys = self.keyspace(&table);
        let (series, series_of_row) = self.known.of_rows(&table.tags, rows);
        let tag_keys = table.tags.into_iter().map(|tag| tag.name).collect();
        let times = table.times.unwrap_or_else(|| vec![now; rows]);
        let mut batch = PointsBatch {
            measurement: table.measurement,
            times,
            series,
            tag_keys: Some(tag_keys),
            series_of_row,
            line_of_row: Vec::new(),
            fields: table.fields,
        };
        let kept = self.kept(&batch, &keys, first);
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

    /// Whether each row is taken; `None`: all are.
    fn kept(&mut self, batch: &PointsBatch, keys: &Keyspace, first: usize) -> Option<Vec<bool>> {
        let doubtful = self.doubtful(batch, keys);
        let sparse: Vec<&[bool]> = batch
            .fields
            .iter()
            .filter(|field| field.name != TIME)
            .filter_map(|field| field.present.as_deref())
            .collect();
        let absent: usize = sparse.iter().map(|present| count_false(present)).sum();
        if doubtful.is_none() && self.absent_values + absent <= self.options.max_absent_values {
            self.absent_values += absent;
            return None;
        }
        let mut kept: Option<Vec<bool>> = None;
        for row in 0..batch.rows() {
            let is_doubtful = doubtful.as_ref().is_some_and(|doubtful| doubtful[row]);
            let absent = sparse.iter().filter(|present| !present[row]).count();
            let is_taken = (!is_doubtful || self.is_taken(batch, row, first + row))
                && self.has_room(batch, row, first + row, absent);
            if !is_taken {
                kept.get_or_insert_with(|| vec![true; batch.rows()])[row] = false;
            }
        }
        kept
    }

    /// As lines with different fields are bounded.
    fn has_room(&mut self, batch: &PointsBatch, row: usize, row_of_body: usize, absent: usize) -> bool {
        let max = self.options.max_absent_values;
        if self.absent_values + absent > max {
            let span = LineSpan { start: row_of_body, end: row_of_body };
            self.refuse(span, line_of(batch, row), Reason::TooManyAbsentValues(max));
            return false;
        }
        self.absent_values += absent;
        true
    }

    /// The rows that only the parser of lines can decide on; `None`: there are none.
    fn doubtful(&self, batch: &PointsBatch, keys: &Keyspace) -> Option<Vec<bool>> {
        let rows = batch.rows();
        let mut doubts = Doubts { rows, of_row: None };
        if batch.fields.len() > self.options.max_fields {
            doubts.add_all(|_| true);
        }
        let is_outside = |time: &i64| !(MIN_TIME..=MAX_TIME).contains(time);
        if batch.times.iter().any(is_outside) {
            doubts.add_all(|row| is_outside(&batch.times[row]));
        }
        if !keys.is_plain {
            let bad_series = self.bad_series(batch);
            doubts.add_all(|row| bad_series[batch.series_of_row[row] as usize]);
        }
        self.add_long_lines(batch, keys, &mut doubts);
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

    fn keyspace(&self, table: &Table) -> Keyspace {
        let bytes: usize = table.tags.iter().map(|tag| tag.name.len() + longest(&tag.values) + 2).sum();
        let field = table.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        let bytes_max = table.measurement.len() + bytes;
        let is_plain = table.tags.len() <= self.options.max_tags
            && bytes_max + field < PLAIN_KEY_BYTES_MAX
            && is_plain_name(&table.measurement)
            && table
                .tags
                .iter()
                .all(|tag| tag.name != TIME && is_plain_name(&tag.name) && is_plain_text(&tag.values.bytes));
        Keyspace { is_plain, bytes_max }
    }

    /// Rows that may be longer than a line may be: everything escaped, each number the longest.
    fn add_long_lines(&self, batch: &PointsBatch, keys: &Keyspace, doubts: &mut Doubts) {
        let max = self.options.max_line_bytes;
        let room = |field: &FieldColumn, text: usize| 2 * (field.name.len() + text) + NUMBER_BYTES_MAX;
        let text = |field: &FieldColumn| match &field.values {
            FieldValues::String(values) => longest(values),
            _ => 0,
        };
        let fields: usize = batch.fields.iter().map(|field| room(field, text(field))).sum();
        if 2 * keys.bytes_max + fields + NUMBER_BYTES_MAX <= max {
            return;
        }
        doubts.add_all(|row| {
            let tags = batch.series[batch.series_of_row[row] as usize].iter();
            let tags: usize = tags.map(|(key, value)| key.len() + value.len() + 2).sum();
            let text = |field: &FieldColumn| match &field.values {
                FieldValues::String(values) => values.get(row).len(),
                _ => 0,
            };
            let present = batch.fields.iter().filter(|field| field.is_present(row));
            let fields: usize = present.map(|field| room(field, text(field))).sum();
            2 * (batch.measurement.len() + tags) + fields + NUMBER_BYTES_MAX > max
        });
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
    !name.is_empty() && !name.starts_with('#') && is_plain_text(name)
}

/// Without a byte that is special in lines, or a blank. Runs of bytes are looked at as a whole, which the compiler does at once.
fn is_plain_text(text: &str) -> bool {
    let is_plain = |byte: u8| {
        (byte > b' ') & (byte != b'\\') & (byte != b',') & (byte != b'=') & (byte != b'"') & (byte != 0x7f)
    };
    text.as_bytes().chunks(256).all(|run| run.iter().fold(true, |plain, &byte| plain & is_plain(byte)))
}

fn count_false(values: &[bool]) -> usize {
    values.iter().filter(|value| !**value).count()
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
