//! holt_winters: forecasts by damped, optionally seasonal exponential smoothing.

use std::marker::PhantomData;

use hyperbytedb_domain::FieldValue;

use super::{Operate, nelder_mead};
use crate::go_math::pow;
use crate::typed::Number;
use crate::{FunctionError, Point};

/// Most values, missing ones and forecasts included, that a fit is made for.
pub const HOLT_WINTERS_VALUES_MAX: u64 = 1 << 17;

/// Most values of the optimiser's simplex, which grows with the square of the season.
const SIMPLEX_VALUES_MAX: u64 = 1 << 24;

/// Weight of the first values in the first guess.
const GUESS_WEIGHT: f64 = 0.5;
const EPSILON: f64 = 1e-4;
/// The first guesses of alpha, beta, gamma and phi: every combination of these.
const GRID: [f64; 2] = [0.3, 0.3 + 0.4];

#[derive(Debug)]
pub struct HoltWinters<T> {
    forecast: usize,
    season: usize,
    with_fit: bool,
    every: i64,
    points: Vec<(i64, f64)>,
    of: PhantomData<T>,
}

impl<T> HoltWinters<T> {
    pub fn new(forecast: usize, season: usize, with_fit: bool, every: i64) -> Self {
        Self { forecast, season, with_fit, every, points: Vec::new(), of: PhantomData }
    }

    /// The nearest multiple of the interval.
    fn rounded(&self, time: i64) -> i64 {
        let up = i64::from(time % self.every > self.every / 2);
        (time / self.every).wrapping_add(up).wrapping_mul(self.every)
    }

    /// One value an interval, NaN where there is none; of several points in one interval the first.
    fn values(&self) -> Result<Vec<f64>, FunctionError> {
        let ((Some(first), Some(last)), true) = ((self.points.first(), self.points.last()), self.every > 0)
        else {
            return Ok(Vec::new());
        };
        let (start, stop) = (self.rounded(first.0), self.rounded(last.0));
        if stop <= start {
            return Ok(Vec::new());
        }
        let intervals = stop.abs_diff(start) / self.every.unsigned_abs();
        let needed = intervals.saturating_add(self.forecast as u64).saturating_add(self.season as u64);
        let simplex = (self.season as u64).saturating_add(FACTORS as u64).saturating_pow(2);
        for (needed, limit) in [(needed, HOLT_WINTERS_VALUES_MAX), (simplex, SIMPLEX_VALUES_MAX)] {
            if needed > limit {
                let function = if self.with_fit { "holt_winters_with_fit" } else { "holt_winters" };
                return Err(FunctionError::TooManyValues { function, needed, limit });
            }
        }
        let mut values = vec![first.1];
        let mut time = start;
        for &(at, value) in &self.points[1..] {
            let at = self.rounded(at);
            if at <= time {
                continue;
            }
            time += self.every;
            while time < at {
                values.push(f64::NAN);
                time += self.every;
            }
            values.push(value);
        }
        Ok(values)
    }
}

impl<T: Number> Operate for HoltWinters<T> {
    fn push(&mut self, point: &Point, _emit: &mut dyn FnMut(Point)) {
        if let Some(value) = T::from_value(&point.value) {
            self.points.push((point.time, value.to_f64()));
        }
    }

    fn finish(
        &mut self,
        is_wanted: &dyn Fn() -> bool,
        emit: &mut dyn FnMut(Point),
    ) -> Result<(), FunctionError> {
        let season = if self.season < 2 { 0 } else { self.season };
        let needed = season.max(2);
        if self.points.len() < needed || self.forecast == 0 {
            return Ok(());
        }
        let values = self.values()?;
        if values.len() < needed {
            return Ok(());
        }
        let fitted = values.len();
        let forecast = Fit { values: &values, season, is_wanted }.forecast(self.forecast);
        if !is_wanted() {
            return Ok(());
        }
        let (skipped, origin) = match (self.with_fit, self.points.first(), self.points.last()) {
            (true, Some(first), _) => (0, first.0),
            (false, _, Some(last)) => (fitted, last.0 + self.every),
            _ => return Ok(()),
        };
        for (i, value) in forecast[skipped..].iter().enumerate() {
            if !value.is_nan() {
                let time = origin.wrapping_add(self.every.wrapping_mul(i as i64));
                emit(Point::new(time, FieldValue::Float(*value)));
            }
        }
        self.points.clear();
        Ok(())
    }

