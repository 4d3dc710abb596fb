//! What can be left out of a history of a cluster.

use super::history::{ClusterHistory, ClusterRound, Hints};
use super::network::Weather;
use super::run::run;
use crate::history::Operation;
use crate::run::{Finding, Summary};
use crate::scheduler::Faults;
use crate::shrink::{Rounds, Shrinkable};

impl Rounds for ClusterHistory {
    type Round = ClusterRound;

    fn run(&self) -> Result<Summary, Finding> {
        run(self)
    }

    fn rounds(&mut self) -> &mut Vec<ClusterRound> {
        &mut self.rounds
    }

    /// With clocks that are right; with logs that wait for ever. Then nodes need not compare themselves.
    fn plainer(&self) -> Vec<Self> {
        let mut plainer = Vec::new();
        if self.skews.iter().any(|skew| *skew != 0) {
            plainer.push(Self { skews: vec![0; self.skews.len()], ..self.clone() });
        }
        if self.hints != Hints::default() {
            plainer.push(Self { hints: Hints::default(), ..self.clone() });
        } else if self.comparing.is_some() {
            plainer.push(Self { comparing: None, ..self.clone() });
        }
        if self.computing.is_some() {
            plainer.push(Self { computing: None, ..self.clone() });
        }
        plainer
    }
}

impl Shrinkable for ClusterRound {
    const LESS: &'static [fn(&mut Self)] = &[
        |round| round.event = None,
        |round| round.passes = 0,
        |round| round.faults = Faults::default(),
        |round| round.crash = None,
        |round| round.weather = Weather::default(),
        |round| round.leaves_down = false,
        |round| round.deposes = false,
        |round| round.pause = 0,
    ];

    fn operations(&self) -> usize {
        self.operations.len()
    }

    fn remove_operation(&mut self, position: usize) {
        self.operations.remove(position);
    }

    fn operation(&mut self, position: usize) -> Option<&mut Operation> {
        self.operations.get_mut(position).map(|(_, operation, _)| operation)
    }

    fn schedule(&mut self) -> &mut u64 {
        &mut self.schedule
    }
}
