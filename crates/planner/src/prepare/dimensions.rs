//! The rules of GROUP BY.

use hyperbytedb_functions::Interval;
use hyperbytedb_timeseriesql::ast::{Call, Expr};
use hyperbytedb_timeseriesql::time::{is_time_literal, parse_time_literal};
use jiff::tz::TimeZone;

use super::PrepareError;
use super::error::refuse;
use super::fold::fold_constants;

/// Nanoseconds from the first instant of year 1, where InfluxDB's truncation of times starts, to 1970.
const YEAR_ONE_NS: i128 = -62_135_596_800 * 1_000_000_000;

const BAD_OFFSET: &str = "time dimension offset must be duration or now()";

/// GROUP BY after the checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Dimensions {
    /// Tags, wildcards and regexes.
    pub tags: Vec<Expr>,
    /// Whether there is a `time()` other than `time(0s)`, be it negative: it counts for the rules of the language.
    pub has_time: bool,
    /// The windows of the result: the first `time()`, if positive.
    pub interval: Option<Interval>,
}

/// Checks GROUP BY and takes `time()` out of it.
pub(super) fn split(dimensions: &[Expr], now: i64, zone: &TimeZone) -> Result<Dimensions, PrepareError> {
    let mut split = Dimensions::default();
    let mut first_time = true;
    for dimension in dimensions {
        match fold_constants(dimension) {
            Expr::VarRef(tag) if tag.name.eq_ignore_ascii_case("time") => {
                refuse!("time() is a function and expects at least one argument")
            }
            Expr::Call(call) => {
                let interval = time_interval(&call, split.has_time, now, zone)?;
                split.has_time |= interval.every != 0;
                if first_time && interval.every > 0 {
                    split.interval = Some(interval);
                }
                first_time = false;
            }
            tag @ (Expr::VarRef(_) | Expr::Wildcard(_) | Expr::Regex(_)) => split.tags.push(tag),
            _ => refuse!("only time and tag dimensions allowed"),
        }
    }
    Ok(split)
}

fn time_interval(call: &Call, repeated: bool, now: i64, zone: &TimeZone) -> Result<Interval, PrepareError> {
    if call.name != "time" {
        refuse!("only time() calls allowed in dimensions");
    }
    let (every, offset) = match call.args.as_slice() {
        [every] => (every, None),
        [every, offset] => (every, Some(offset)),
        _ => refuse!("time dimension expected 1 or 2 arguments"),
    };
    let &Expr::Duration(every) = every else {
        refuse!("time dimension must have duration argument");
    };
    if repeated {
        refuse!("multiple time dimensions not allowed");
    }
    let offset = match offset {
        Some(offset) => time_offset(offset, every, now, zone)?,
        None => 0,
    };
    Ok(Interval { every, offset })
}

fn time_offset(offset: &Expr, every: i64, now: i64, zone: &TimeZone) -> Result<i64, PrepareError> {
    match offset {
        Expr::Duration(offset) => Ok(offset.checked_rem(every).unwrap_or(0)),
        Expr::Time(time) => Ok(since_window_start(*time, every)),
        Expr::Call(call) if call.name != "now" => refuse!("time dimension offset function must be now()"),
        Expr::Call(call) if !call.args.is_empty() => {
            refuse!("time dimension offset now() function requires no arguments")
        }
        Expr::Call(_) => Ok(since_window_start(now.into(), every)),
        Expr::String(text) if is_time_literal(text) => match parse_time_literal(text, zone) {
            Some(_) => refuse!("invalid time dimension offset: {offset}"),
            None => refuse!("invalid timestamp string"),
        },
        _ => refuse!("{BAD_OFFSET}"),
    }
}

fn since_window_start(time: i128, every: i64) -> i64 {
    if every <= 0 {
        return 0;
    }
    (time - YEAR_ONE_NS).rem_euclid(every.into()) as i64
}
