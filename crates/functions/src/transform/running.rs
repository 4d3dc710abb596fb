//! moving_average, cumulative_sum, and the technical indicators as operators.

use std::collections::VecDeque;
use std::marker::PhantomData;

use hyperbytedb_domain::FieldValue;

use super::{Held, Operate};
use crate::Point;
use crate::typed::Number;

/// Sums in the type of the field, divides as a float.
#[derive(Debug)]
pub struct MovingAverage<T> {
    period: usize,
    sum: T,
    values: VecDeque<T>,
}

impl<T: Number> MovingAverage<T> {
    pub fn new(period: usize) -> Self {
        Self { period, sum: T::ZERO, values: VecDeque::new() }
    }
}

impl<T: Number> Operate for MovingAverage<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        if self.values.len() == self.period
            && let Some(oldest) = self.values.pop_front()
        {
            self.sum = self.sum.sub(oldest);
        }
        self.values.push_back(value);
        self.sum = self.sum.add(value);
        if self.values.len() == self.period {
            let average = self.sum.to_f64() / self.period as f64;
            emit(Point::new(point.time, FieldValue::Float(average)));
        }
    }

    fn held(&self) -> usize {
        self.values.len()
    }
}

#[derive(Debug, Default)]
pub struct CumulativeSum<T>(Option<T>);

impl<T: Number> Operate for CumulativeSum<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        let sum = self.0.unwrap_or(T::ZERO).add(value);
        self.0 = Some(sum);
        emit(Point::new(point.time, sum.into_value()));
    }
}

/// Feeds an indicator and withholds its first results.
#[derive(Debug)]
pub struct Indicated<T> {
    held: Held,
    count: u64,
    of: PhantomData<T>,
}

impl<T> Indicated<T> {
    pub fn new(held: Held) -> Self {
        Self { held, count: 0, of: PhantomData }
    }
}

impl<T: Number> Operate for Indicated<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        let result = self.held.inner.add(value.to_f64());
        self.count += 1;
        if self.count > self.held.hold && !(self.held.finite_only && result.is_infinite()) {
            emit(Point::new(point.time, FieldValue::Float(result)));
        }
    }

    fn held(&self) -> usize {
        self.held.inner.held()
    }
}
