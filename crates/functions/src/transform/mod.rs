//! Functions from a stream of points to a stream of points.

mod change;
mod holt_winters;
mod integral;
mod momentum;
mod moving;
mod nelder_mead;
mod parse;
mod running;
mod sketch;

use std::fmt;
use std::sync::Arc;

use hyperbytedb_domain::FieldType;

use super::typed::{Number, TypedValue};
use super::{FunctionError, Point, Windows};
use moving::{Ema, TripleExponential};

/// How the moving averages begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmup {
    Exponential,
    Simple,
}

/// A transformation with its literal arguments; durations in nanoseconds, periods at least 1.
///
/// `hold`: results withheld at the start; `None` takes the function's own number.
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
    /// Windows its input itself; results are at window starts.
    Integral {
        unit: i64,
    },
    ExponentialMovingAverage {
        period: usize,
        hold: Option<u64>,
        warmup: Warmup,
    },
    DoubleExponentialMovingAverage {
        period: usize,
        hold: Option<u64>,
        warmup: Warmup,
    },
    TripleExponentialMovingAverage {
        period: usize,
        hold: Option<u64>,
        warmup: Warmup,
    },
    TripleExponentialDerivative {
        period: usize,
        hold: Option<u64>,
        warmup: Warmup,
    },
    RelativeStrengthIndex {
        period: usize,
        hold: Option<u64>,
        warmup: Warmup,
    },
    KaufmansEfficiencyRatio {
        period: usize,
        hold: Option<u64>,
    },
    KaufmansAdaptiveMovingAverage {
        period: usize,
        hold: Option<u64>,
    },
    /// Without warm-up the oscillator sums over the period instead of averaging.
    ChandeMomentumOscillator {
        period: usize,
        hold: Option<u64>,
        warmup: Option<Warmup>,
    },
    /// `every`: the interval of the statement.
    HoltWinters {
        forecast: usize,
        season: usize,
        with_fit: bool,
        every: i64,
    },
    /// Estimates of printed sketches.
    CountHll,
}

