//! Points, window by window.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::thread;

use hyperbytedb_domain::FieldValue;
use jiff::Timestamp;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::Check;
use super::report::Report;
use crate::client::Server;
use crate::error::Error;
use crate::read::{Measurement, Points, PointsOf, Row, value_of};

/// Windows of one measurement at most, and series of one window: what is in memory.
const MAX_KEYS: usize = 1_000_000;

/// Windows whose series are named, of one measurement, and series of one window.
const DETAILED_WINDOWS: usize = 3;
const DETAILED_SERIES: usize = 10;

/// How many points there are, and the sum of the hashes of their values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    points: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, hash: u64) {
        self.points += 1;
        self.hash = self.hash.wrapping_add(hash);
    }
}

/// Compares the points of a measurement.
pub fn compare(
    check: &Check,
    servers: &[Server; 2],
    database: &str,
    measurement: &Measurement,
    report: &mut Report,
) -> Result<(), Error> {
    let range = check.selection.range.get()?;
    let name = format!("{database}.{}.{}", measurement.policy, measurement.name);
    let of = |server: &Server| windows(check, server, database, measurement, range.clone());
    let (a, b) = both(servers, of)?;
    let mut differing = Vec::new();
    for window in a.keys().chain(b.keys().filter(|window| !a.contains_key(window))) {
        let sums = [&a, &b].map(|windows| windows.get(window).copied().unwrap_or_default());
        if sums[0] == sums[1] {
            report.equal(sums[0].points);
        } else {
            differing.push((*window, sums));
        }
    }
    differing.sort_by_key(|(window, _)| *window);
    let texts: Vec<String> = differing.iter().map(|(window, sums)| text(&name, *window, sums)).collect();
    report.differ_all(&texts);
    for (window, _) in differing.iter().take(DETAILED_WINDOWS) {
        let start = (*window).max(*range.start());
        let end = window.saturating_add(check.window - 1).min(*range.end());
        let of = |server: &Server| series(check, server, database, measurement, start..=end);
        let (a, b) = both(servers, of)?;
        list(*window, &a, &b, report);
    }
    Ok(())
}

fn text(name: &str, window: i64, [a, b]: &[Sum; 2]) -> String {
    let what = if a.points == b.points { "with other values" } else { "" };
    format!("{name}: window of {}: {} points on A, {} on B {what}", time(window), a.points, b.points)
        .trim_end()
        .to_owned()
}

fn list(window: i64, a: &HashMap<String, Sum>, b: &HashMap<String, Sum>, report: &Report) {
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key)).collect();
    keys.sort();
    keys.dedup();
    for key in keys.iter().take(DETAILED_SERIES) {
        let [a, b] = [a, b].map(|sums| sums.get(*key).copied().unwrap_or_default().points);
        report.detail(&format!("{}: {{{key}}}: {a} points on A, {b} on B", time(window)));
    }
    if keys.len() > DETAILED_SERIES {
        report.detail(&format!("{}: and {} more series", time(window), keys.len() - DETAILED_SERIES));
    }
}

fn time(nanoseconds: i64) -> String {
    Timestamp::from_nanosecond(nanoseconds.into())
        .map_or_else(|_| nanoseconds.to_string(), |time| time.to_string())
}

/// Asks both servers at once.
fn both<T: Send>(
    servers: &[Server; 2],
    of: impl Fn(&Server) -> Result<T, Error> + Sync,
) -> Result<(T, T), Error> {
    thread::scope(|scope| {
        let second = scope.spawn(|| of(&servers[1]));
        let first = of(&servers[0])?;
        let second = second.join().map_err(|_| Error::usage("a comparison ended in a panic"))??;
        Ok((first, second))
    })
}

fn windows(
    check: &Check,
    server: &Server,
    database: &str,
    measurement: &Measurement,
    range: RangeInclusive<i64>,
) -> Result<BTreeMap<i64, Sum>, Error> {
    let mut found = BTreeMap::<i64, Sum>::new();
    visit(check, server, database, measurement, range, |_, time, hash| {
        // The first one may begin before the first possible time.
        let window = time.div_euclid(check.window).saturating_mul(check.window);
        found.entry(window).or_default().add(hash);
        within(found.len(), "windows: give a longer --window")
    })?;
    Ok(found)
}

fn series(
    check: &Check,
    server: &Server,
    database: &str,
    measurement: &Measurement,
    range: RangeInclusive<i64>,
) -> Result<HashMap<String, Sum>, Error> {
    let mut found = HashMap::<String, Sum>::new();
    visit(check, server, database, measurement, range, |key, _, hash| {
        match found.get_mut(key) {
            Some(sum) => sum.add(hash),
            None => drop(found.insert(key.to_owned(), Sum { points: 1, hash })),
        }
        within(found.len(), "series in a window: give a shorter --window")
    })?;
    Ok(found)
}

fn within(count: usize, what: &str) -> Result<(), Error> {
    if count > MAX_KEYS { Err(Error::usage(format!("more than {MAX_KEYS} {what}"))) } else { Ok(()) }
}

/// Calls `point` with the tags, the time and the hash of each point.
fn visit(
    check: &Check,
    server: &Server,
    database: &str,
    measurement: &Measurement,
    range: RangeInclusive<i64>,
    mut point: impl FnMut(&str, i64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let of = PointsOf { database, measurement, range, chunk_rows: check.chunk_rows as usize };
    let mut answer = Points::ask(server, &of)?;
    while answer.read(|tags, rows| {
        let key: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let key = key.join(",");
        for row in rows {
            let (time, hash) = hash_of(&key, measurement, row)?;
            point(&key, time, hash)?;
        }
        Ok(())
    })? {}
    Ok(())
}

/// The time of a row, and a hash of its series, its time and its values with their types.
fn hash_of(key: &str, measurement: &Measurement, row: &Row<'_>) -> Result<(i64, u64), Error> {
    let (time, values) = row.split_first().ok_or_else(|| Error::usage("a row without a time"))?;
    let time: i64 = time.get().parse().map_err(|_| Error::usage(format!("no time: {}", time.get())))?;
    let mut hasher = Xxh3::with_seed(xxh3_64_with_seed(key.as_bytes(), time.cast_unsigned()));
    for (at, (raw, kind)) in values.iter().zip(measurement.fields.values()).enumerate() {
        let value = value_of(raw, *kind)?;
        let (number, bytes) = match &value {
            FieldValue::Float(value) => (1u8, &value.to_bits().to_le_bytes()[..]),
            FieldValue::Integer(value) => (2, &value.to_le_bytes()[..]),
            FieldValue::Unsigned(value) => (3, &value.to_le_bytes()[..]),
            FieldValue::Boolean(value) => (4, if *value { &[1u8][..] } else { &[0u8][..] }),
            FieldValue::String(value) => (5, value.as_bytes()),
            _ => continue,
        };
        hasher.update(&(at as u64).to_le_bytes());
        hasher.update(&[number]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Ok((time, hasher.digest()))
}
