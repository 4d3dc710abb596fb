//! count_hll: the estimate of each printed sketch.

use hyperbytedb_domain::FieldValue;

use super::Operate;
use crate::Point;
use crate::hll::Sketch;

#[derive(Debug)]
pub struct CountHll;

impl Operate for CountHll {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        if let FieldValue::String(text) = &point.value {
            let count = Sketch::parse(text).ok().flatten().map_or(0, |sketch| sketch.count());
            emit(Point::new(point.time, FieldValue::Unsigned(count)));
        }
    }
}