impl Transformation {
    /// InfluxDB's name of the function.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Derivative { non_negative: false, .. } => "derivative",
            Self::Derivative { non_negative: true, .. } => "non_negative_derivative",
            Self::Difference { non_negative: false } => "difference",
            Self::Difference { non_negative: true } => "non_negative_difference",
            Self::Elapsed { .. } => "elapsed",
            Self::MovingAverage { .. } => "moving_average",
            Self::CumulativeSum => "cumulative_sum",
            Self::Integral { .. } => "integral",
            Self::ExponentialMovingAverage { .. } => "exponential_moving_average",
            Self::DoubleExponentialMovingAverage { .. } => "double_exponential_moving_average",
            Self::TripleExponentialMovingAverage { .. } => "triple_exponential_moving_average",
            Self::TripleExponentialDerivative { .. } => "triple_exponential_derivative",
            Self::RelativeStrengthIndex { .. } => "relative_strength_index",
            Self::KaufmansEfficiencyRatio { .. } => "kaufmans_efficiency_ratio",
            Self::KaufmansAdaptiveMovingAverage { .. } => "kaufmans_adaptive_moving_average",
            Self::ChandeMomentumOscillator { .. } => "chande_momentum_oscillator",
            Self::HoltWinters { with_fit: false, .. } => "holt_winters",
            Self::HoltWinters { with_fit: true, .. } => "holt_winters_with_fit",
            Self::CountHll => "count_hll",
        }
    }

    /// The function as InfluxDB's type errors call it.
    fn error_name(&self) -> &'static str {
        match self {
            Self::Derivative { .. } => "derivative",
            Self::Difference { .. } => "difference",
            Self::MovingAverage { .. } => "moving average",
            Self::CumulativeSum => "cumulative sum",
            Self::ExponentialMovingAverage { .. } => "exponential moving average",
            Self::DoubleExponentialMovingAverage { .. } => "double exponential moving average",
            Self::TripleExponentialMovingAverage { .. } => "triple exponential moving average",
            Self::TripleExponentialDerivative { .. } => "triple exponential derivative",
            Self::RelativeStrengthIndex { .. } => "relative strength index",
            Self::KaufmansEfficiencyRatio { .. } => "kaufmans efficiency ratio",
            Self::KaufmansAdaptiveMovingAverage { .. } => "kaufmans adaptive moving average",
            Self::ChandeMomentumOscillator { .. } => "chande momentum oscillator",
            Self::HoltWinters { .. } => "elapsed",
            _ => self.name(),
        }
    }

    /// How many earlier points a result at the start of the range needs (times the interval of an
    /// inner aggregate: how far the range of the input starts earlier).
    pub fn extra_intervals(&self) -> usize {
        use Transformation::*;
        match self {
            Derivative { .. } | Difference { .. } | Elapsed { .. } | CountHll => 1,
            MovingAverage { period }
            | ExponentialMovingAverage { period, .. }
            | DoubleExponentialMovingAverage { period, .. }
            | TripleExponentialMovingAverage { period, .. }
            | TripleExponentialDerivative { period, .. }
            | RelativeStrengthIndex { period, .. }
            | KaufmansEfficiencyRatio { period, .. }
            | KaufmansAdaptiveMovingAverage { period, .. }
            | ChandeMomentumOscillator { period, .. } => *period,
            CumulativeSum | Integral { .. } | HoltWinters { .. } => 0,
        }
    }

    /// The type of the result for an input type.
    pub fn result_type(&self, input: FieldType) -> Result<FieldType, FunctionError> {
        let allowed = match self {
            Self::Elapsed { .. } => true,
            Self::CountHll => input == FieldType::String,
            Self::HoltWinters { .. } => matches!(input, FieldType::Float | FieldType::Integer),
            _ => matches!(input, FieldType::Float | FieldType::Integer | FieldType::Unsigned),
        };
        if !allowed {
            return Err(FunctionError::UnsupportedType { function: self.error_name(), input });
        }
        Ok(match self {
            Self::Elapsed { .. } => FieldType::Integer,
            Self::CountHll => FieldType::Unsigned,
            Self::Difference { .. } | Self::CumulativeSum => input,
            _ => FieldType::Float,
        })
    }

    /// The operator for one group's points of type `input`. `windows` matter to integral only.
    pub fn transform(
        &self,
        input: FieldType,
        windows: &Windows,
        ascending: bool,
    ) -> Result<Transform, FunctionError> {
        self.result_type(input)?;
        let operate: Option<Box<dyn Operate>> = match input {
            FieldType::Float => self.numeric::<f64>(windows, ascending),
            FieldType::Integer => self.numeric::<i64>(windows, ascending),
            FieldType::Unsigned => self.numeric::<u64>(windows, ascending),
            FieldType::Boolean => self.any::<bool>(),
            FieldType::String => self.any::<Arc<str>>(),
        };
        operate.map(Transform).ok_or(FunctionError::UnsupportedType { function: self.error_name(), input })
    }

    fn any<T: TypedValue>(&self) -> Option<Box<dyn Operate>> {
        match *self {
            Self::Elapsed { unit } => Some(Box::new(change::Elapsed::<T>::new(unit))),
            Self::CountHll => Some(Box::new(sketch::CountHll)),
            _ => None,
        }
    }

    fn numeric<T: Number>(&self, windows: &Windows, ascending: bool) -> Option<Box<dyn Operate>> {
        Some(match *self {
            Self::Derivative { unit, non_negative } => {
                Box::new(change::Derivative::<T>::new(unit, non_negative, ascending))
            }
            Self::Difference { non_negative } => Box::new(change::Difference::<T>::new(non_negative)),
            Self::MovingAverage { period } => Box::new(running::MovingAverage::<T>::new(period)),
            Self::CumulativeSum => Box::new(running::CumulativeSum::<T>::default()),
            Self::Integral { unit } => integral::integral::<T>(unit, windows.clone(), ascending),
            Self::HoltWinters { forecast, season, with_fit, every } => {
                Box::new(holt_winters::HoltWinters::<T>::new(forecast, season, with_fit, every))
            }
            Self::Elapsed { .. } | Self::CountHll => return self.any::<T>(),
            _ => return self.indicator().map(|indicator| indicator.over::<T>()),
        })
    }

    /// The technical indicators: functions of floats.
    fn indicator(&self) -> Option<Held> {
        use Transformation::*;
        let triple = |period, warmup| TripleExponential::new(period, warmup);
        let (hold, inner): (_, Box<dyn Indicator>) = match *self {
            ExponentialMovingAverage { period, hold, warmup } => (hold, Box::new(Ema::new(period, warmup))),
            DoubleExponentialMovingAverage { period, hold, warmup } => {
                (hold, Box::new(moving::Dema(triple(period, warmup))))
            }
            TripleExponentialMovingAverage { period, hold, warmup } => {
                (hold, Box::new(moving::Tema(triple(period, warmup))))
            }
            TripleExponentialDerivative { period, hold, warmup } => {
                (hold, Box::new(moving::Trix::new(triple(period, warmup))))
            }
            RelativeStrengthIndex { period, hold, warmup } => {
                (hold, Box::new(momentum::Smoothed::new(period, warmup, momentum::strength)))
            }
            KaufmansEfficiencyRatio { period, hold } => {
                (hold, Box::new(momentum::EfficiencyRatio::new(period)))
            }
            KaufmansAdaptiveMovingAverage { period, hold } => {
                (hold, Box::new(momentum::AdaptiveAverage::new(period)))
            }
            ChandeMomentumOscillator { period, hold, warmup: None } => {
                (hold, Box::new(momentum::Oscillator::new(period)))
            }
            ChandeMomentumOscillator { period, hold, warmup: Some(warmup) } => {
                (hold, Box::new(momentum::Smoothed::new(period, warmup, momentum::oscillation)))
            }
            _ => return None,
        };
        let finite_only = matches!(
            self,
            TripleExponentialDerivative { .. }
                | KaufmansEfficiencyRatio { .. }
                | KaufmansAdaptiveMovingAverage { .. }
        );
        Some(Held { hold: hold.unwrap_or(inner.warm_count()), finite_only, inner })
    }
}

