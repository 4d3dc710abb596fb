//! Aggregates and selectors: what reduces the points of one window.

mod arithmetic;
mod distinct;
mod ranked;
mod sample;
mod selector;
mod sketch;
mod top;

use std::fmt;
use std::sync::Arc;

use hyperbytedb_domain::FieldType;

use super::typed::{Number, TypedValue};
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
    /// `top(field, tag, …, limit)`: of each tag combination the greatest point, then the greatest of those.
    Top {
        limit: usize,
        tags: usize,
    },
    Bottom {
        limit: usize,
        tags: usize,
    },
    /// Cardinality sketch of the values, in print.
    SumHll,
    /// Union of printed sketches.
    MergeHll,
}

impl Aggregate {
    /// `name` in lower case; `arguments`: the literals after the field; `tags`: how many tag arguments
    /// `top` and `bottom` have. `count(distinct(x))` goes by the name `count_distinct`.
    pub fn new(name: &str, arguments: &[Argument], tags: usize) -> Result<Self, FunctionError> {
        let count = |name: &str| match arguments.first() {
            Some(Argument::Integer(n)) if *n > 0 => Ok(usize::try_from(*n).unwrap_or(usize::MAX)),
            Some(Argument::Integer(n)) => {
                Err(FunctionError::Argument(format!("limit ({n}) in {name} function must be at least 1")))
            }
            _ => Err(FunctionError::Argument(format!("expected integer argument in {name}()"))),
        };
        Ok(match name {
            "count" => Self::Count,
            "count_distinct" => Self::CountDistinct,
            "distinct" => Self::Distinct,
            "mean" => Self::Mean,
            "median" => Self::Median,
            "mode" => Self::Mode,
            "spread" => Self::Spread,
            "stddev" => Self::Stddev,
            "sum" => Self::Sum,
            "first" => Self::First,
            "last" => Self::Last,
            "min" => Self::Min,
            "max" => Self::Max,
            "percentile" => match arguments.first() {
                Some(Argument::Integer(n)) => Self::Percentile(*n as f64),
                Some(Argument::Number(n)) => Self::Percentile(*n),
                _ => return Err(FunctionError::Argument("expected float argument in percentile()".into())),
            },
            "sample" => Self::Sample(count(name)?),
            "top" => Self::Top { limit: count(name)?, tags },
            "bottom" => Self::Bottom { limit: count(name)?, tags },
            "sum_hll" => Self::SumHll,
            "merge_hll" => Self::MergeHll,
            _ => return Err(FunctionError::Undefined(name.to_owned())),
        })
    }

