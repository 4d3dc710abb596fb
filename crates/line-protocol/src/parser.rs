//! The walk over a body: lines in, batches and errors out.

use std::borrow::Cow;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use hyperbytedb_domain::series::Tags;

use crate::batch::Batch;
use crate::body::{LineSpan, next_line, skip_blanks};
use crate::error::{DropReason, DroppedPoint, LineError, Parsed, Reason};
use crate::escape::{NAME, unescape};
use crate::exact::{RawPoint, read_line};
use crate::fields::{Value, parse_value};
use crate::options::ParseOptions;
use crate::series::SeriesParts;

/// Parses a body. Never fails as a whole: lines that cannot be parsed become errors.
pub fn parse(body: &[u8], options: &ParseOptions) -> Parsed {
    let mut parser = Parser::new(body, options);
    let mut at = 0;
    while at < body.len() && parser.lines.len() <= options.max_points {
        at = match parser.read_common_line(at) {
            Some(next) => next,
            None => parser.read_any_line(at),
        };
    }
    parser.finish()
}

/// A series seen in this body: how it was written, and where its points go.
#[derive(Debug)]
struct KnownSeries<'a> {
    hash: u64,
    text: Cow<'a, [u8]>,
    series_ref: SeriesRef,
}

/// A batch and a series in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SeriesRef {
    pub batch: u32,
    pub series: u32,
}

/// State of one parse.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    pub body: &'a [u8],
    pub options: &'a ParseOptions,
    pub default_time: i64,
    pub batches: Vec<Batch>,
    pub lines: Vec<LineSpan>,
    /// Cells of columns that their row does not have, over all batches.
    pub absent_values: usize,
    /// Reused: the parts of a series, the columns a line has set.
    pub parts: SeriesParts,
    pub touched: Vec<u32>,
    batch_of_measurement: HashMap<String, u32>,
    known_series: HashTable<KnownSeries<'a>>,
    hasher: DefaultHashBuilder,
    errors: Vec<LineError>,
    error_bytes: usize,
    errors_left_out: usize,
    dropped: Vec<DroppedPoint>,
}

impl<'a> Parser<'a> {
    fn new(body: &'a [u8], options: &'a ParseOptions) -> Self {
        Self {
            body,
            options,
            default_time: options.rounded_default_time(),
            batches: Vec::new(),
            lines: Vec::new(),
            absent_values: 0,
            parts: SeriesParts::default(),
            touched: Vec::new(),
            batch_of_measurement: HashMap::new(),
            known_series: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            errors: Vec::new(),
            error_bytes: 0,
            errors_left_out: 0,
            dropped: Vec::new(),
        }
    }

    fn finish(self) -> Parsed {
        Parsed {
            batches: self.batches.into_iter().map(Batch::finish).collect(),
            has_too_many_points: self.lines.len() > self.options.max_points,
            lines: self.lines,
            errors: self.errors,
            errors_left_out: self.errors_left_out,
            dropped: self.dropped,
        }
    }

    /// Reads the line at `start` by the exact rules; the start of the next one.
    fn read_any_line(&mut self, start: usize) -> usize {
        let (whole, next) = next_line(self.body, start);
        let block = &self.body[whole.start..whole.end];
        let blanks = skip_blanks(block, 0);
        if blanks < block.len() && block[blanks] != b'#' {
            let line = &block[blanks..];
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let start = whole.start + blanks;
            let span = LineSpan { start, end: start + line.len() };
            let added = read_line(line, self.options).and_then(|point| self.add_point(&point, span));
            if let Err(reason) = added {
                self.refuse(span, reason);
            }
        }
        next
    }

