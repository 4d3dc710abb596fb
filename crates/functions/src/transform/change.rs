//! derivative, difference and elapsed: what happened since the point before.

use std::marker::PhantomData;

use hyperbytedb_domain::FieldValue;

use super::Operate;
use crate::Point;
use crate::typed::{Number, TypedValue};

/// Of several points at one time only the first counts.
#[derive(Debug)]
pub struct Derivative<T> {
    unit: f64,
    non_negative: bool,
    ascending: bool,
    last: Option<(i64, T)>,
}

impl<T> Derivative<T> {
    pub fn new(unit: i64, non_negative: bool, ascending: bool) -> Self {
        Self { unit: unit as f64, non_negative, ascending, last: None }
    }
}

impl<T: Number> Operate for Derivative<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        if let Some((time, before)) = self.last {
            if time == point.time {
                return;
            }
            let difference = value.difference(before);
            let elapsed = point.time.wrapping_sub(time);
            let elapsed = if self.ascending { elapsed } else { elapsed.wrapping_neg() };
            if !(self.non_negative && difference < 0.0) {
                let rate = difference / (elapsed as f64 / self.unit);
                emit(Point::new(point.time, FieldValue::Float(rate)));
            }
        }
        self.last = Some((point.time, value));
    }
}

/// Of several points at one time only the first counts.
#[derive(Debug)]
pub struct Difference<T> {
    non_negative: bool,
    last: Option<(i64, T)>,
}

impl<T> Difference<T> {
    pub fn new(non_negative: bool) -> Self {
        Self { non_negative, last: None }
    }
}

impl<T: Number> Operate for Difference<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        if let Some((time, before)) = self.last {
            if time == point.time {
                return;
            }
            if !(self.non_negative && value.difference(before) < 0.0) {
                emit(Point::new(point.time, value.sub(before).into_value()));
            }
        }
        self.last = Some((point.time, value));
    }
}

#[derive(Debug)]
pub struct Elapsed<T> {
    unit: i64,
    last: Option<i64>,
    of: PhantomData<T>,
}

impl<T> Elapsed<T> {
    pub fn new(unit: i64) -> Self {
        Self { unit, last: None, of: PhantomData }
    }
}

impl<T: TypedValue> Operate for Elapsed<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        if point.is_nil() {
            return;
        }
        if let Some(last) = self.last.replace(point.time) {
            let elapsed = point.time.wrapping_sub(last).checked_div(self.unit).unwrap_or(0);
            emit(Point::new(point.time, FieldValue::Integer(elapsed)));
        }
    }
}
