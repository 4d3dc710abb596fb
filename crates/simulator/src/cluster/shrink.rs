//! The shortest history of a cluster that still fails, or nearly.

use hyperbytedb_memory_ports::Random;

use super::history::{ClusterHistory, ClusterRound};
use super::network::Weather;
use super::run::run;
use crate::run::Finding;
use crate::scheduler::Faults;
use crate::shrink::leave_out_point;

/// Runs at most.
const RUNS_MAX: u32 = 3000;
/// Schedules that a shorter history is tried with.
const SCHEDULES: u64 = 4;

/// Leaves out whatever the failure does not need.
pub fn shrink(history: &ClusterHistory, finding: Finding) -> (ClusterHistory, Finding) {
    let mut shrinking = Shrinking { best: history.clone(), finding, runs: 0 };
    while shrinking.pass() && shrinking.runs < RUNS_MAX {}
    (shrinking.best, shrinking.finding)
}

struct Shrinking {
    best: ClusterHistory,
    finding: Finding,
    runs: u32,
}

impl Shrinking {
    /// Tries everything once; whether something could go.
    fn pass(&mut self) -> bool {
        let mut shorter = self.leave_out_rounds();
        let changes: [fn(&mut ClusterRound); 7] = [
            |round| round.event = None,
            |round| round.faults = Faults::default(),
            |round| round.crash = None,
            |round| round.weather = Weather::default(),
            |round| round.leaves_down = false,
            |round| round.deposes = false,
            |round| round.pause = 0,
        ];
        for position in (0..self.best.rounds.len()).rev() {
            for change in changes {
                shorter |= self.change_round(position, change);
            }
            let count = self.best.rounds.get(position).map_or(0, |round| round.operations.len());
            for operation in (0..count).rev() {
                shorter |= self.change_round(position, |round| drop(round.operations.remove(operation)));
                for point in (0..6).rev() {
                    shorter |= self.change_round(position, |round| {
                        if let Some((_, operation, _)) = round.operations.get_mut(operation) {
                            leave_out_point(operation, point);
                        }
                    });
                }
            }
        }
        let mut candidate = self.best.clone();
        candidate.skews.fill(0);
        shorter | (candidate.skews != self.best.skews && self.accept(candidate))
    }

    fn leave_out_rounds(&mut self) -> bool {
        let mut shorter = false;
        let mut size = self.best.rounds.len() / 2;
        while size > 0 {
            let mut end = self.best.rounds.len();
            while end >= size {
                let mut candidate = self.best.clone();
                candidate.rounds.drain(end - size..end);
                shorter |= self.accept(candidate);
                end = (end - size).min(self.best.rounds.len());
            }
            size /= 2;
        }
        shorter
    }

    fn change_round(&mut self, position: usize, change: impl FnOnce(&mut ClusterRound)) -> bool {
        let mut candidate = self.best.clone();
        let Some(round) = candidate.rounds.get_mut(position) else { return false };
        let before = format!("{round:?}");
        change(round);
        format!("{round:?}") != before && self.accept(candidate)
    }

    /// Takes the candidate for the best if it fails, with its own schedule or another one.
    fn accept(&mut self, mut candidate: ClusterHistory) -> bool {
        for attempt in 0..SCHEDULES {
            if self.runs >= RUNS_MAX {
                return false;
            }
            self.runs += 1;
            if let Err(finding) = run(&candidate) {
                (self.best, self.finding) = (candidate, finding);
                return true;
            }
            let mut random = Random::new(attempt);
            candidate.rounds.iter_mut().for_each(|round| round.schedule ^= random.number());
        }
        false
    }
}
