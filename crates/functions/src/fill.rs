//! Gaps between the windows of one group.

use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::time::MIN_TIME;
use hyperbytedb_domain::{FieldType, FieldValue};

use super::{Aux, Point, Windows, go_math};

/// The `fill()` option.
#[derive(Debug, Clone, PartialEq)]
pub enum FillMode {
    Null,
    None,
    /// A float or an integer.
    Number(FieldValue),
    Previous,
    Linear,
}

impl FillMode {
    /// The mode as it applies to a column whose outermost function is `function`: for `count` null is 0.
    pub fn for_function(self, function: &str) -> Self {
        if self == Self::Null && function == "count" { Self::Number(FieldValue::Integer(0)) } else { self }
    }
}

/// What a number in `fill()` becomes in a column of a type: strings get the empty one, booleans false.
pub fn cast_fill(number: &FieldValue, to: FieldType) -> FieldValue {
    let float = |n: f64| match to {
        FieldType::Integer => FieldValue::Integer(n as i64),
        FieldType::Unsigned => FieldValue::Unsigned(n as u64),
        _ => FieldValue::Float(n),
    };
    match (to, number) {
        (FieldType::String, _) => FieldValue::String(Arc::from("")),
        (FieldType::Boolean, _) => FieldValue::Boolean(false),
        (FieldType::Integer, FieldValue::Integer(n)) => FieldValue::Integer(*n),
        (FieldType::Unsigned, FieldValue::Integer(n)) => FieldValue::Unsigned(*n as u64),
        (_, FieldValue::Integer(n)) => float(*n as f64),
        (_, FieldValue::Float(n)) => float(*n),
        _ => FieldValue::Null,
    }
}

/// Puts a point into every window of the range that has none.
///
/// Feed one group's points in the order of `ascending`, their times at window starts, then call
/// [`finish`](Self::finish). A group without points gets none, and there is no fill before the first
/// point when the range is open there. `emit` may break off: there can be very many windows.
#[derive(Debug)]
pub struct GapFill {
    mode: FillMode,
    number: FieldValue,
    windows: Windows,
    every: i64,
    ascending: bool,
    /// Starts of the first and the last window in the order of the statement.
    first: i64,
    last: i64,
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    /// The next window expected.
    time: i64,
    zone_offset: i64,
    previous: Option<(i64, FieldValue)>,
    columns: usize,
}

impl GapFill {
    /// `value_type`: the type of the filled column; `windows` must have an interval, or nothing is filled.
    pub fn new(mode: FillMode, value_type: FieldType, windows: &Windows, ascending: bool) -> Self {
        let start_of = |time| windows.window(time).start;
        let (min, max) = (start_of(windows.range.min), start_of(windows.range.max));
        let (first, last) = if ascending { (min, max) } else { (max, min) };
        let number = match &mode {
            FillMode::Number(number) => cast_fill(number, value_type),
            _ => FieldValue::Null,
        };
        Self {
            mode,
            number,
            windows: windows.clone(),
            every: windows.interval.map_or(0, |interval| interval.every),
            ascending,
            first,
            last,
            group: None,
        }
    }

    pub fn push(&mut self, point: Point, emit: &mut dyn FnMut(Point) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.every == 0 || self.mode == FillMode::None {
            return emit(point);
        }
        let mut group = match self.group.take() {
            Some(group) => group,
            None => self.open(&point),
        };
        while if self.ascending { point.time > group.time } else { point.time < group.time } {
            emit(self.filler(&group, Some(&point)))?;
            self.advance(&mut group);
        }
        group.previous = (!point.is_nil()).then(|| (point.time, point.value.clone()));
        self.advance(&mut group);
        self.group = Some(group);
        emit(point)
    }

    /// How many windows of the open group are still to come.
    pub fn windows_left(&self) -> u64 {
        let Some(group) = self.group.as_ref().filter(|_| self.every > 0) else { return 0 };
        let (near, far) = if self.ascending { (group.time, self.last) } else { (self.last, group.time) };
        if near > far { 0 } else { far.abs_diff(near) / self.every.unsigned_abs() + 1 }
    }

    /// Fills up to the end of the range and forgets the group: the operator is ready for the next one.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Point) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(mut group) = self.group.take() else { return ControlFlow::Continue(()) };
        while if self.ascending {
            group.time <= self.last
        } else {
            group.time >= self.last && self.windows.range.min > MIN_TIME
        } {
            emit(self.filler(&group, None))?;
            self.advance(&mut group);
        }
        ControlFlow::Continue(())
    }

    fn open(&self, point: &Point) -> Group {
        let unbounded = self.ascending && self.windows.range.min <= MIN_TIME;
        let time = if unbounded { self.windows.window(point.time).start } else { self.first };
        let zone_offset = self.windows.zone_offset(time);
        Group { time, zone_offset, previous: None, columns: point.aux.len() }
    }

    /// One interval on, more or less the change of the zone's offset on the way unless it is as long.
    fn advance(&self, group: &mut Group) {
        let every = if self.ascending { self.every } else { -self.every };
        group.time = group.time.saturating_add(every);
        if self.windows.zone.is_some() {
            let offset = self.windows.zone_offset(group.time.saturating_sub(1));
            let change = group.zone_offset - offset;
            if change.abs() < self.every {
                group.time = group.time.saturating_add(change);
            }
            group.zone_offset = offset;
        }
    }

    fn filler(&self, group: &Group, next: Option<&Point>) -> Point {
        let value = match &self.mode {
            FillMode::Null | FillMode::None => FieldValue::Null,
            FillMode::Number(_) => self.number.clone(),
            FillMode::Previous => group.previous.as_ref().map_or(FieldValue::Null, |p| p.1.clone()),
            FillMode::Linear => match (&group.previous, next) {
                (Some((time, value)), Some(next)) => {
                    let at = group.time / self.every;
                    linear(at, (time / self.every, value), (next.time / self.every, &next.value))
                }
                _ => FieldValue::Null,
            },
        };
        Point { time: group.time, value, aux: vec![FieldValue::Null; group.columns] as Aux }
    }
}

/// The value at `at` on the line through two points; `Null` unless they are numbers of one type.
fn linear(at: i64, (x0, y0): (i64, &FieldValue), (x1, y1): (i64, &FieldValue)) -> FieldValue {
    use FieldValue::{Float, Integer, Unsigned};
    let line = |rise: f64, base: f64| rise / (x1 - x0) as f64 * (at - x0) as f64 + base;
    match (y0, y1) {
        (Float(a), Float(b)) => Float(line(b - a, *a)),
        (Integer(a), Integer(b)) => Integer(go_math::to_integer(line(b.wrapping_sub(*a) as f64, *a as f64))),
        (Unsigned(a), Unsigned(b)) => {
            Unsigned(go_math::to_unsigned(line(b.wrapping_sub(*a) as f64, *a as f64)))
        }
        _ => FieldValue::Null,
    }
}

/// The value at `at` on the line through two float points, as integral interpolates at window borders.
pub(super) fn linear_float(at: i64, (x0, y0): (i64, f64), (x1, y1): (i64, f64)) -> f64 {
    (y1 - y0) / x1.wrapping_sub(x0) as f64 * at.wrapping_sub(x0) as f64 + y0
}
