//! The shortest history that still fails, or nearly.

use hyperbytedb_memory_ports::Random;

use crate::history::{History, Operation, Round};
use crate::run::{Finding, run};
use crate::scheduler::Faults;

/// Runs at most.
const RUNS_MAX: u32 = 4000;
/// Schedules that a shorter history is tried with: what is left out moves all decisions behind it.
const SCHEDULES: u64 = 6;

/// Leaves out whatever the failure does not need.
pub fn shrink(history: &History, finding: Finding) -> (History, Finding) {
    let mut shrinking = Shrinking { best: history.clone(), finding, runs: 0 };
    shrinking.best.rounds.truncate(shrinking.finding.round + 1);
    while shrinking.pass() && shrinking.runs < RUNS_MAX {}
    (shrinking.best, shrinking.finding)
}

struct Shrinking {
    best: History,
    finding: Finding,
    runs: u32,
}

impl Shrinking {
    /// Tries everything once; whether something could go.
    fn pass(&mut self) -> bool {
        let mut shorter = self.leave_out_rounds();
        for position in (0..self.best.rounds.len()).rev() {
            shorter |= self.change_round(position, |round| round.faults = Faults::default());
            shorter |= self.change_round(position, |round| round.replay_faults = Faults::default());
            shorter |= self.change_round(position, |round| round.faults.errors = 0);
            shorter |= self.change_round(position, |round| round.faults.stalls = 0);
            shorter |= self.change_round(position, |round| {
                if let Some(crash) = &mut round.faults.crash {
                    crash.power = false;
                }
            });
            shorter |= self.leave_out_operations(position);
        }
        shorter
    }

    fn leave_out_rounds(&mut self) -> bool {
        let mut candidate = self.best.clone();
        candidate.rounds.retain(|round| !round.operations.is_empty());
        let mut shorter = candidate.rounds.len() < self.best.rounds.len() && self.accept(candidate);
        let mut size = self.best.rounds.len() / 2;
        while size > 0 {
            let mut end = self.best.rounds.len();
            while end > size {
                let mut candidate = self.best.clone();
                candidate.rounds.drain(end - size..end);
                shorter |= self.accept(candidate);
                end = (end - size).min(self.best.rounds.len());
            }
            size /= 2;
        }
        shorter
    }

    fn leave_out_operations(&mut self, position: usize) -> bool {
        let mut shorter = false;
        let operations = |best: &History| best.rounds.get(position).map_or(0, |round| round.operations.len());
        for operation in (0..operations(&self.best)).rev() {
            shorter |= self.change_round(position, |round| drop(round.operations.remove(operation)));
            for point in (0..8).rev() {
                shorter |= self.change_round(position, |round| {
                    if let Some(operation) = round.operations.get_mut(operation) {
                        leave_out_point(operation, point);
                    }
                });
            }
        }
        shorter
    }

    fn change_round(&mut self, position: usize, change: impl FnOnce(&mut Round)) -> bool {
        let mut candidate = self.best.clone();
        let Some(round) = candidate.rounds.get_mut(position) else { return false };
        let before = format!("{round:?}");
        change(round);
        format!("{round:?}") != before && self.accept(candidate)
    }

    /// Takes the candidate for the best if it fails, with its own schedule or another one.
    fn accept(&mut self, mut candidate: History) -> bool {
        for attempt in 0..SCHEDULES {
            if self.runs >= RUNS_MAX {
                return false;
            }
            self.runs += 1;
            if let Err(finding) = run(&candidate) {
                candidate.rounds.truncate(finding.round + 1);
                (self.best, self.finding) = (candidate, finding);
                return true;
            }
            let mut random = Random::new(attempt);
            candidate.rounds.iter_mut().for_each(|round| round.schedule ^= random.number());
        }
        false
    }
}

/// Leaves out a point of a write, but for its last.
pub fn leave_out_point(operation: &mut Operation, point: usize) {
    if let Operation::Write { points, .. } = operation
        && points.len() > 1
        && point < points.len()
    {
        points.remove(point);
    }
}
