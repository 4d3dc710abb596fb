//! What a statement may hold and how long it may go on.

use std::cell::Cell;
use std::rc::Rc;

use hyperbytedb_domain::{QueryContext, settings};

use crate::error::ExecError;

/// How many points the operators of a statement may hold, and how many they do.
#[derive(Debug)]
pub(crate) struct PointBudget {
    max: usize,
    held: Cell<usize>,
}

impl PointBudget {
    pub fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, held: Cell::new(0) })
    }
}

/// What one operator holds of the budget; given back when it goes.
#[derive(Debug)]
pub(crate) struct HeldPoints {
    budget: Rc<PointBudget>,
    points: usize,
}

impl HeldPoints {
    pub fn none_of(budget: &Rc<PointBudget>) -> Self {
        Self { budget: Rc::clone(budget), points: 0 }
    }

    pub fn add(&mut self, points: usize) -> Result<(), ExecError> {
        self.points += points;
        let (held, max) = (self.budget.held.get() + points, self.budget.max);
        self.budget.held.set(held);
        if points > 0 && held > max {
            let name = settings::QUERY_MAX_BUFFERED_POINTS;
            return Err(ExecError::LimitExceeded {
                name,
                setting: name,
                value: held as u64,
                limit: max as u64,
            });
        }
        Ok(())
    }

    pub fn remove(&mut self, points: usize) {
        let points = points.min(self.points);
        self.points -= points;
        self.budget.held.set(self.budget.held.get() - points);
    }

    pub fn clear(&mut self) {
        self.remove(self.points);
    }
}

impl Drop for HeldPoints {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Asks now and then whether the statement is still wanted, in loops that do not wait for the engine.
pub(crate) struct Pace<'a> {
    context: &'a QueryContext,
    steps: u32,
}

impl<'a> Pace<'a> {
    const STEPS: u32 = 1024;

    pub fn new(context: &'a QueryContext) -> Self {
        Self { context, steps: 0 }
    }

    pub fn step(&mut self) -> Result<(), ExecError> {
        self.steps += 1;
        if self.steps == Self::STEPS {
            self.steps = 0;
            self.context.keep_pace()?;
        }
        Ok(())
    }
}
