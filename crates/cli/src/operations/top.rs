//! `top`: what a server does, from the difference of two readings of its metrics.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Row, Sparkline, Table};

use crate::answer::cell;
use crate::client::{Client, Query};
use crate::error::{Error, Result};

/// Readings that the curves show.
const HISTORY: usize = 300;
const MAX_QUERIES: usize = 50;

/// Values by name and labels, as `name{labels}`.
type Metrics = BTreeMap<String, f64>;

/// Counters, shown by second: a heading, the metric, and the labels that it must have.
const RATES: [(&str, &str, &str); 7] = [
    ("writes/s", "hyperbytedb_http_requests_total", "endpoint=\"/write\""),
    ("queries/s", "hyperbytedb_http_requests_total", "endpoint=\"/query\""),
    ("bytes written/s", "hyperbytedb_write_payload_bytes_sum", ""),
    ("bytes answered/s", "hyperbytedb_http_response_bytes_total", ""),
    ("rows flushed/s", "hyperbytedb_flush_points_total", ""),
    ("writes refused/s", "hyperbytedb_writes_refused_total", ""),
    ("queries refused/s", "hyperbytedb_queries_refused_total", ""),
];
const LEVELS: [(&str, &str); 5] = [
    ("requests at work", "hyperbytedb_http_requests_in_flight"),
    ("head bytes", "hyperbytedb_head_bytes"),
    ("memtable bytes", "hyperbytedb_memtable_bytes"),
    ("log bytes", "hyperbytedb_wal_bytes"),
    ("unfinished deletes", "hyperbytedb_unfinished_deletes"),
];
/// Times until the first byte of an answer, shown as their mean since the last reading, in milliseconds.
const MEANS: [(&str, &str, &str); 2] = [
    ("write, mean ms", "hyperbytedb_http_response_start_seconds", "endpoint=\"/write\""),
    ("query, mean ms", "hyperbytedb_http_response_start_seconds", "endpoint=\"/query\""),
];

struct Reading {
    at: Instant,
    metrics: Metrics,
}

/// Shows readings until the user leaves, or `count` of them.
pub fn run(client: &Client, interval: f64, count: u32, interrupted: &AtomicBool) -> Result<()> {
    let interval = Duration::try_from_secs_f64(interval).ok().filter(|interval| !interval.is_zero());
    let interval =
        interval.ok_or_else(|| Error::Usage("--interval is a number of seconds above 0".to_owned()))?;
    if count == 0 && io::stdout().is_terminal() {
        let mut terminal = ratatui::try_init()?;
        let result = live(client, interval, &mut terminal);
        ratatui::restore();
        return result;
    }
    let mut last = read(client)?;
    for _ in 0..count.max(1) {
        std::thread::sleep(interval);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let now = read(client)?;
        for (name, value) in figures(&last, &now) {
            println!("{name:<20} {value:>14}");
        }
        println!();
        last = now;
    }
    Ok(())
}

fn live(client: &Client, interval: Duration, terminal: &mut ratatui::DefaultTerminal) -> Result<()> {
    let mut last = read(client)?;
    let mut curves = [VecDeque::new(), VecDeque::new()];
    loop {
        if left(interval)? {
            return Ok(());
        }
        let now = read(client)?;
        for (curve, (_, metric, labels)) in curves.iter_mut().zip(RATES) {
            curve.push_front(whole(rate(&last, &now, metric, labels)));
            curve.truncate(HISTORY);
        }
        let figures = figures(&last, &now);
        let queries = queries(client);
        terminal.draw(|frame| draw(frame, client.address(), &figures, &curves, &queries))?;
        last = now;
    }
}

