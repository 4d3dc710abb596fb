//! What became of a body: batches, refused lines, dropped points, and InfluxDB's texts for them.

use std::fmt;

use hyperbytedb_domain::PointsBatch;
use hyperbytedb_domain::settings;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};

use crate::body::LineSpan;

/// Longest series key, and longest series key with a field key (four bytes apart), as in InfluxDB.
pub(crate) const MAX_KEY_BYTES: usize = 65535;

/// Why a line cannot be parsed. The texts are InfluxDB's where InfluxDB refuses the line too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("missing measurement")]
    MissingMeasurement,
    #[error("missing fields")]
    MissingFields,
    #[error("missing tag key")]
    MissingTagKey,
    #[error("missing tag value")]
    MissingTagValue,
    #[error("invalid tag format")]
    InvalidTagFormat,
    #[error("duplicate tags")]
    DuplicateTags,
    #[error("max key length exceeded: {0} > {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    #[error("missing field key")]
    MissingFieldKey,
    #[error("missing field value")]
    MissingFieldValue,
    #[error("invalid field format")]
    InvalidFieldFormat,
    /// A field key that ends in an escaped backslash, where InfluxDB's two passes over the fields
    /// disagree on where the key ends.
    #[error("invalid value: field-key={0}")]
    InvalidValue(String),
    #[error("invalid number")]
    InvalidNumber,
    #[error("invalid float")]
    InvalidFloat,
    #[error("unable to parse integer {0}: strconv.ParseInt: parsing \"{0}\": value out of range")]
    IntegerOutOfRange(String),
    #[error("unable to parse unsigned {0}: strconv.ParseUint: parsing \"{0}\": value out of range")]
    UnsignedOutOfRange(String),
    #[error("invalid boolean")]
    InvalidBoolean,
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
    #[error("bad timestamp")]
    BadTimestamp,
    #[error("strconv.ParseInt: parsing \"{0}\": invalid syntax")]
    TimestampSyntax(String),
    #[error("strconv.ParseInt: parsing \"{0}\": value out of range")]
    TimestampOverflow(String),
    #[error("time outside range {MIN_TIME} - {MAX_TIME}")]
    TimeOutsideRange,
    /// Something follows the timestamp.
    #[error("point is invalid")]
    InvalidPoint,
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A newline in a name stands behind an even number of backslashes: written back, it would end the line.
    #[error("newline in a name")]
    NewlineInName,
    /// A series key with a pair of backslashes before a space, and also a quote or a pair of backslashes
    /// before a comma or equal sign: where the line ends would depend on the order of the tags.
    #[error("ambiguous backslashes in the series key")]
    AmbiguousEscapes,
    /// A field key starts with a tab or NUL, which would be lost in front of the first field.
    #[error("blank before field key")]
    BlankBeforeFieldKey,
    #[error("line of {bytes} bytes is longer than {max} ({key})", key = settings::WRITE_MAX_LINE_BYTES)]
    LineTooLong { bytes: usize, max: usize },
    #[error("more than {0} tags ({key})", key = settings::WRITE_MAX_TAGS)]
    TooManyTags(usize),
    #[error("more than {0} fields ({key})", key = settings::WRITE_MAX_FIELDS)]
    TooManyFields(usize),
    #[error(
        "too many different fields: over {0} absent values in one request ({key})",
        key = settings::WRITE_MAX_ABSENT_VALUES
    )]
    TooManyAbsentValues(usize),
}

impl Reason {
    /// The setting of the limit that is reached.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::LineTooLong { .. } => Some(settings::WRITE_MAX_LINE_BYTES),
            Self::TooManyTags(_) => Some(settings::WRITE_MAX_TAGS),
            Self::TooManyFields(_) => Some(settings::WRITE_MAX_FIELDS),
            Self::TooManyAbsentValues(_) => Some(settings::WRITE_MAX_ABSENT_VALUES),
            _ => None,
        }
    }
}

/// A line that cannot be parsed. Displayed as InfluxDB does: `unable to parse '…': reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    pub span: LineSpan,
    /// The line as text, cut where [`ParseOptions::max_error_bytes`](crate::ParseOptions) is used up.
    pub line: String,
    pub reason: Reason,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unable to parse '{}': {}", self.line, self.reason)
    }
}

impl std::error::Error for LineError {}

/// Why a point that parses is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    #[error("invalid tag key: input tag \"time\" on measurement \"{0}\" is invalid")]
    TimeTag(String),
    #[error("invalid field name: input field \"time\" on measurement \"{0}\" is invalid")]
    OnlyTimeField(String),
    #[error("input field {field:?} on measurement {measurement:?} is too long, {bytes} > {max}")]
    StringTooLong { field: String, measurement: String, bytes: usize, max: usize },
}

/// A point that parses but is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedPoint {
    pub span: LineSpan,
    pub reason: DropReason,
}

/// What a body holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// One per measurement, in order of first appearance.
    pub batches: Vec<PointsBatch>,
    /// The accepted lines in order; `PointsBatch::line_of_row` holds indexes into it.
    pub lines: Vec<LineSpan>,
    /// The lines that cannot be parsed, in order, as many as `max_error_bytes` lets in.
    pub errors: Vec<LineError>,
    /// How many more lines cannot be parsed.
    pub errors_left_out: usize,
    /// The points that parse but are not written, in order.
    pub dropped: Vec<DroppedPoint>,
    /// The body has more points than it may: the rest was not looked at.
    pub has_too_many_points: bool,
}

/// The points of a write that were dropped, counted, with the reason of the first in the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops {
    first: Option<(usize, String)>,
    count: usize,
}

impl Drops {
    /// Counts a point whose line starts at byte `line_start` of the body.
    pub fn add(&mut self, line_start: usize, reason: impl fmt::Display) {
        self.count += 1;
        if self.first.as_ref().is_none_or(|(start, _)| line_start < *start) {
            self.first = Some((line_start, reason.to_string()));
        }
    }

    pub const fn count(&self) -> usize {
        self.count
    }
}

impl Parsed {
    /// The points the parser itself dropped, to which the schema check adds its own.
    pub fn drops(&self) -> Drops {
        let mut drops = Drops::default();
        for point in &self.dropped {
            drops.add(point.span.start, &point.reason);
        }
        drops
    }

    /// How many lines and points are not written.
    pub fn refused(&self, drops: &Drops) -> usize {
        self.errors.len() + self.errors_left_out + drops.count
    }

    /// InfluxDB's error text for the whole write; `None` when everything was written. Dropped points
    /// hide the lines that cannot be parsed, and those say `partial write` only when some point parsed.
    pub fn error_text(&self, drops: &Drops) -> Option<String> {
        if let Some((_, reason)) = &drops.first {
            return Some(partial_write(reason, drops.count));
        }
        let failures = self.parse_failures()?;
        let any_point = !self.lines.is_empty() || !self.dropped.is_empty();
        Some(if any_point { partial_write(&failures, 0) } else { failures })
    }

    /// The refused lines, joined by newlines; `None` when there are none.
    fn parse_failures(&self) -> Option<String> {
        if self.errors.is_empty() && self.errors_left_out == 0 {
            return None;
        }
        let mut lines: Vec<String> = self.errors.iter().map(LineError::to_string).collect();
        if self.errors_left_out > 0 {
            lines.push(format!("and {} more lines", self.errors_left_out));
        }
        Some(lines.join("\n"))
    }
}

/// `partial write: reason dropped=n`.
pub fn partial_write(reason: &str, dropped: usize) -> String {
    format!("partial write: {reason} dropped={dropped}")
}
