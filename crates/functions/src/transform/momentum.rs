//! Relative strength, Chande's oscillator, and Kaufman's efficiency ratio and adaptive average.

use std::collections::VecDeque;

use super::moving::Ema;
use super::{Indicator, Warmup};

/// Compares the averages of rises and falls.
#[derive(Debug)]
pub struct Smoothed {
    up: Ema,
    down: Ema,
    last: f64,
    compare: fn(up: f64, down: f64) -> f64,
}

impl Smoothed {
    pub fn new(period: usize, warmup: Warmup, compare: fn(f64, f64) -> f64) -> Self {
        let average = Ema::new(period.saturating_add(1), warmup).with_weight(1.0 / period as f64);
        Self { up: average.clone(), down: average, last: 0.0, compare }
    }
}

/// The relative strength index, 0 to 100.
pub fn strength(up: f64, down: f64) -> f64 {
    100.0 - (100.0 / (1.0 + up / down))
}

/// Chande's momentum oscillator, -100 to 100.
pub fn oscillation(up: f64, down: f64) -> f64 {
    100.0 * ((up - down) / (up + down))
}

impl Indicator for Smoothed {
    fn add(&mut self, value: f64) -> f64 {
        let rise = value - self.last;
        self.up.add(if value > self.last { rise } else { 0.0 });
        self.down.add(if value < self.last { -rise } else { 0.0 });
        self.last = value;
        (self.compare)(self.up.last(), self.down.last())
    }

    fn warm_count(&self) -> u64 {
        self.up.warm_count()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    value: f64,
    change: f64,
}

/// The last steps; those before the first are zero.
#[derive(Debug)]
struct Steps {
    length: usize,
    steps: VecDeque<Step>,
}

impl Steps {
    fn new(length: usize) -> Self {
        Self { length, steps: VecDeque::new() }
    }

    fn newest(&self) -> Step {
        self.steps.back().copied().unwrap_or_default()
    }

    /// The step that the next one displaces.
    fn oldest(&self) -> Step {
        if self.steps.len() < self.length {
            Step::default()
        } else {
            self.steps.front().copied().unwrap_or_default()
        }
    }

    fn push(&mut self, step: Step) {
        if self.steps.len() >= self.length {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }
}

/// Chande's momentum oscillator over sums.
#[derive(Debug)]
pub struct Oscillator {
    steps: Steps,
    started: bool,
    up: f64,
    down: f64,
}

impl Oscillator {
    /// `period` is at least 2.
    pub fn new(period: usize) -> Self {
        Self { steps: Steps::new(period.max(2) - 1), started: false, up: 0.0, down: 0.0 }
    }
}

impl Indicator for Oscillator {
    fn add(&mut self, value: f64) -> f64 {
        let change = if self.started { value - self.steps.newest().value } else { 0.0 };
        self.started = true;
        if change > 0.0 {
            self.up += change;
        } else if change < 0.0 {
            self.down -= change;
        }
        let result = if self.up != 0.0 || self.down != 0.0 { oscillation(self.up, self.down) } else { 0.0 };
        let oldest = self.steps.oldest().change;
        if oldest > 0.0 {
            self.up -= oldest;
        } else if oldest < 0.0 {
            self.down += oldest;
        }
        self.steps.push(Step { value, change });
        result
    }

    fn warm_count(&self) -> u64 {
        self.steps.length as u64
    }

    fn held(&self) -> usize {
        self.steps.steps.len()
    }
}

/// Kaufman's efficiency ratio: how far the values got over how far they moved.
#[derive(Debug)]
pub struct EfficiencyRatio {
    steps: Steps,
    noise: f64,
    count: u64,
}

impl EfficiencyRatio {
    pub fn new(period: usize) -> Self {
        Self { steps: Steps::new(period), noise: 0.0, count: 0 }
    }

    fn warmed(&self) -> bool {
        self.count > self.steps.length as u64
    }
}

impl Indicator for EfficiencyRatio {
    fn add(&mut self, value: f64) -> f64 {
        let oldest = self.steps.oldest();
        let signal = (value - oldest.value).abs();
        let change = (value - self.steps.newest().value).abs();
        self.noise -= oldest.change;
        self.noise += change;
        self.steps.push(Step { value, change });
        self.count += 1;
        if signal == 0.0 || self.noise == 0.0 { 0.0 } else { signal / self.noise }
    }

    fn warm_count(&self) -> u64 {
        self.steps.length as u64
    }

    fn held(&self) -> usize {
        self.steps.steps.len()
    }
}

/// Kaufman's adaptive moving average: weights by the efficiency ratio between a fast and a slow average.
#[derive(Debug)]
pub struct AdaptiveAverage {
    ratio: EfficiencyRatio,
    last: f64,
}

/// The weight of an average over 30 values, and what one over 2 values has more: 2/3 - 2/31.
const SLOWEST: f64 = 2.0 / 31.0;
const RANGE: f64 = 56.0 / 93.0;

impl AdaptiveAverage {
    pub fn new(period: usize) -> Self {
        Self { ratio: EfficiencyRatio::new(period), last: 0.0 }
    }
}

impl Indicator for AdaptiveAverage {
    fn add(&mut self, value: f64) -> f64 {
        if !self.ratio.warmed() {
            self.last = self.ratio.steps.newest().value;
        }
        let weight = self.ratio.add(value) * RANGE + SLOWEST;
        self.last += weight * weight * (value - self.last);
        self.last
    }

    fn warm_count(&self) -> u64 {
        self.ratio.warm_count()
    }

    fn held(&self) -> usize {
        self.ratio.held()
    }
}
