//! sum_hll and merge_hll: cardinality sketches in print.

use std::marker::PhantomData;
use std::sync::Arc;

use hyperbytedb_domain::FieldValue;

use super::Reduce;
use crate::hll::{ERROR_PREFIX, Sketch, SketchError};
use crate::typed::TypedValue;
use crate::{Point, ZERO_TIME};

fn printed(text: String) -> Point {
    Point::new(ZERO_TIME, FieldValue::String(Arc::from(text)))
}

#[derive(Debug, Default)]
pub struct SumHll<T> {
    sketch: Option<Sketch>,
    of: PhantomData<T>,
}

impl<T: TypedValue> Reduce for SumHll<T> {
    fn push(&mut self, point: &Point) {
        let sketch = match &point.value {
            FieldValue::Null | FieldValue::Time(_) | FieldValue::Strings(_) => return,
            _ => self.sketch.get_or_insert_default(),
        };
        match &point.value {
            FieldValue::Float(v) => sketch.add(&v.to_be_bytes()),
            FieldValue::Integer(v) => sketch.add(&v.to_be_bytes()),
            FieldValue::Unsigned(v) => sketch.add(&v.to_be_bytes()),
            FieldValue::Boolean(v) => sketch.add(&[u8::from(*v)]),
            FieldValue::String(v) => sketch.add(v.as_bytes()),
            FieldValue::Null | FieldValue::Time(_) | FieldValue::Strings(_) => {}
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        if let Some(sketch) = self.sketch.take() {
            emit(printed(sketch.print()));
        }
    }
}

#[derive(Debug, Default)]
pub struct MergeHll {
    merged: Option<Result<Option<Sketch>, SketchError>>,
}

impl MergeHll {
    fn with(before: Option<Sketch>, text: &str) -> Result<Option<Sketch>, SketchError> {
        Ok(match (before, Sketch::parse(text)?) {
            (Some(mut sketch), Some(other)) => {
                sketch.merge(&other);
                Some(sketch)
            }
            (before, other) => before.or(other),
        })
    }
}

impl Reduce for MergeHll {
    fn push(&mut self, point: &Point) {
        if let FieldValue::String(text) = &point.value {
            let merged = self.merged.take().unwrap_or(Ok(None));
            self.merged = Some(merged.and_then(|before| Self::with(before, text)));
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        match self.merged.take() {
            Some(Ok(Some(sketch))) => emit(printed(sketch.print())),
            Some(Ok(None)) => emit(printed("HLL_".to_owned())),
            Some(Err(error)) => emit(printed(format!("{ERROR_PREFIX}{error}"))),
            None => {}
        }
    }
}