    fn held(&self) -> usize {
        self.points.len()
    }
}

/// The parameters, in the order alpha, beta, gamma, phi, level, trend, then the season's factors.
const FACTORS: usize = 6;

struct Fit<'a> {
    values: &'a [f64],
    /// 0: not seasonal.
    season: usize,
    is_wanted: &'a dyn Fn() -> bool,
}

impl Fit<'_> {
    /// The smoothed values, continued `steps` into the future with the parameters that fit best.
    fn forecast(&self, steps: usize) -> Vec<f64> {
        let mut parameters = self.guess();
        let mut best: Option<(f64, Vec<f64>)> = None;
        for alpha in GRID {
            for beta in GRID {
                for gamma in GRID {
                    for phi in GRID {
                        parameters[..4].copy_from_slice(&[alpha, beta, gamma, phi]);
                        let (error, fitted) =
                            nelder_mead::minimize(|p| self.error(p), &parameters, EPSILON, self.is_wanted);
                        if best.as_ref().is_none_or(|(least, _)| error < *least) {
                            best = Some((error, fitted));
                        }
                    }
                }
            }
        }
        let mut parameters = best.map_or(parameters, |(_, fitted)| fitted);
        self.smooth(steps, &mut parameters)
    }

    fn guess(&self) -> Vec<f64> {
        let (y, m) = (self.values, self.season);
        let mut parameters = vec![0.0; FACTORS + m];
        let (mut level, mut trend) = (0.0, 0.0);
        if m == 0 {
            level += GUESS_WEIGHT * y[0];
            if !y[1].is_nan() {
                trend = GUESS_WEIGHT * (y[1] - y[0]);
            }
        } else {
            for value in y[..m].iter().filter(|value| !value.is_nan()) {
                level += (1.0 / m as f64) * value;
            }
            for (now, later) in y[..m].iter().zip(&y[m..]) {
                if !now.is_nan() && !later.is_nan() {
                    trend += 1.0 / (m * m) as f64 * (later - now);
                }
            }
            for (factor, value) in parameters[FACTORS..].iter_mut().zip(y) {
                *factor = if value.is_nan() { 0.0 } else { value / level };
            }
        }
        parameters[4] = level;
        parameters[5] = trend;
        parameters
    }

    /// The sum of squared errors over the values there are.
    fn error(&self, parameters: &mut [f64]) -> f64 {
        if !(self.is_wanted)() {
            return f64::INFINITY;
        }
        let smoothed = self.smooth(0, parameters);
        let mut sum = 0.0;
        for (ours, value) in smoothed.iter().zip(self.values) {
            if value.is_nan() {
                continue;
            }
            if ours.is_nan() {
                return f64::INFINITY;
            }
            sum += (ours - value) * (ours - value);
        }
        sum
    }

    /// Runs the recurrence over the values and `steps` further. Brings the parameters into bounds and
    /// leaves the season's last factors in them, as the optimiser expects.
    fn smooth(&self, steps: usize, parameters: &mut [f64]) -> Vec<f64> {
        for parameter in &mut parameters[..4] {
            *parameter = parameter.clamp(0.0, 1.0);
        }
        let (scalars, factors) = parameters.split_at_mut(FACTORS);
        let &mut [alpha, beta, gamma, phi, mut level, mut trend] = scalars else { return Vec::new() };
        let m = self.season;
        let mut at = m.wrapping_sub(1);
        let mut damping = phi;
        let mut y = self.values[0];
        let mut smoothed = vec![0.0; self.values.len() + steps];
        smoothed[0] = y;
        for t in 1..smoothed.len() {
            let (mut factor, mut ahead) = (1.0, 1.0);
            if m > 0 {
                factor = factors[(t + at - m) % m];
                ahead = factors[(t + at - m + t % m) % m];
            }
            let base = level + phi * trend;
            let next_level = alpha * (y / factor) + (1.0 - alpha) * base;
            let next_trend = beta * (next_level - level) + (1.0 - beta) * phi * trend;
            let next_factor = gamma * (y / base) + (1.0 - gamma) * factor;
            y = (next_level + damping * next_trend) * ahead;
            (level, trend) = (next_level, next_trend);
            damping += pow(phi, t as f64);
            if m > 0 {
                factors[(t + at) % m] = next_factor;
                at += 1;
            }
            smoothed[t] = y;
        }
        smoothed
    }
}
