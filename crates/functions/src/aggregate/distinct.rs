//! distinct and count(distinct()).

use hashbrown::HashTable;
use hyperbytedb_domain::FieldValue;

use super::Reduce;
use crate::typed::TypedValue;
use crate::{Point, ZERO_TIME};

/// The values seen, each with the time of its first point.
#[derive(Debug)]
struct Seen<T>(HashTable<(T, i64)>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<T: TypedValue> Seen<T> {
    fn push(&mut self, point: &Point) {
        let Some(value) = T::from_value(&point.value) else { return };
        let hash = value.hash64();
        if self.0.find(hash, |(seen, _)| seen.same(&value)).is_none() {
            self.0.insert_unique(hash, (value, point.time), |(seen, _)| seen.hash64());
        }
    }
}

/// Emits the values in the order of their first points, those of one time by size; the results have no
/// time of their own.
#[derive(Debug)]
pub struct Distinct<T>(Seen<T>);

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self(Seen::default())
    }
}

impl<T: TypedValue> Reduce for Distinct<T> {
    fn push(&mut self, point: &Point) {
        self.0.push(point);
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let mut values: Vec<(T, i64)> = self.0.0.drain().collect();
        values.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.order(&b.0)));
        for (value, _) in values {
            emit(Point::new(ZERO_TIME, value.into_value()));
        }
    }

    fn held(&self) -> usize {
        self.0.0.len()
    }
}

#[derive(Debug)]
pub struct CountDistinct<T>(Seen<T>);

impl<T> Default for CountDistinct<T> {
    fn default() -> Self {
        Self(Seen::default())
    }
}

impl<T: TypedValue> Reduce for CountDistinct<T> {
    fn push(&mut self, point: &Point) {
        self.0.push(point);
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        let count = self.0.0.len();
        if count > 0 {
            emit(Point::new(ZERO_TIME, FieldValue::Integer(count as i64)));
        }
        self.0.0.clear();
    }

    fn held(&self) -> usize {
        self.0.0.len()
    }
}
