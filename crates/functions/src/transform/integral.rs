//! integral: the area under the line through the points, by the trapezium rule, window by window.
//!
//! It does its own windows because a window's area reaches to the line's height at the border, on the way
//! to the next point. InfluxDB's float and integer versions differ and so do these: only the float one goes
//! on from the height at the border, and without windows the float one's result is at 1970 while the
//! integer one's is at the start of the range.

use hyperbytedb_domain::FieldValue;
use hyperbytedb_domain::time::MIN_TIME;

use super::Operate;
use crate::fill::linear_float;
use crate::typed::Number;
use crate::{Point, Windows};

pub fn integral<T: Number>(unit: i64, windows: Windows, ascending: bool) -> Box<dyn Operate> {
    let float = std::any::TypeId::of::<T>() == std::any::TypeId::of::<f64>();
    Box::new(Integral::<T> {
        unit: unit as f64,
        windows,
        ascending,
        float,
        previous: None,
        start: 0,
        end: 0,
        sum: 0.0,
        of: std::marker::PhantomData,
    })
}

#[derive(Debug)]
struct Integral<T> {
    unit: f64,
    windows: Windows,
    ascending: bool,
    float: bool,
    previous: Option<(i64, f64)>,
    /// The borders of the window where the statement enters and leaves it.
    start: i64,
    end: i64,
    sum: f64,
    of: std::marker::PhantomData<T>,
}

impl<T: Number> Integral<T> {
    fn enter_window(&mut self, time: i64) {
        let window = self.windows.window(time);
        (self.start, self.end) =
            if self.ascending { (window.start, window.end) } else { (window.end, window.start) };
    }

    fn windowed(&self) -> bool {
        self.windows.interval.is_some() || !self.float
    }

    fn left_window(&self, time: i64) -> bool {
        self.windowed() && if self.ascending { time >= self.end } else { time <= self.end }
    }

    /// The trapezium from the previous point to the next.
    fn add(&mut self, (from, left): (i64, f64), (to, right): (i64, f64)) {
        let elapsed = to.wrapping_sub(from) as f64 / self.unit;
        self.sum += 0.5 * (right + left) * elapsed;
    }
}

impl<T: Number> Operate for Integral<T> {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        let Some(value) = T::from_value(&point.value) else { return };
        let next = (point.time, value.to_f64());
        let Some(mut previous) = self.previous.replace(next) else {
            if self.windowed() {
                self.enter_window(point.time);
            }
            if !self.float && self.start == MIN_TIME {
                self.start = 0;
            }
            return;
        };
        if previous.0 == next.0 {
            return;
        }
        let mut height = next.1;
        if self.left_window(next.0) {
            if previous.0 != self.end {
                let border = linear_float(self.end, previous, next);
                self.add(previous, (self.end, border));
                previous.0 = self.end;
                if self.float {
                    previous.1 = border;
                } else {
                    height = border;
                }
            }
            emit(Point::new(self.start, FieldValue::Float(self.sum)));
            self.enter_window(next.0);
            self.sum = 0.0;
        }
        self.add(previous, (next.0, height));
    }

    fn finish(
        &mut self,
        _: &dyn Fn() -> bool,
        emit: &mut dyn FnMut(Point),
    ) -> Result<(), crate::FunctionError> {
        if let Some((time, _)) = self.previous.take()
            && time != self.start
        {
            emit(Point::new(self.start, FieldValue::Float(self.sum)));
        }
        Ok(())
    }
}
