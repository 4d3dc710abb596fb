//! One line, read exactly as InfluxDB 1.x reads it.

use crate::body::skip_blanks;
use crate::error::Reason;
use crate::fields::{self, RawField, backslashes_before};
use crate::number::parse_time;
use crate::options::ParseOptions;
use crate::series::SeriesParts;

/// A line's parts, still escaped.
#[derive(Debug)]
pub(crate) struct RawPoint<'a> {
    /// The line; positions in `series` refer to it.
    pub text: &'a str,
    pub series: SeriesParts,
    pub fields: Vec<RawField<'a>>,
    /// Nanoseconds since 1970; none when the line has no timestamp.
    pub time: Option<i64>,
}

/// Reads a line without leading blanks that is neither empty nor a comment.
pub(crate) fn read_line<'a>(line: &'a [u8], options: &ParseOptions) -> Result<RawPoint<'a>, Reason> {
    if line.len() > options.max_line_bytes {
        return Err(Reason::LineTooLong { bytes: line.len(), max: options.max_line_bytes });
    }
    let mut series = SeriesParts::default();
    series.read(line, options.max_tags)?;
    let start = skip_blanks(line, series.end);
    let end = fields::check(line, start)?;
    let text = std::str::from_utf8(line).map_err(|_| Reason::InvalidUtf8)?;
    let mut fields = Vec::new();
    fields::split(&text[start..end], series.end, options.max_fields, &mut fields)?;
    let time = read_time(line, end, options)?;
    check_names(&line[..series.end], &fields)?;
    Ok(RawPoint { text, series, fields, time })
}

fn read_time(line: &[u8], start: usize, options: &ParseOptions) -> Result<Option<i64>, Reason> {
    let start = skip_blanks(line, start);
    let rest = &line[start..];
    let sign = usize::from(rest.first() == Some(&b'-'));
    let length = sign + rest[sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, tail) = rest.split_at(length);
    if !matches!(tail.first(), None | Some(b' ' | b'\n')) {
        return Err(Reason::BadTimestamp);
    }
    let time = match std::str::from_utf8(digits) {
        Ok("") => None,
        Ok(digits) => Some(parse_time(digits, options.precision)?),
        Err(_) => return Err(Reason::BadTimestamp),
    };
    if tail.iter().any(|&b| b != b' ') { Err(Reason::InvalidPoint) } else { Ok(time) }
}

/// Names that cannot be written back as line protocol: see the reasons.
fn check_names(series: &[u8], fields: &[RawField<'_>]) -> Result<(), Reason> {
    let is_even = |name: &[u8], at: usize| backslashes_before(name, at).is_multiple_of(2);
    let breaks = |name: &[u8]| memchr::memchr_iter(b'\n', name).any(|at| is_even(name, at));
    if breaks(series) || fields.iter().any(|field| breaks(field.key.as_bytes())) {
        return Err(Reason::NewlineInName);
    }
    let pair_before = |special| {
        memchr::memchr_iter(special, series)
            .any(|at| is_even(series, at) && at > 0 && series[at - 1] == b'\\')
    };
    if pair_before(b' ') && (memchr::memchr(b'"', series).is_some() || pair_before(b',') || pair_before(b'='))
    {
        return Err(Reason::AmbiguousEscapes);
    }
    Ok(())
}
