//! Functions from a stream of points to a stream of points.

use hyperbytedb_domain::FieldType;

use super::{Argument, FunctionError, Point, Windows};

/// How the technical-analysis functions start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmup {
    Exponential,
    Simple,
    None,
}

/// A transformation with its literal arguments; durations in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Transformation {
    Derivative {
        unit: i64,
        non_negative: bool,
    },
    Difference {
        non_negative: bool,
    },
    Elapsed {
        unit: i64,
    },
    MovingAverage {
        period: usize,
    },
    CumulativeSum,
    /// Needs the windows of the statement; results are at window starts.
    Integral {
        unit: i64,
    },
    ExponentialMovingAverage {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    DoubleExponentialMovingAverage {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    TripleExponentialMovingAverage {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    TripleExponentialDerivative {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    RelativeStrengthIndex {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    KaufmansEfficiencyRatio {
        period: usize,
        hold: Option<usize>,
    },
    KaufmansAdaptiveMovingAverage {
        period: usize,
        hold: Option<usize>,
    },
    ChandeMomentumOscillator {
        period: usize,
        hold: Option<usize>,
        warmup: Warmup,
    },
    /// `every`: the interval of the statement.
    HoltWinters {
        forecast: usize,
        season: usize,
        with_fit: bool,
        every: i64,
    },
}

impl Transformation {
    /// `name` in lower case; `every`: the GROUP BY interval in nanoseconds, the default unit of derivatives.
    pub fn new(name: &str, arguments: &[Argument], every: Option<i64>) -> Result<Self, FunctionError> {
        todo!("{name} {arguments:?} {every:?}")
    }

    pub fn name(&self) -> &'static str {
        todo!()
    }

    /// The type of the result for an input type.
    pub fn result_type(&self, input: FieldType) -> Result<FieldType, FunctionError> {
        todo!("{input}")
    }

    /// `windows` matter to integral only.
    pub fn transform(
        &self,
        input: FieldType,
        windows: &Windows,
        ascending: bool,
    ) -> Result<Transform, FunctionError> {
        todo!("{input} {windows:?} {ascending}")
    }
}

/// Transforms the points of one group; make a fresh one for each group.
#[derive(Debug)]
pub enum Transform {}

impl Transform {
    /// Nil points are skipped.
    pub fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        todo!("{point:?}");
        emit(Point::default())
    }

    /// The end of the group. Times may be [`ZERO_TIME`](super::ZERO_TIME) (integral without windows).
    pub fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        todo!();
        emit(Point::default())
    }
}
