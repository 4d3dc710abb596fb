//! The end of a history of data that ages: queries have run, what has expired is gone.

use crate::client::{carry_alone, expired};
use crate::history::{HOUR, Operation};
use crate::life::LifeOperation;
use crate::model::{Carried, Outcome, carry_out};
use crate::run::{Simulation, retried};

/// Runs of windows with late points until there are none; those whose source is gone fail for ever.
const COMPUTES_MAX: u32 = 200;
/// A call of each of the process's threads may be about to fail.
const ATTEMPTS: u32 = 6;
/// Longer than any continuous query rests after a failure.
const REST: i64 = 3 * HOUR;

impl Simulation {
    pub(crate) fn settle_life(&mut self) -> Result<(), String> {
        if self.targets.is_none() {
            return Ok(());
        }
        self.compute_late()?;
        self.check()?;
        self.pass(24 * HOUR + 1);
        self.run_queries()?;
        self.expire()?;
        self.check()
    }

    fn compute_late(&mut self) -> Result<(), String> {
        retried(|| self.process.follow()).map_err(|error| format!("the log cannot be followed: {error}"))?;
        (0..COMPUTES_MAX).find(|_| !self.process.compute());
        if let Some(targets) = &mut self.targets {
            targets.late_is_done(&self.worlds, self.now);
        }
        Ok(())
    }

    fn run_queries(&mut self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let running = carry_alone(&self.process, &Operation::Life(LifeOperation::RunQueries));
            let worlds = self.worlds.clone();
            self.note_queries(&running.attempts, &worlds, false)?;
            if running.attempts.iter().all(|attempt| attempt.computed.is_done()) {
                break;
            }
            self.pass(REST);
        }
        let has_source = self.worlds.iter().all(|world| world.databases.contains_key("d0"));
        match &self.targets {
            Some(targets) if has_source => targets.all_have_run(self.now),
            _ => Ok(()),
        }
    }

    fn expire(&mut self) -> Result<(), String> {
        let mut carried = Carried::begin(&Operation::Life(LifeOperation::Expire));
        for _ in 0..ATTEMPTS {
            carried = carry_alone(&self.process, &carried.operation).carried;
            self.worlds = carry_out(&self.worlds, &[carried.clone()]).0;
            if carried.outcome == Outcome::Done {
                break;
            }
        }
        match expired(&self.process, self.now).first() {
            Some((_, shard)) => Err(format!("the job leaves {shard:?}: {:?}", carried.outcome)),
            None => Ok(()),
        }
    }
}
