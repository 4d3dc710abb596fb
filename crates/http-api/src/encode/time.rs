//! The time column: RFC 3339 with up to nine decimals, or an integer in the unit of `epoch`.

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::result::ResultZone;
use jiff::Timestamp;

use super::text::push_integer;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Writes times. Remembers the last day, since rows come in time order.
#[derive(Debug)]
pub struct TimeWriter {
    epoch: Option<Precision>,
    day: i64,
    /// `YYYY-MM-DDT` of `day`.
    date: [u8; 11],
}

impl TimeWriter {
    /// `None`: RFC 3339.
    pub fn new(epoch: Option<Precision>) -> Self {
        Self { epoch, day: 0, date: *b"1970-01-01T" }
    }

    /// Appends a JSON value: a quoted text, or an integer. Units are truncated towards zero, as in InfluxDB.
    pub fn push_json(&mut self, out: &mut Vec<u8>, time: i64, zone: &ResultZone) {
        match self.epoch {
            Some(unit) => push_integer(out, time / unit.nanoseconds()),
            None => {
                out.push(b'"');
                self.push_rfc3339(out, time, zone);
                out.push(b'"');
            }
        }
    }

    /// The integer that stands for `time` in formats without a text form: nanoseconds unless `epoch` is given.
    pub fn integer(&self, time: i64) -> i64 {
        time / self.epoch.unwrap_or_default().nanoseconds()
    }

    /// Whether times are integers.
    pub const fn is_epoch(&self) -> bool {
        self.epoch.is_some()
    }

    fn push_rfc3339(&mut self, out: &mut Vec<u8>, time: i64, zone: &ResultZone) {
        let offset = zone.as_ref().map_or(0, |zone| offset_seconds(zone, time));
        let seconds = time.div_euclid(NANOS_PER_SECOND) + offset;
        let nanos = time.rem_euclid(NANOS_PER_SECOND);
        let day = seconds.div_euclid(SECONDS_PER_DAY);
        if day != self.day {
            self.day = day;
            self.date = date_text(day);
        }
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        let [h, m, s] = [second / 3600, second / 60 % 60, second % 60].map(two_digits);
        out.extend_from_slice(&self.date);
        out.extend_from_slice(&[h[0], h[1], b':', m[0], m[1], b':', s[0], s[1]]);
        push_fraction(out, nanos);
        push_offset(out, offset);
    }
}

/// Seconds east of UTC at this time.
fn offset_seconds(zone: &jiff::tz::TimeZone, time: i64) -> i64 {
    Timestamp::from_nanosecond(i128::from(time))
        .map_or(0, |timestamp| i64::from(zone.to_offset(timestamp).seconds()))
}

fn two_digits(n: i64) -> [u8; 2] {
    [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]
}

/// Days since 1970 as `YYYY-MM-DDT`; the calendar arithmetic counts years from 1 March.
fn date_text(day: i64) -> [u8; 11] {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let [c, y, m, d] = [year / 100, year % 100, month, day_of_month].map(two_digits);
    [c[0], c[1], y[0], y[1], b'-', m[0], m[1], b'-', d[0], d[1], b'T']
}

fn push_fraction(out: &mut Vec<u8>, nanos: i64) {
    if nanos == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    let mut rest = nanos;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let used = 9 - digits.iter().rev().take_while(|&&d| d == b'0').count();
    out.push(b'.');
    out.extend_from_slice(&digits[..used]);
}

fn push_offset(out: &mut Vec<u8>, offset: i64) {
    let minutes = offset / 60;
    if minutes == 0 {
        out.push(b'Z');
        return;
    }
    let (h, m) = (two_digits(minutes.abs() / 60), two_digits(minutes.abs() % 60));
    out.extend_from_slice(&[if minutes < 0 { b'-' } else { b'+' }, h[0], h[1], b':', m[0], m[1]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};

    fn written(epoch: Option<Precision>, time: i64, zone: &ResultZone) -> String {
        let mut out = Vec::new();
        TimeWriter::new(epoch).push_json(&mut out, time, zone);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn utc() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (1_582_934_400_000_000_000, "2020-02-29T00:00:00Z"),
            (1_609_459_199_120_000_000, "2020-12-31T23:59:59.12Z"),
            (951_868_800_000_000_000, "2000-03-01T00:00:00Z"),
            (MIN_TIME, "1677-09-21T00:12:43.145224194Z"),
            (MAX_TIME, "2262-04-11T23:47:16.854775806Z"),
        ];
        for (time, expected) in cases {
            assert_eq!(written(None, time, &None), format!("\"{expected}\""));
        }
    }

    #[test]
    fn zones() {
        let zone = |name| Some(jiff::tz::TimeZone::get(name).unwrap());
        let cases = [
            (0, "Europe/Berlin", "1970-01-01T01:00:00+01:00"),
            (1_593_561_600_000_000_000, "Europe/Berlin", "2020-07-01T02:00:00+02:00"),
            (0, "America/St_Johns", "1969-12-31T20:30:00-03:30"),
            (1_580_000_000_000_000_000, "Europe/London", "2020-01-26T00:53:20Z"),
        ];
        for (time, name, expected) in cases {
            assert_eq!(written(None, time, &zone(name)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn epochs_truncate_towards_zero() {
        for (text, expected) in
            [("ns", "-1500000000"), ("u", "-1500000"), ("ms", "-1500"), ("s", "-1"), ("h", "0")]
        {
            assert_eq!(written(Some(Precision::parse(text)), -1_500_000_000, &None), expected);
        }
    }

    #[test]
    fn every_day_agrees_with_the_calendar() {
        for day in (-106_751..106_752).step_by(17) {
            let expected =
                Timestamp::from_second(day * SECONDS_PER_DAY).unwrap().strftime("%Y-%m-%dT").to_string();
            assert_eq!(std::str::from_utf8(&date_text(day)).unwrap(), expected);
        }
    }
}
