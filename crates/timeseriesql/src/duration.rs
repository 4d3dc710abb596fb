//! Durations as InfluxQL writes them.

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("invalid duration")]
    Invalid,
    #[error("overflowed duration {0}: choose a smaller duration or INF")]
    Overflow(String),
}

/// Parses `1h30m` and the like into nanoseconds.
///
/// Units: `ns`, `u`, `µ`, `ms`, `s`, `m`, `h`, `d`, `w`. A leading `-` negates. Sums wrap; an error
/// comes only when the result is negative, which is how InfluxDB notices an overflow.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text.chars().count() < 2 {
        return Err(DurationError::Invalid);
    }
    let mut total: i64 = 0;
    let mut last = "";
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError::Invalid)?;
        let count: i64 = rest[..digits].parse().map_err(|_| DurationError::Invalid)?;
        let (unit_len, unit) = split_unit(&rest[digits..]).ok_or(DurationError::Invalid)?;
        let end = digits + unit_len;
        total = total.wrapping_add(count.wrapping_mul(unit));
        last = &rest[..end];
        rest = &rest[end..];
    }
    if total < 0 && !negative {
        let digits = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
        let count = last[..digits].trim_start_matches('0');
        let count = if count.is_empty() { "0" } else { count };
        return Err(DurationError::Overflow(format!("{count}{}", &last[digits..])));
    }
    Ok(if negative { total.wrapping_neg() } else { total })
}

/// Length and nanoseconds of the unit that `text` begins with.
fn split_unit(text: &str) -> Option<(usize, i64)> {
    let two = text.get(..2);
    Some(match text.chars().next()? {
        'n' if two == Some("ns") => (2, 1),
        'u' => (1, MICROSECOND),
        'µ' => ('µ'.len_utf8(), MICROSECOND),
        'm' if two == Some("ms") => (2, MILLISECOND),
        'm' => (1, MINUTE),
        's' => (1, SECOND),
        'h' => (1, HOUR),
        'd' => (1, DAY),
        'w' => (1, WEEK),
        _ => return None,
    })
}

/// The duration as a whole number of the largest unit that divides it.
pub fn format_duration(ns: i64) -> String {
    const UNITS: [(i64, &str); 8] = [
        (WEEK, "w"),
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (SECOND, "s"),
        (MILLISECOND, "ms"),
        (MICROSECOND, "u"),
        (1, "ns"),
    ];
    let fitting = UNITS.iter().find(|(unit, _)| ns != 0 && ns % unit == 0);
    match fitting {
        Some((unit, name)) => format!("{}{name}", ns / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_influxdb_parses() {
        let cases = [
            ("10u", Ok(10_000)),
            ("10µ", Ok(10_000)),
            ("15ms", Ok(15_000_000)),
            ("100s", Ok(100_000_000_000)),
            ("2m", Ok(120_000_000_000)),
            ("1h30m", Ok(5_400_000_000_000)),
            ("1w", Ok(WEEK)),
            ("-5s", Ok(-5_000_000_000)),
            ("3ns", Ok(3)),
            ("", Err(DurationError::Invalid)),
            ("3", Err(DurationError::Invalid)),
            ("1000", Err(DurationError::Invalid)),
            ("10n", Err(DurationError::Invalid)),
            ("w", Err(DurationError::Invalid)),
            ("ms", Err(DurationError::Invalid)),
            ("1.2w", Err(DurationError::Invalid)),
            ("10x", Err(DurationError::Invalid)),
            ("10000000h", Err(DurationError::Overflow("10000000h".into()))),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn formats_in_the_largest_whole_unit() {
        let cases = [
            (0, "0s"),
            (3, "3ns"),
            (3_000, "3u"),
            (1_001_000, "1001u"),
            (15_000_000, "15ms"),
            (90 * MINUTE, "90m"),
            (-HOUR, "-1h"),
            (DAY, "1d"),
            (2 * WEEK, "2w"),
        ];
        for (ns, text) in cases {
            assert_eq!(format_duration(ns), text);
            assert_eq!(parse_duration(text), Ok(ns));
        }
    }
}