    fn add_point(&mut self, point: &RawPoint<'a>, span: LineSpan) -> Result<(), Reason> {
        let parts = &point.series;
        let measurement = unescape(&point.text[parts.measurement.clone()], NAME);
        if parts.has_tag(point.text.as_bytes(), b"time") {
            self.dropped.push(DroppedPoint { span, reason: DropReason::TimeTag(measurement.into_owned()) });
            return Ok(());
        }
        let mut fields = Vec::with_capacity(point.fields.len());
        for field in &point.fields {
            let name = unescape(field.key, NAME);
            if name != "time" {
                fields.push((field.key, name, parse_value(field.value, self.options.uint_support)?));
            }
        }
        if fields.is_empty() {
            let reason = DropReason::OnlyTimeField(measurement.into_owned());
            self.dropped.push(DroppedPoint { span, reason });
            return Ok(());
        }
        let max = self.options.max_string_bytes;
        let length = |value: &Value<'_>| if let Value::String(text) = value { text.len() } else { 0 };
        if let Some((_, field, value)) = fields.iter().find(|(.., value)| length(value) > max) {
            let (field, measurement) = (field.to_string(), measurement.into_owned());
            let reason = DropReason::StringTooLong { field, measurement, bytes: length(value), max };
            self.dropped.push(DroppedPoint { span, reason });
            return Ok(());
        }
        let batch = self.batch_of(&measurement);
        let absent = match batch {
            Some(batch) => {
                let batch = &self.batches[batch as usize];
                let is_new =
                    |(_, name, value): &&(_, Cow<'_, str>, _)| batch.column_of_name(name, value).is_none();
                let new_columns = fields.iter().filter(is_new).count();
                let columns = batch.columns.len() + new_columns;
                columns.saturating_sub(fields.len()) + new_columns * batch.rows()
            }
            None => 0,
        };
        self.check_absent_values(absent)?;
        let batch = batch.unwrap_or_else(|| self.add_batch(measurement.into_owned()));
        let written = &point.text[..parts.end];
        let hash = self.hash_of(written.as_bytes());
        let series_ref = match self.find_series(hash, written.as_bytes()) {
            Some(series_ref) => series_ref,
            None => self.learn_series(hash, written, parts, batch),
        };
        let line = self.lines.len() as u32;
        let batch = &mut self.batches[batch as usize];
        for (key, name, value) in fields {
            batch.set_field(key.as_bytes(), &name, value);
        }
        batch.commit(point.time.unwrap_or(self.default_time), series_ref.series, line);
        self.absent_values += absent;
        self.lines.push(span);
        Ok(())
    }

    fn check_absent_values(&self, more: usize) -> Result<(), Reason> {
        let max = self.options.max_absent_values;
        if self.absent_values + more > max { Err(Reason::TooManyAbsentValues(max)) } else { Ok(()) }
    }

    pub fn batch_of(&self, measurement: &str) -> Option<u32> {
        self.batch_of_measurement.get(measurement).copied()
    }

    fn add_batch(&mut self, measurement: String) -> u32 {
        let number = self.batches.len() as u32;
        self.batch_of_measurement.insert(measurement.clone(), number);
        self.batches.push(Batch::new(measurement));
        number
    }

    /// The hash of a series as written.
    #[inline]
    pub fn hash_of(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    /// Where points of the series written like `text` go.
    #[inline]
    pub fn find_series(&self, hash: u64, text: &[u8]) -> Option<SeriesRef> {
        self.known_series.find(hash, |s| *s.text == *text).map(|s| s.series_ref)
    }

    /// Where in `batch` a series goes that is not known as written: where another spelling goes of
    /// it, or a new one. `parts` are those of `text`, which ends with the series.
    pub fn learn_series(&mut self, hash: u64, text: &'a str, parts: &SeriesParts, batch: u32) -> SeriesRef {
        // Sorted and free of escapes it is canonical.
        if parts.sorted && memchr::memchr(b'\\', text.as_bytes()).is_none() {
            let series_ref = self.add_series(batch, Tags::from_sorted(parts.raw_tags(text)));
            self.learn(hash, Cow::Borrowed(text.as_bytes()), series_ref);
            return series_ref;
        }
        let tags = Tags::new(parts.unescaped_tags(text));
        let canonical = tags.series_key(&self.batches[batch as usize].measurement).into_bytes();
        let canonical_hash = self.hash_of(&canonical);
        let series_ref = self.find_series(canonical_hash, &canonical).unwrap_or_else(|| {
            let series_ref = self.add_series(batch, tags);
            if canonical != text.as_bytes() {
                self.learn(canonical_hash, Cow::Owned(canonical), series_ref);
            }
            series_ref
        });
        self.learn(hash, Cow::Borrowed(text.as_bytes()), series_ref);
        series_ref
    }

    fn add_series(&mut self, batch: u32, tags: Tags) -> SeriesRef {
        let series = &mut self.batches[batch as usize].series;
        series.push(tags);
        SeriesRef { batch, series: series.len() as u32 - 1 }
    }

    fn learn(&mut self, hash: u64, text: Cow<'a, [u8]>, series_ref: SeriesRef) {
        self.known_series.insert_unique(hash, KnownSeries { hash, text, series_ref }, |s| s.hash);
    }

    fn refuse(&mut self, span: LineSpan, reason: Reason) {
        let left = self.options.max_error_bytes.saturating_sub(self.error_bytes);
        if left == 0 {
            self.errors_left_out += 1;
            return;
        }
        let quoted = (span.end - span.start).min(left);
        self.error_bytes += quoted + 64;
        let line = String::from_utf8_lossy(&self.body[span.start..span.start + quoted]).into_owned();
        self.errors.push(LineError { span, line, reason });
    }
}
