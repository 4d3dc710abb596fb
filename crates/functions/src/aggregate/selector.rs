//! first, last, min and max: the one best point.

use super::Reduce;
use crate::typed::TypedValue;
use crate::{Aux, Point};

#[derive(Debug, Clone, Copy)]
pub enum Pick {
    First,
    Last,
    Min,
    Max,
}

#[derive(Debug)]
pub struct Selector<T> {
    pick: Pick,
    best: Option<(i64, T, Aux)>,
}

impl<T: TypedValue> Selector<T> {
    pub fn new(pick: Pick) -> Self {
        Self { pick, best: None }
    }

    /// Of points at the same time `first` and `last` take the greater value (of booleans `first` takes
    /// false); of equal values `min` and `max` take the earlier point.
    fn wins(&self, time: i64, value: &T) -> bool {
        let Some((best_time, best, _)) = &self.best else { return true };
        let (less, greater) = (value.less(best), best.less(value));
        let is_boolean = std::any::TypeId::of::<T>() == std::any::TypeId::of::<bool>();
        match self.pick {
            Pick::First => {
                time < *best_time || (time == *best_time && if is_boolean { less } else { greater })
            }
            Pick::Last => time > *best_time || (time == *best_time && greater),
            Pick::Min => less || (value.same(best) && time < *best_time),
            Pick::Max => greater || (value.same(best) && time < *best_time),
        }
    }
}

impl<T: TypedValue> Reduce for Selector<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        if self.wins(point.time, &value) {
            self.best = Some((point.time, value, point.aux.clone()));
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        if let Some((time, value, aux)) = self.best.take() {
            emit(Point { time, value: value.into_value(), aux });
        }
    }
}