    /// InfluxDB's name of the function.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count | Self::CountDistinct => "count",
            Self::Distinct => "distinct",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Mode => "mode",
            Self::Spread => "spread",
            Self::Stddev => "stddev",
            Self::Sum => "sum",
            Self::First => "first",
            Self::Last => "last",
            Self::Min => "min",
            Self::Max => "max",
            Self::Percentile(_) => "percentile",
            Self::Sample(_) => "sample",
            Self::Top { .. } => "top",
            Self::Bottom { .. } => "bottom",
            Self::SumHll => "sum_hll",
            Self::MergeHll => "merge_hll",
        }
    }

    /// Are the results points of the input, with their times and auxiliary columns?
    pub fn is_selector(&self) -> bool {
        use Aggregate::*;
        matches!(self, First | Last | Min | Max | Percentile(_) | Sample(_) | Top { .. } | Bottom { .. })
    }

    /// Does InfluxDB compute it from partial results?
    pub fn is_partial(&self) -> bool {
        use Aggregate::*;
        matches!(self, Count | Sum | Mean | Min | Max | First | Last)
    }

    /// Are the results the first or last points by value?
    pub fn is_ranked(&self) -> bool {
        matches!(self, Self::Top { .. } | Self::Bottom { .. })
    }

    /// Do the results keep their own times also with GROUP BY time?
    pub fn keeps_times(&self) -> bool {
        matches!(self, Self::Sample(_) | Self::Top { .. } | Self::Bottom { .. })
    }

    /// The type of the result for an input type.
    pub fn result_type(&self, input: FieldType) -> Result<FieldType, FunctionError> {
        use Aggregate::*;
        use FieldType::*;
        let numeric = matches!(input, Float | Integer | Unsigned);
        let allowed = match self {
            Count | CountDistinct | Distinct | Mode | First | Last | Sample(_) | SumHll => true,
            Min | Max => numeric || input == Boolean,
            MergeHll => input == String,
            Mean | Median | Spread | Stddev | Sum | Percentile(_) | Top { .. } | Bottom { .. } => numeric,
        };
        if !allowed {
            return Err(FunctionError::UnsupportedType { function: self.name(), input });
        }
        Ok(match self {
            Count | CountDistinct => Integer,
            Mean | Median | Stddev => Float,
            SumHll | MergeHll => String,
            _ => input,
        })
    }

    /// The operator for an input type.
    pub fn reducer(&self, input: FieldType) -> Result<Reducer, FunctionError> {
        self.result_type(input)?;
        let reduce: Box<dyn Reduce> = match input {
            FieldType::Float => self.numeric::<f64>(),
            FieldType::Integer => self.numeric::<i64>(),
            FieldType::Unsigned => self.numeric::<u64>(),
            FieldType::Boolean => self.any::<bool>(),
            FieldType::String => self.any::<Arc<str>>(),
        }
        .ok_or(FunctionError::UnsupportedType { function: self.name(), input })?;
        Ok(Reducer(reduce))
    }

    fn numeric<T: Number>(&self) -> Option<Box<dyn Reduce>> {
        Some(match *self {
            Self::Mean => Box::new(arithmetic::Mean::<T>::default()),
            Self::Median => Box::new(ranked::Median::<T>::default()),
            Self::Spread => Box::new(arithmetic::Spread::<T>::default()),
            Self::Stddev => Box::new(arithmetic::Stddev::<T>::default()),
            Self::Sum => Box::new(arithmetic::Sum::<T>::default()),
            Self::Percentile(percent) => Box::new(ranked::Percentile::<T>::new(percent)),
            Self::Top { limit, tags } => Box::new(top::Top::<T>::new(limit, tags, top::Direction::Greatest)),
            Self::Bottom { limit, tags } => Box::new(top::Top::<T>::new(limit, tags, top::Direction::Least)),
            _ => return self.any::<T>(),
        })
    }

    fn any<T: TypedValue>(&self) -> Option<Box<dyn Reduce>> {
        use selector::{Pick, Selector};
        Some(match *self {
            Self::Count => Box::new(arithmetic::Count::<T>::default()),
            Self::CountDistinct => Box::new(distinct::CountDistinct::<T>::default()),
            Self::Distinct => Box::new(distinct::Distinct::<T>::default()),
            Self::Mode => Box::new(ranked::Mode::<T>::default()),
            Self::First => Box::new(Selector::<T>::new(Pick::First)),
            Self::Last => Box::new(Selector::<T>::new(Pick::Last)),
            Self::Min => Box::new(Selector::<T>::new(Pick::Min)),
            Self::Max => Box::new(Selector::<T>::new(Pick::Max)),
            Self::Sample(size) => Box::new(sample::Sample::<T>::new(size)),
            Self::SumHll => Box::new(sketch::SumHll::<T>::default()),
            Self::MergeHll => Box::new(sketch::MergeHll::default()),
            _ => return None,
        })
    }
}

/// One function on one type. Points of another type, and nil ones, are skipped.
trait Reduce: fmt::Debug + Send {
    fn push(&mut self, point: &Point);
    fn finish(&mut self, emit: &mut dyn FnMut(Point));
    /// How many points are kept in memory.
    fn held(&self) -> usize {
        0
    }
}

/// Reduces the points of one window of one group, then starts afresh.
#[derive(Debug)]
pub struct Reducer(Box<dyn Reduce>);

impl Reducer {
    /// Points come in the order of the statement; nil ones are skipped.
    pub fn push(&mut self, point: &Point) {
        self.0.push(point);
    }

    /// Emits the result (nothing for a window without points) and forgets the window.
    ///
    /// Aggregates have the time [`ZERO_TIME`](super::ZERO_TIME), selectors a point's own time. Several
    /// results come in ascending time, also in a descending statement.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        self.0.finish(emit);
    }

    /// How many points the operator keeps in memory, for the caller's accounting.
    pub fn held(&self) -> usize {
        self.0.held()
    }
}