/// Waits for the next reading; whether the user wants to leave.
fn left(interval: Duration) -> Result<bool> {
    let until = Instant::now() + interval;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()? {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn draw(
    frame: &mut Frame<'_>,
    url: &str,
    figures: &[(&str, String)],
    curves: &[VecDeque<u64>; 2],
    queries: &[Vec<String>],
) {
    let height = u16::try_from(figures.len() + 2).unwrap_or(u16::MAX);
    let [upper, lower] =
        Layout::vertical([Constraint::Length(height), Constraint::Min(3)]).areas(frame.area());
    let [left, right] = Layout::horizontal([Constraint::Length(40), Constraint::Min(10)]).areas(upper);
    let rows = figures.iter().map(|(name, value)| Row::new([(*name).to_owned(), format!("{value:>16}")]));
    let table = Table::new(rows, [Constraint::Length(20), Constraint::Length(16)]);
    frame.render_widget(table.block(Block::bordered().title(format!("{url} (q: leave)"))), left);
    let areas: [_; 2] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(right);
    for ((area, curve), (name, ..)) in areas.into_iter().zip(curves).zip(RATES) {
        frame.render_widget(
            Sparkline::default().data(curve.iter().copied()).block(Block::bordered().title(name)),
            area,
        );
    }
    let header =
        Row::new(["id", "statement", "database", "for"]).style(Style::new().add_modifier(Modifier::BOLD));
    let widths = [Constraint::Length(8), Constraint::Min(20), Constraint::Length(16), Constraint::Length(10)];
    let table = Table::new(queries.iter().map(|query| Row::new(query.clone())), widths).header(header);
    frame.render_widget(table.block(Block::bordered().title("queries at work")), lower);
}

fn queries(client: &Client) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let query = Query { text: "SHOW QUERIES".to_owned(), ..Query::default() };
    // Who may not see them sees the rest.
    let asked = client.query(&query, &AtomicBool::new(false), |answer| {
        let values =
            answer.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
        rows.extend(values.map(|row| row.iter().take(4).map(|value| cell(value).into_owned()).collect()));
        Ok(())
    });
    drop(asked);
    rows.truncate(MAX_QUERIES);
    rows
}

fn read(client: &Client) -> Result<Reading> {
    let at = Instant::now();
    match client.text("/metrics")? {
        (200, text) => Ok(Reading { at, metrics: parse(&text) }),
        (status, text) => Err(Error::Refused(format!("/metrics: HTTP {status}: {}", text.trim()))),
    }
}

fn parse(text: &str) -> Metrics {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// All series of a metric that have these labels, together.
fn sum(metrics: &Metrics, name: &str, labels: &str) -> f64 {
    let series = metrics.iter().filter(|(series, _)| {
        series
            .strip_prefix(name)
            .is_some_and(|rest| (rest.is_empty() || rest.starts_with('{')) && rest.contains(labels))
    });
    // An empty `sum()` of floats is -0.
    series.fold(0.0, |sum, (_, value)| sum + value)
}

fn increase(last: &Reading, now: &Reading, name: &str, labels: &str) -> f64 {
    (sum(&now.metrics, name, labels) - sum(&last.metrics, name, labels)).max(0.0)
}

fn rate(last: &Reading, now: &Reading, name: &str, labels: &str) -> f64 {
    increase(last, now, name, labels) / now.at.duration_since(last.at).as_secs_f64().max(1e-3)
}

fn figures(last: &Reading, now: &Reading) -> Vec<(&'static str, String)> {
    let rates = RATES.map(|(heading, name, labels)| (heading, short(rate(last, now, name, labels))));
    let means = MEANS.map(|(heading, name, labels)| {
        let count = increase(last, now, &format!("{name}_count"), labels);
        let sum = increase(last, now, &format!("{name}_sum"), labels);
        (heading, if count > 0.0 { format!("{:.2}", sum / count * 1e3) } else { "-".to_owned() })
    });
    let levels = LEVELS.map(|(heading, name)| (heading, short(sum(&now.metrics, name, ""))));
    rates.into_iter().chain(means).chain(levels).collect()
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2} G", value / 1e9),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.1}"),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a curve")]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_sums_over_the_series_with_the_labels() {
        let reading = |text: &str, at| Reading { at, metrics: parse(text) };
        let start = Instant::now();
        let last = reading("# HELP a b\na{endpoint=\"/write\",status=\"204\"} 1\na_sum 9\n", start);
        let text = "a{endpoint=\"/write\",status=\"204\"} 5\na{endpoint=\"/write\",status=\"400\"} 6\na{endpoint=\"/query\"} 7\n";
        let now = reading(text, start + Duration::from_secs(2));
        assert!((rate(&last, &now, "a", "endpoint=\"/write\"") - 5.0).abs() < 1e-9);
    }
}
