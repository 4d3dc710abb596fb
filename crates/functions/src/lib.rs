//! InfluxQL's functions as operators over the points of one group.
//!
//! A group is one measurement name with one set of GROUP BY tags; its points arrive in time order,
//! ascending or descending. The executor owns grouping and windows and drives three kinds of operators:
//!
//! * [`Reducer`]: the points of one window in, zero or more points out ([`Aggregate`] says which);
//! * [`Transform`]: a stream of points in, a stream of points out ([`Transformation`] says which);
//! * [`GapFill`]: points at window starts in, the same points with the gaps filled out.
//!
//! [`value`] and [`math`] are the scalar rules: operators, comparisons and mathematical functions.

pub mod aggregate;
pub mod argument;
mod error;
pub mod fill;
pub mod go_math;
mod go_sort;
mod hll;
pub mod math;
pub mod point;
pub mod transform;
mod typed;
pub mod value;
pub mod window;

pub use aggregate::{Aggregate, Reducer};
pub use argument::Argument;
pub use error::FunctionError;
pub use fill::{FillMode, GapFill};
pub use math::MathFunction;
pub use point::{Aux, Point, ZERO_TIME};
pub use transform::{Transform, Transformation, Warmup};
pub use window::{Interval, Window, Windows};
