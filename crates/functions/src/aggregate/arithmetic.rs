//! count, sum, mean, spread and stddev: one pass, constant memory.

use std::marker::PhantomData;

use hyperbytedb_domain::FieldValue;

use super::Reduce;
use crate::typed::{Number, TypedValue};
use crate::{Point, ZERO_TIME};

fn result(value: FieldValue) -> Point {
    Point::new(ZERO_TIME, value)
}

#[derive(Debug, Default)]
pub struct Count<T> {
    count: i64,
    of: PhantomData<T>,
}

impl<T: TypedValue> Reduce for Count<T> {
    fn push(&mut self, point: &Point) {
        if !point.is_nil() {
            self.count += 1;
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            emit(result(FieldValue::Integer(count)));
        }
    }
}

#[derive(Debug, Default)]
pub struct Sum<T>(Option<T>);

impl<T: Number> Reduce for Sum<T> {
    fn push(&mut self, point: &Point) {
        if let Some(value) = T::from_value(&point.value) {
            self.0 = Some(self.0.unwrap_or(T::ZERO).add(value));
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        if let Some(sum) = self.0.take() {
            emit(result(sum.into_value()));
        }
    }
}

/// Sums in the type of the field (integers wrap around), divides as a float.
#[derive(Debug)]
pub struct Mean<T> {
    sum: T,
    count: u64,
}

impl<T: Number> Default for Mean<T> {
    fn default() -> Self {
        Self { sum: T::ZERO, count: 0 }
    }
}

impl<T: Number> Reduce for Mean<T> {
    fn push(&mut self, point: &Point) {
        if let Some(value) = T::from_value(&point.value) {
            self.sum = self.sum.add(value);
            self.count += 1;
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let Self { sum, count } = std::mem::take(self);
        if count > 0 {
            emit(result(FieldValue::Float(sum.to_f64() / count as f64)));
        }
    }
}

#[derive(Debug, Default)]
pub struct Spread<T>(Option<(T, T)>);

impl<T: Number> Reduce for Spread<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        let (min, max) = self.0.unwrap_or((value, value));
        // A NaN is both the least and the greatest, and stays it.
        let least = |a: T, b: T| if a.to_f64().is_nan() || a.order(&b).is_lt() { a } else { b };
        let greatest = |a: T, b: T| if a.to_f64().is_nan() || a.order(&b).is_gt() { a } else { b };
        let nan = value.to_f64().is_nan();
        self.0 = Some(if nan { (value, value) } else { (least(min, value), greatest(max, value)) });
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        if let Some((min, max)) = self.0.take() {
            emit(result(max.sub(min).into_value()));
        }
    }
}

/// Up to here stddev keeps the values and squares their distances in a second pass, as InfluxDB does to
/// the last digit; beyond, Welford's running sum of squares takes over.
const STDDEV_VALUES_KEPT_MAX: usize = 1 << 17;

#[derive(Debug, Default)]
pub struct Stddev<T> {
    values: Vec<f64>,
    points: u64,
    count: u64,
    mean: f64,
    squares: f64,
    of: PhantomData<T>,
}

impl<T: Number> Stddev<T> {
    fn variance(&self) -> f64 {
        let squares = if self.count as usize <= STDDEV_VALUES_KEPT_MAX {
            self.values.iter().map(|v| (v - self.mean) * (v - self.mean)).sum()
        } else {
            self.squares
        };
        squares / (self.count as f64 - 1.0)
    }
}

impl<T: Number> Reduce for Stddev<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        let value = value.to_f64();
        self.points += 1;
        if value.is_nan() {
            return;
        }
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
        if self.values.len() < STDDEV_VALUES_KEPT_MAX {
            self.values.push(value);
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        if self.points > 0 {
            let stddev = if self.points < 2 { f64::NAN } else { self.variance().sqrt() };
            emit(result(FieldValue::Float(stddev)));
        }
        self.values.clear();
        (self.points, self.count, self.mean, self.squares) = (0, 0, 0.0, 0.0);
    }

    fn held(&self) -> usize {
        self.values.len()
    }
}
