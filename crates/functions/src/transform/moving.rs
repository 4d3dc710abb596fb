//! Exponential moving averages: single, double, triple, and the rate of change of the triple one.

use super::{Indicator, Warmup};

/// During the first `period` values the average is either a simple one or an exponential one whose weight
/// shrinks to its final size.
#[derive(Debug, Clone)]
pub struct Ema {
    period: u64,
    weight: f64,
    warmup: Warmup,
    count: u64,
    last: f64,
}

impl Ema {
    pub fn new(period: usize, warmup: Warmup) -> Self {
        let period = period as u64;
        Self { period, weight: 2.0 / (period as f64 + 1.0), warmup, count: 0, last: 0.0 }
    }

    pub fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    pub fn last(&self) -> f64 {
        self.last
    }

    fn warmed(&self) -> bool {
        self.count == self.period
    }

    /// May another average already build on this one?
    fn usable(&self) -> bool {
        self.warmed() || self.warmup == Warmup::Exponential
    }
}

impl Indicator for Ema {
    fn add(&mut self, value: f64) -> f64 {
        let (last, count) = (self.last, self.count as f64);
        self.last = if self.count == 0 {
            value
        } else if self.warmed() {
            (value - last) * self.weight + last
        } else {
            match self.warmup {
                Warmup::Simple => (last * count + value) / (count + 1.0),
                Warmup::Exponential => (value - last) * (2.0 / (count + 2.0)) + last,
            }
        };
        if !self.warmed() {
            self.count += 1;
        }
        self.last
    }

    fn warm_count(&self) -> u64 {
        self.period - 1
    }
}

/// Averages of averages. One that cannot be built on yet is passed through.
#[derive(Debug)]
pub struct TripleExponential {
    stages: [Ema; 3],
}

impl TripleExponential {
    pub fn new(period: usize, warmup: Warmup) -> Self {
        let stage = Ema::new(period, warmup);
        Self { stages: [stage.clone(), stage.clone(), stage] }
    }

    /// The outputs of the first `stages` stages.
    fn add(&mut self, value: f64, stages: usize) -> [f64; 3] {
        let mut outputs = [self.stages[0].add(value); 3];
        for at in 1..stages {
            let previous = outputs[at - 1];
            outputs[at] = if self.stages[at - 1].usable() { self.stages[at].add(previous) } else { previous };
        }
        outputs
    }

    fn warm_count(&self, stages: u64) -> u64 {
        let [first, ..] = &self.stages;
        if first.warmup == Warmup::Exponential { first.warm_count() } else { first.warm_count() * stages }
    }
}

#[derive(Debug)]
pub struct Dema(pub TripleExponential);

impl Indicator for Dema {
    fn add(&mut self, value: f64) -> f64 {
        let [first, second, _] = self.0.add(value, 2);
        2.0 * first - second
    }

    fn warm_count(&self) -> u64 {
        self.0.warm_count(2)
    }
}

#[derive(Debug)]
pub struct Tema(pub TripleExponential);

impl Indicator for Tema {
    fn add(&mut self, value: f64) -> f64 {
        let [first, second, third] = self.0.add(value, 3);
        3.0 * first - 3.0 * second + third
    }

    fn warm_count(&self) -> u64 {
        self.0.warm_count(3)
    }
}

/// Change of the triple average in percent.
#[derive(Debug)]
pub struct Trix {
    average: TripleExponential,
    last: f64,
}

impl Trix {
    pub fn new(average: TripleExponential) -> Self {
        Self { average, last: 0.0 }
    }
}

impl Indicator for Trix {
    fn add(&mut self, value: f64) -> f64 {
        let [_, _, current] = self.average.add(value, 3);
        let rate = ((current / self.last) - 1.0) * 100.0;
        self.last = current;
        rate
    }

    fn warm_count(&self) -> u64 {
        self.average.warm_count(3) + 1
    }
}
