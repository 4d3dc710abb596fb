//! What one aggregate has seen of one group and window.
//!
//! Runs of rows of one series and window come in, each typed once, so that the loop over its words is tight.

use std::cmp::Ordering;

use hyperbytedb_domain::scan::AggregateFunction;
use hyperbytedb_domain::{FieldType, FieldValue};

use crate::chunk::Chunk;
use crate::value::Value;

/// A value and its time.
#[derive(Debug, Clone)]
struct Point {
    value: FieldValue,
    time: i64,
}

#[derive(Debug, Clone)]
enum State {
    Count(u64),
    /// Floats and integers; only one of the sums is used.
    Sum {
        float: f64,
        whole: u64,
        count: u64,
    },
    /// The point a selector has chosen so far.
    Point(Option<Point>),
    /// Minimum and maximum.
    Extremes(Option<(FieldValue, FieldValue)>),
    /// All values, as words, with their times.
    Values(Vec<(u64, i64)>),
}

#[derive(Debug, Clone)]
pub struct Accumulator {
    function: AggregateFunction,
    field_type: FieldType,
    state: State,
}

impl Accumulator {
    pub fn new(function: AggregateFunction, field_type: FieldType) -> Self {
        use AggregateFunction as F;
        let state = match function {
            F::Count => State::Count(0),
            F::Sum | F::Mean => State::Sum { float: 0.0, whole: 0, count: 0 },
            F::Min | F::Max | F::First | F::Last => State::Point(None),
            F::Spread => State::Extremes(None),
            F::Stddev | F::Median | F::Percentile(_) => State::Values(Vec::new()),
        };
        Self { function, field_type, state }
    }

    /// The type of the result.
    pub fn result_type(function: AggregateFunction, field_type: FieldType) -> FieldType {
        use AggregateFunction as F;
        match function {
            F::Count => FieldType::Integer,
            F::Mean | F::Stddev | F::Median => FieldType::Float,
            _ => field_type,
        }
    }

    /// Values held, beside a fixed size.
    pub fn held(&self) -> usize {
        if let State::Values(values) = &self.state { values.len() } else { 0 }
    }

    /// Takes rows of one series, in time order, of which `position` is the field.
    pub fn take(&mut self, chunk: &Chunk, position: usize, rows: impl Iterator<Item = usize>) {
        let words = chunk.present_words(position, rows);
        match &mut self.state {
            State::Count(count) => *count += words.count() as u64,
            State::Sum { float, whole, count } => match self.field_type {
                FieldType::Float => {
                    for (word, _) in words {
                        *float += f64::from_bits(word);
                        *count += 1;
                    }
                }
                _ => {
                    for (word, _) in words {
                        *whole = whole.wrapping_add(word);
                        *count += 1;
                    }
                }
            },
            State::Values(values) => values.extend(words),
            State::Point(point) => {
                let chosen = match (self.function, self.field_type) {
                    (AggregateFunction::First, _) => {
                        let mut words = words;
                        words.next()
                    }
                    (AggregateFunction::Last, _) => words.last(),
                    (function, FieldType::Float) => {
                        extreme(words, f64::from_bits, function == AggregateFunction::Max)
                    }
                    (function, FieldType::Integer) => {
                        extreme(words, |word| word as i64, function == AggregateFunction::Max)
                    }
                    (function, _) => extreme(words, |word| word, function == AggregateFunction::Max),
                };
                if let Some((word, time)) = chosen {
                    let value = chunk.owned_value(self.field_type, word);
                    merge_point(point, self.function, Point { value, time });
                }
            }
            State::Extremes(extremes) => {
                for (word, _) in words {
                    let value = chunk.owned_value(self.field_type, word);
                    merge_extremes(extremes, value);
                }
            }
        }
    }

    /// The result, and the time of the point that a selector chose.
    pub fn result(self) -> (FieldValue, Option<i64>) {
        let field_type = self.field_type;
        match (self.state, self.function) {
            (State::Count(0), _) | (State::Sum { count: 0, .. }, _) => (FieldValue::Null, None),
            (State::Count(count), _) => (FieldValue::Integer(count as i64), None),
            (State::Sum { float, whole, count }, function) => {
                let sum = match field_type {
                    FieldType::Float => FieldValue::Float(float),
                    FieldType::Unsigned => FieldValue::Unsigned(whole),
                    _ => FieldValue::Integer(whole as i64),
                };
                if function == AggregateFunction::Sum {
                    return (sum, None);
                }
                let sum = match sum {
                    FieldValue::Unsigned(sum) => sum as f64,
                    FieldValue::Integer(sum) => sum as f64,
                    _ => float,
                };
                (FieldValue::Float(sum / count as f64), None)
            }
            (State::Point(point), _) => match point {
                Some(point) => (point.value, Some(point.time)),
                None => (FieldValue::Null, None),
            },
            (State::Extremes(extremes), _) => (extremes.map_or(FieldValue::Null, difference), None),
            (State::Values(values), AggregateFunction::Percentile(percent)) => {
                percentile(values, field_type, percent)
            }
            (State::Values(values), AggregateFunction::Median) => (median(&values, field_type), None),
            (State::Values(values), _) => (deviation(&values, field_type), None),
        }
    }
}

