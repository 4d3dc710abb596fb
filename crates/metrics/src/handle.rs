//! What code counts with.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Label, counter, gauge, histogram};

/// Declares a metric without labels and one with them.
macro_rules! handles {
    ($plain:ident, $labelled:ident, $register:ident) => {
        pub struct $plain {
            name: &'static str,
            handle: OnceLock<metrics::$plain>,
        }

        impl $plain {
            pub(crate) const fn new(name: &'static str, _labels: [&'static str; 0]) -> Self {
                Self { name, handle: OnceLock::new() }
            }

            pub(crate) fn register(&self) {
                self.handle();
            }

            fn handle(&self) -> &metrics::$plain {
                self.handle.get_or_init(|| $register!(self.name))
            }
        }

        pub struct $labelled<const N: usize> {
            name: &'static str,
            labels: [&'static str; N],
        }

        impl<const N: usize> $labelled<N> {
            pub(crate) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
                Self { name, labels }
            }

            pub fn name(&self) -> &'static str {
                self.name
            }

            /// Nothing is there before the first values are known.
            pub(crate) fn register(&self) {}

            /// The metric of these values, in the order of the labels.
            pub fn with(&self, values: [&str; N]) -> metrics::$plain {
                let pairs = self.labels.into_iter().zip(values);
                let labels: Vec<Label> =
                    pairs.map(|(key, value)| Label::new(key, value.to_owned())).collect();
                $register!(self.name, labels)
            }
        }
    };
}

handles!(Counter, LabelledCounter, counter);
handles!(Gauge, LabelledGauge, gauge);
handles!(Histogram, LabelledHistogram, histogram);

impl Counter {
    pub fn increment(&self, by: u64) {
        self.handle().increment(by);
    }
}

impl Gauge {
    pub fn set(&self, value: f64) {
        self.handle().set(value);
    }

    pub fn increment(&self) {
        self.handle().increment(1.0);
    }

    pub fn decrement(&self) {
        self.handle().decrement(1.0);
    }
}

impl Histogram {
    pub fn record(&self, value: f64) {
        self.handle().record(value);
    }

    pub fn record_duration(&self, duration: Duration) {
        self.record(duration.as_secs_f64());
    }
}