/// One function on one type. Points of another type, and nil ones, are skipped.
trait Operate: fmt::Debug + Send {
    fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point));
    fn finish(
        &mut self,
        _is_wanted: &dyn Fn() -> bool,
        _emit: &mut dyn FnMut(Point),
    ) -> Result<(), FunctionError> {
        Ok(())
    }
    fn held(&self) -> usize {
        0
    }
}

/// A running function of floats.
trait Indicator: fmt::Debug + Send {
    fn add(&mut self, value: f64) -> f64;
    /// Values needed before results mean something.
    fn warm_count(&self) -> u64;
    fn held(&self) -> usize {
        0
    }
}

/// An indicator and which of its results count.
#[derive(Debug)]
struct Held {
    hold: u64,
    finite_only: bool,
    inner: Box<dyn Indicator>,
}

impl Held {
    fn over<T: Number>(self) -> Box<dyn Operate> {
        Box::new(running::Indicated::<T>::new(self))
    }
}

/// Transforms the points of one group; make a fresh one for each group.
#[derive(Debug)]
pub struct Transform(Box<dyn Operate>);

impl Transform {
    /// Points come in the order of the statement; nil ones are skipped.
    pub fn push(&mut self, point: &Point, emit: &mut dyn FnMut(Point)) {
        self.0.push(point, emit);
    }

    /// The end of the group: integral and Holt-Winters have something to say then. Stops without a result when it is
    /// no longer wanted.
    pub fn finish(
        &mut self,
        is_wanted: &dyn Fn() -> bool,
        emit: &mut dyn FnMut(Point),
    ) -> Result<(), FunctionError> {
        self.0.finish(is_wanted, emit)
    }

    /// How many points the operator keeps in memory, for the caller's accounting.
    pub fn held(&self) -> usize {
        self.0.held()
    }
}