/// The greatest or smallest; the earliest of equals.
fn extreme<T: PartialOrd + Copy>(
    words: impl Iterator<Item = (u64, i64)>,
    value: impl Fn(u64) -> T,
    greatest: bool,
) -> Option<(u64, i64)> {
    words.reduce(|best, next| {
        let (a, b) = (value(best.0), value(next.0));
        let is_better = if greatest { b > a } else { b < a };
        if is_better { next } else { best }
    })
}

fn compare(a: &FieldValue, b: &FieldValue) -> Ordering {
    match (Value::of_literal(a), Value::of_literal(b)) {
        (Some(a), Some(b)) => a.compare(b).unwrap_or(Ordering::Equal),
        _ => Ordering::Equal,
    }
}

fn merge_point(best: &mut Option<Point>, function: AggregateFunction, next: Point) {
    let Some(current) = best else {
        *best = Some(next);
        return;
    };
    let by_value = compare(&next.value, &current.value);
    let by_time = next.time.cmp(&current.time);
    let is_better = match function {
        AggregateFunction::Min => by_value.then(by_time).is_lt(),
        AggregateFunction::Max => by_value.reverse().then(by_time).is_lt(),
        AggregateFunction::First => by_time.then(by_value.reverse()).is_lt(),
        _ => by_time.then(by_value).is_gt(),
    };
    if is_better {
        *current = next;
    }
}

fn merge_extremes(extremes: &mut Option<(FieldValue, FieldValue)>, value: FieldValue) {
    match extremes {
        None => *extremes = Some((value.clone(), value)),
        Some((min, max)) => {
            if compare(&value, min).is_lt() {
                *min = value;
            } else if compare(&value, max).is_gt() {
                *max = value;
            }
        }
    }
}

fn difference((min, max): (FieldValue, FieldValue)) -> FieldValue {
    match (min, max) {
        (FieldValue::Float(min), FieldValue::Float(max)) => FieldValue::Float(max - min),
        (FieldValue::Integer(min), FieldValue::Integer(max)) => FieldValue::Integer(max.wrapping_sub(min)),
        (FieldValue::Unsigned(min), FieldValue::Unsigned(max)) => FieldValue::Unsigned(max - min),
        _ => FieldValue::Null,
    }
}

fn number(word: u64, field_type: FieldType) -> f64 {
    match field_type {
        FieldType::Integer => word as i64 as f64,
        FieldType::Unsigned => word as f64,
        _ => f64::from_bits(word),
    }
}

fn order(a: u64, b: u64, field_type: FieldType) -> Ordering {
    match field_type {
        FieldType::Integer => (a as i64).cmp(&(b as i64)),
        FieldType::Unsigned => a.cmp(&b),
        _ => f64::from_bits(a).partial_cmp(&f64::from_bits(b)).unwrap_or(Ordering::Equal),
    }
}

fn median(values: &[(u64, i64)], field_type: FieldType) -> FieldValue {
    let mut numbers: Vec<f64> = values.iter().map(|(word, _)| number(*word, field_type)).collect();
    let Some(upper) = numbers.len().checked_sub(1).map(|last| last.div_ceil(2)) else {
        return FieldValue::Null;
    };
    let (below, &mut high, _) = numbers.select_nth_unstable_by(upper, f64::total_cmp);
    if values.len() % 2 == 1 {
        return FieldValue::Float(high);
    }
    let low = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    FieldValue::Float(low + (high - low) * 0.5)
}

/// Welford's method.
fn deviation(values: &[(u64, i64)], field_type: FieldType) -> FieldValue {
    if values.len() < 2 {
        return FieldValue::Null;
    }
    let (mut mean, mut squares) = (0.0, 0.0);
    for (n, (word, _)) in values.iter().enumerate() {
        let value = number(*word, field_type);
        let off = value - mean;
        mean += off / (n + 1) as f64;
        squares += off * (value - mean);
    }
    FieldValue::Float((squares / (values.len() - 1) as f64).sqrt())
}

/// Nearest rank.
fn percentile(mut values: Vec<(u64, i64)>, field_type: FieldType, percent: f64) -> (FieldValue, Option<i64>) {
    let rank = (values.len() as f64 * percent / 100.0 + 0.5).floor() - 1.0;
    if !(rank >= 0.0 && rank < values.len() as f64) {
        return (FieldValue::Null, None);
    }
    let by_value = |a: &(u64, i64), b: &(u64, i64)| order(a.0, b.0, field_type).then(a.1.cmp(&b.1));
    let (_, &mut (word, time), _) = values.select_nth_unstable_by(rank as usize, by_value);
    let value = match field_type {
        FieldType::Integer => FieldValue::Integer(word as i64),
        FieldType::Unsigned => FieldValue::Unsigned(word),
        _ => FieldValue::Float(f64::from_bits(word)),
    };
    (value, Some(time))
}
