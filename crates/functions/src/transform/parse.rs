//! Transformations from function names and literal arguments.

use super::{Transformation, Warmup};
use crate::{Argument, FunctionError};

const SECOND: i64 = 1_000_000_000;

impl Transformation {
    /// `name` in lower case; `arguments`: the literals after the first argument; `every`: the GROUP BY
    /// interval in nanoseconds, which is the default unit of derivatives.
    pub fn new(name: &str, arguments: &[Argument], every: Option<i64>) -> Result<Self, FunctionError> {
        let call = CallArguments { name, arguments };
        Ok(match name {
            "derivative" | "non_negative_derivative" => Self::Derivative {
                unit: call.duration(every.unwrap_or(SECOND))?,
                non_negative: name == "non_negative_derivative",
            },
            "difference" | "non_negative_difference" => {
                Self::Difference { non_negative: name == "non_negative_difference" }
            }
            "elapsed" => Self::Elapsed { unit: call.duration(1)? },
            "integral" => Self::Integral { unit: call.duration(SECOND)? },
            "moving_average" => Self::MovingAverage { period: call.moving_window()? },
            "cumulative_sum" => Self::CumulativeSum,
            "exponential_moving_average" => {
                let (period, hold, warmup) = call.indicator()?;
                Self::ExponentialMovingAverage { period, hold, warmup }
            }
            "double_exponential_moving_average" => {
                let (period, hold, warmup) = call.indicator()?;
                Self::DoubleExponentialMovingAverage { period, hold, warmup }
            }
            "triple_exponential_moving_average" => {
                let (period, hold, warmup) = call.indicator()?;
                Self::TripleExponentialMovingAverage { period, hold, warmup }
            }
            "triple_exponential_derivative" => {
                let (period, hold, warmup) = call.indicator()?;
                Self::TripleExponentialDerivative { period, hold, warmup }
            }
            "relative_strength_index" => {
                let (period, hold, warmup) = call.indicator()?;
                Self::RelativeStrengthIndex { period, hold, warmup }
            }
            "kaufmans_efficiency_ratio" => {
                Self::KaufmansEfficiencyRatio { period: call.period(1)?, hold: call.hold()? }
            }
            "kaufmans_adaptive_moving_average" => {
                Self::KaufmansAdaptiveMovingAverage { period: call.period(1)?, hold: call.hold()? }
            }
            "chande_momentum_oscillator" => call.oscillator()?,
            "holt_winters" | "holt_winters_with_fit" => Self::HoltWinters {
                forecast: call.count(0, "second", 1)?,
                season: call.count(1, "third", 0)?,
                with_fit: name == "holt_winters_with_fit",
                every: every
                    .ok_or_else(|| call.error(format_args!("aggregate requires a GROUP BY interval")))?,
            },
            "count_hll" => Self::CountHll,
            _ => return Err(FunctionError::Undefined(name.to_owned())),
        })
    }
}

struct CallArguments<'a> {
    name: &'a str,
    arguments: &'a [Argument],
}

impl CallArguments<'_> {
    fn error(&self, text: std::fmt::Arguments<'_>) -> FunctionError {
        FunctionError::Argument(format!("{} {text}", self.name))
    }

    fn duration(&self, default: i64) -> Result<i64, FunctionError> {
        match self.arguments.first() {
            None => Ok(default),
            Some(Argument::Duration(unit)) if *unit > 0 => Ok(*unit),
            Some(_) => Err(FunctionError::Argument(format!(
                "second argument to {} must be a positive duration",
                self.name
            ))),
        }
    }

    fn moving_window(&self) -> Result<usize, FunctionError> {
        match self.arguments.first() {
            Some(Argument::Integer(n)) if *n > 1 => Ok(to_usize(*n)),
            Some(Argument::Integer(n)) => {
                Err(self.error(format_args!("window must be greater than 1, got {n}")))
            }
            _ => Err(self.error(format_args!("window must be an integer"))),
        }
    }

    fn period(&self, least: i64) -> Result<usize, FunctionError> {
        match self.arguments.first() {
            Some(Argument::Integer(n)) if *n >= least => Ok(to_usize(*n)),
            Some(Argument::Integer(_)) => {
                Err(self.error(format_args!("period must be greater than or equal to {least}")))
            }
            _ => Err(self.error(format_args!("period must be an integer"))),
        }
    }

    fn hold(&self) -> Result<Option<u64>, FunctionError> {
        match self.arguments.get(1) {
            None | Some(Argument::Integer(-1)) => Ok(None),
            Some(Argument::Integer(n)) => u64::try_from(*n)
                .map(Some)
                .map_err(|_| self.error(format_args!("hold period must be greater than or equal to 0"))),
            Some(_) => Err(self.error(format_args!("hold period must be an integer"))),
        }
    }

    /// `None` for `'none'`.
    fn warmup(&self, default: Option<Warmup>) -> Result<Option<Warmup>, FunctionError> {
        match self.arguments.get(2) {
            None => Ok(default),
            Some(Argument::Text(text)) => match text.as_str() {
                "exponential" => Ok(Some(Warmup::Exponential)),
                "simple" => Ok(Some(Warmup::Simple)),
                "none" if default.is_none() => Ok(None),
                _ => {
                    let none = if default.is_none() { "'none' " } else { "" };
                    Err(self.error(format_args!("warmup type must be one of: {none}'exponential' 'simple'")))
                }
            },
            Some(_) => Err(self.error(format_args!("warmup type must be a string"))),
        }
    }

    fn indicator(&self) -> Result<(usize, Option<u64>, Warmup), FunctionError> {
        let warmup = self.warmup(Some(Warmup::Exponential))?.unwrap_or(Warmup::Exponential);
        Ok((self.period(1)?, self.hold()?, warmup))
    }

    fn oscillator(&self) -> Result<Transformation, FunctionError> {
        let (hold, warmup) = (self.hold()?, self.warmup(None)?);
        // The oscillator that sums compares neighbours within the period: one value has none.
        let period = self.period(if warmup.is_none() { 2 } else { 1 })?;
        Ok(Transformation::ChandeMomentumOscillator { period, hold, warmup })
    }

    fn count(&self, index: usize, ordinal: &str, least: i64) -> Result<usize, FunctionError> {
        let name = self.name;
        match self.arguments.get(index) {
            Some(Argument::Integer(n)) if *n >= least => Ok(to_usize(*n)),
            Some(Argument::Integer(n)) if least > 0 => Err(FunctionError::Argument(format!(
                "{ordinal} arg to {name} must be greater than 0, got {n}"
            ))),
            Some(Argument::Integer(n)) => {
                Err(FunctionError::Argument(format!("{ordinal} arg to {name} cannot be negative, got {n}")))
            }
            _ => {
                Err(FunctionError::Argument(format!("expected integer argument as {ordinal} arg in {name}")))
            }
        }
    }
}

fn to_usize(n: i64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
