//! The shortest history that still fails, or nearly.

use std::fmt::Debug;

use hyperbytedb_memory_ports::Random;

use crate::history::{History, Operation, Round};
use crate::run::{Finding, Summary, run};
use crate::scheduler::Faults;

/// Runs at most.
const RUNS_MAX: u32 = 4000;
/// Schedules that a shorter history is tried with: what is left out moves all decisions behind it.
const SCHEDULES: u64 = 6;
/// Points of a write that are left out one by one.
const POINTS_MAX: usize = 8;

/// A history of rounds.
pub trait Rounds: Clone {
    type Round: Shrinkable;

    fn run(&self) -> Result<Summary, Finding>;

    fn rounds(&mut self) -> &mut Vec<Self::Round>;

    /// The same, each with less of what is not of one round alone.
    fn plainer(&self) -> Vec<Self> {
        Vec::new()
    }
}

/// A round of which something can be left out.
pub trait Shrinkable: Clone + Debug + 'static {
    /// Each takes something away, if it is there.
    const LESS: &'static [fn(&mut Self)];

    fn operations(&self) -> usize;

    fn remove_operation(&mut self, position: usize);

    fn operation(&mut self, position: usize) -> Option<&mut Operation>;

    fn schedule(&mut self) -> &mut u64;
}

impl Rounds for History {
    type Round = Round;

    fn run(&self) -> Result<Summary, Finding> {
        run(self)
    }

    fn rounds(&mut self) -> &mut Vec<Round> {
        &mut self.rounds
    }
}

impl Shrinkable for Round {
    const LESS: &'static [fn(&mut Self)] = &[
        |round| round.faults = Faults::default(),
        |round| round.passing = None,
        |round| {
            if let Some(passing) = &mut round.passing {
                passing.calls = 0;
            }
        },
        |round| round.replay_faults = Faults::default(),
        |round| round.faults.errors = 0,
        |round| round.faults.stalls = 0,
        |round| {
            if let Some(crash) = &mut round.faults.crash {
                crash.power = false;
            }
        },
    ];

    fn operations(&self) -> usize {
        self.operations.len()
    }

    fn remove_operation(&mut self, position: usize) {
        self.operations.remove(position);
    }

    fn operation(&mut self, position: usize) -> Option<&mut Operation> {
        self.operations.get_mut(position)
    }

    fn schedule(&mut self) -> &mut u64 {
        &mut self.schedule
    }
}

/// Leaves out whatever the failure does not need.
pub fn shrink<H: Rounds>(history: &H, finding: Finding) -> (H, Finding) {
    let mut shrinking = Shrinking { best: history.clone(), finding, runs: 0 };
    shrinking.best.rounds().truncate(shrinking.finding.round + 1);
    while shrinking.pass() && shrinking.runs < RUNS_MAX {}
    (shrinking.best, shrinking.finding)
}

struct Shrinking<H> {
    best: H,
    finding: Finding,
    runs: u32,
}

impl<H: Rounds> Shrinking<H> {
    /// Tries everything once; whether something could go.
    fn pass(&mut self) -> bool {
        let mut shorter = self.leave_out_rounds();
        for position in (0..self.best.rounds().len()).rev() {
            for change in H::Round::LESS {
                shorter |= self.change_round(position, change);
            }
            shorter |= self.leave_out_operations(position);
        }
        for plainer in self.best.plainer() {
            shorter |= self.accept(plainer);
        }
        shorter
    }

    fn leave_out_rounds(&mut self) -> bool {
        let mut shorter = false;
        let mut size = self.best.rounds().len() / 2;
        while size > 0 {
            let mut end = self.best.rounds().len();
            while end >= size {
                let mut candidate = self.best.clone();
                candidate.rounds().drain(end - size..end);
                shorter |= self.accept(candidate);
                end = (end - size).min(self.best.rounds().len());
            }
            size /= 2;
        }
        shorter
    }

    fn leave_out_operations(&mut self, position: usize) -> bool {
        let mut shorter = false;
        let count = self.best.rounds().get(position).map_or(0, Shrinkable::operations);
        for operation in (0..count).rev() {
            shorter |= self.change_round(position, |round| round.remove_operation(operation));
            for point in (0..POINTS_MAX).rev() {
                shorter |= self.change_round(position, |round| {
                    if let Some(operation) = round.operation(operation) {
                        leave_out_point(operation, point);
                    }
                });
            }
        }
        shorter
    }

    fn change_round(&mut self, position: usize, change: impl FnOnce(&mut H::Round)) -> bool {
        let mut candidate = self.best.clone();
        let Some(round) = candidate.rounds().get_mut(position) else { return false };
        let before = format!("{round:?}");
        change(round);
        format!("{round:?}") != before && self.accept(candidate)
    }

    /// Takes the candidate for the best if it fails, with its own schedule or another one.
    fn accept(&mut self, mut candidate: H) -> bool {
        for attempt in 0..SCHEDULES {
            if self.runs >= RUNS_MAX {
                return false;
            }
            self.runs += 1;
            if let Err(finding) = candidate.run() {
                candidate.rounds().truncate(finding.round + 1);
                (self.best, self.finding) = (candidate, finding);
                return true;
            }
            let mut random = Random::new(attempt);
            candidate.rounds().iter_mut().for_each(|round| *round.schedule() ^= random.number());
        }
        false
    }
}

/// Leaves out a point of a write, but for its last.
fn leave_out_point(operation: &mut Operation, point: usize) {
    if let Operation::Write { points, .. } = operation
        && points.len() > 1
        && point < points.len()
    {
        points.remove(point);
    }
}
