//! sample: a uniformly random choice of points, by reservoir.

use rand::RngExt;

use super::Reduce;
use crate::typed::TypedValue;
use crate::{Aux, Point};

#[derive(Debug)]
pub struct Sample<T> {
    size: usize,
    seen: usize,
    reservoir: Vec<(T, i64, Aux)>,
}

impl<T> Sample<T> {
    pub fn new(size: usize) -> Self {
        Self { size, seen: 0, reservoir: Vec::new() }
    }
}

impl<T: TypedValue> Reduce for Sample<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        self.seen += 1;
        let chosen = || (value, point.time, point.aux.clone());
        if self.reservoir.len() < self.size {
            self.reservoir.push(chosen());
            return;
        }
        let place = rand::rng().random_range(0..self.seen);
        if place < self.size {
            self.reservoir[place] = chosen();
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        self.seen = 0;
        self.reservoir.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.order(&b.0)));
        for (value, time, aux) in self.reservoir.drain(..) {
            emit(Point { time, value: value.into_value(), aux });
        }
    }

    fn held(&self) -> usize {
        self.reservoir.len()
    }
}
