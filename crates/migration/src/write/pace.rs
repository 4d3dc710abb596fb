//! Holds back lines beyond so many a second.

use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Pace {
    rate: Option<u64>,
    /// When the next line may go.
    due: Instant,
}

impl Pace {
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate, due: Instant::now() }
    }

    /// Waits until `lines` more may go.
    pub fn wait(&mut self, lines: usize) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        if self.due > now {
            thread::sleep(self.due - now);
        }
        self.due = self.due.max(now) + Duration::from_secs_f64(lines as f64 / rate as f64);
    }
}
