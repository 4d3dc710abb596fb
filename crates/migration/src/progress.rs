//! What a command shows while it works: a line on a terminal, nothing elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::write::Report;

const REFRESH: Duration = Duration::from_millis(200);

/// Progress by bytes, or by parts, and the points that are through.
pub struct Progress {
    bar: ProgressBar,
    report: Arc<Report>,
    started: Instant,
    already: u64,
    shown: Instant,
}

impl Progress {
    /// `total` is none where the end is not known.
    pub fn start(total: Option<u64>, report: &Arc<Report>) -> Self {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match total {
            Some(_) => "{bar:30} {percent:>3}% {msg} {eta}",
            None => "{spinner} {msg}",
        };
        // The template is ours, so it is right.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, report: report.clone(), started: now, already: report.accepted(), shown: now }
    }

    pub fn update(&mut self, position: u64) {
        if self.shown.elapsed() >= REFRESH {
            self.shown = Instant::now();
            self.bar.set_position(position);
            self.bar.set_message(self.text());
        }
    }

    fn text(&self) -> String {
        let report = &self.report;
        let rate =
            (report.accepted() - self.already) as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let mut text =
            format!("{} points, {} a second", HumanCount(report.accepted()), HumanCount(rate as u64));
        if report.refused() > 0 {
            text += &format!(", {} refused", HumanCount(report.refused()));
        }
        if report.expired() > 0 {
            text += &format!(", {} past their policy left out", HumanCount(report.expired()));
        }
        text
    }

    /// Ends with a line that says what was done.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        eprintln!("{} in {:.1} s", self.text(), self.started.elapsed().as_secs_f64());
    }
}
