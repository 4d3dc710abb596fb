//! Aggregates and selectors.

use hyperbytedb_domain::FieldType;

use super::{Argument, FunctionError, Point};

/// An aggregate or a selector with its literal arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    Count,
    /// `count(distinct(x))`
    CountDistinct,
    Distinct,
    Mean,
    Median,
    Mode,
    Spread,
    Stddev,
    Sum,
    First,
    Last,
    Min,
    Max,
    Percentile(f64),
    Sample(usize),
    /// The `limit` greatest points. With `tags` > 0 the first `tags` auxiliary values are the tags of
    /// `top(field, tag, …, limit)`: the greatest point of each tag combination, then the greatest of those.
    Top {
        limit: usize,
        tags: usize,
    },
    Bottom {
        limit: usize,
        tags: usize,
    },
    /// Cardinality sketch of the values.
    SumHll,
    /// Union of sketches.
    MergeHll,
    /// Estimate of a sketch.
    CountHll,
}

impl Aggregate {
    /// `name` in lower case; `tags`: how many tag arguments `top` and `bottom` have.
    pub fn new(name: &str, arguments: &[Argument], tags: usize) -> Result<Self, FunctionError> {
        todo!("{name} {arguments:?} {tags}")
    }

    /// InfluxDB's name of the function.
    pub fn name(&self) -> &'static str {
        todo!()
    }

    /// Does the result keep the time and the auxiliary columns of a point?
    pub fn is_selector(&self) -> bool {
        matches!(
            self,
            Self::First
                | Self::Last
                | Self::Min
                | Self::Max
                | Self::Percentile(_)
                | Self::Sample(_)
                | Self::Top { .. }
                | Self::Bottom { .. }
        )
    }

    /// Do the points keep their own times also with GROUP BY time? (`top`, `bottom`, `sample`)
    pub fn keeps_times(&self) -> bool {
        matches!(self, Self::Sample(_) | Self::Top { .. } | Self::Bottom { .. })
    }

    /// The type of the result for an input type.
    pub fn result_type(&self, input: FieldType) -> Result<FieldType, FunctionError> {
        todo!("{input}")
    }

    pub fn reducer(&self, input: FieldType) -> Result<Reducer, FunctionError> {
        todo!("{input}")
    }
}

/// Reduces the points of one window of one group, then starts afresh.
#[derive(Debug)]
pub enum Reducer {}

impl Reducer {
    /// Nil points are skipped.
    pub fn push(&mut self, point: &Point) {
        todo!("{point:?}")
    }

    /// Emits the result (nothing for a window without points) and forgets the window.
    /// Aggregates have the time [`ZERO_TIME`](super::ZERO_TIME); selectors a point's own time.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        todo!();
        emit(Point::default())
    }
}
