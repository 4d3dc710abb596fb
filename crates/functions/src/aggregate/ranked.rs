//! median, mode and percentile: functions of the sorted values.

use std::cmp::Ordering;

use hyperbytedb_domain::FieldValue;

use super::Reduce;
use crate::go_sort;
use crate::typed::{Number, TypedValue};
use crate::{Aux, Point, ZERO_TIME};

#[derive(Debug, Default)]
pub struct Median<T>(Vec<T>);

impl<T: Number> Reduce for Median<T> {
    fn push(&mut self, point: &Point) {
        self.0.extend(T::from_value(&point.value));
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let values = &mut self.0;
        let middle = values.len() / 2;
        if !values.is_empty() {
            let (below, high, _) = values.select_nth_unstable_by(middle, T::order);
            let high = *high;
            let median = match below.iter().copied().max_by(T::order) {
                Some(low) if values.len().is_multiple_of(2) => low.to_f64() + high.sub(low).to_f64() / 2.0,
                _ => high.to_f64(),
            };
            emit(Point::new(ZERO_TIME, FieldValue::Float(median)));
        }
        self.0.clear();
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug, Default)]
pub struct Mode<T>(Vec<(T, i64)>);

impl<T: TypedValue> Mode<T> {
    /// Runs of equal values compete by length; of equally long ones the one wins whose first point is not
    /// after the winner's last. A value that comes once wins only if it is the least and none comes twice.
    fn of_sorted(points: &[(T, i64)]) -> Option<T> {
        let (first, first_time) = points.first()?;
        let (mut run, mut run_time, mut run_length) = (first, *first_time, 0);
        let (mut best, mut best_time, mut best_length) = (first, *first_time, 0);
        for (value, time) in points {
            if value.order(run) != Ordering::Equal {
                (run, run_time, run_length) = (value, *time, 1);
                continue;
            }
            run_length += 1;
            if best_length > run_length || (best_length == run_length && run_time > best_time) {
                continue;
            }
            (best, best_time, best_length) = (value, *time, run_length);
        }
        Some(best.clone())
    }

    /// Of booleans the more frequent one; true if there are as many of both.
    fn of_booleans(points: &[(T, i64)]) -> Option<T> {
        let greatest = points.iter().max_by(|a, b| a.0.order(&b.0))?;
        let least = points.iter().min_by(|a, b| a.0.order(&b.0))?;
        let most = points.iter().filter(|p| p.0.order(&greatest.0).is_eq()).count();
        Some(if most * 2 >= points.len() { greatest.0.clone() } else { least.0.clone() })
    }
}

impl<T: TypedValue> Reduce for Mode<T> {
    fn push(&mut self, point: &Point) {
        self.0.extend(T::from_value(&point.value).map(|value| (value, point.time)));
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let mode = if std::any::TypeId::of::<T>() == std::any::TypeId::of::<bool>() {
            Self::of_booleans(&self.0)
        } else {
            go_sort::sort_by(&mut self.0, |a, b| a.0.less(&b.0));
            Self::of_sorted(&self.0)
        };
        if let Some(mode) = mode {
            emit(Point::new(ZERO_TIME, mode.into_value()));
        }
        self.0.clear();
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// The point of the nearest rank; none if the rank is below the first point.
#[derive(Debug)]
pub struct Percentile<T> {
    percent: f64,
    points: Vec<(T, i64, Aux)>,
}

impl<T> Percentile<T> {
    pub fn new(percent: f64) -> Self {
        Self { percent, points: Vec::new() }
    }
}

impl<T: Number> Reduce for Percentile<T> {
    fn push(&mut self, point: &Point) {
        if let Some(value) = T::from_value(&point.value) {
            self.points.push((value, point.time, point.aux.clone()));
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let rank = (self.points.len() as f64 * self.percent / 100.0 + 0.5).floor() - 1.0;
        if rank >= 0.0 && rank < self.points.len() as f64 {
            go_sort::sort_by(&mut self.points, |a, b| a.0.less(&b.0));
            let (value, time, aux) = self.points.swap_remove(rank as usize);
            emit(Point { time, value: value.into_value(), aux });
        }
        self.points.clear();
    }

    fn held(&self) -> usize {
        self.points.len()
    }
}
