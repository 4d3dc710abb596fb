//! Groups side by side.

use std::rc::Rc;

use hashbrown::HashMap;

use crate::budget::{HeldPoints, PointBudget};
use crate::error::ExecError;
use crate::row::Series;

/// One operator of each group, made when the group is first seen.
pub(super) struct Groups<T> {
    pub members: Vec<(Series, T)>,
    index: HashMap<Series, usize>,
    latest: usize,
    /// One for each group, and what the operators say that they hold.
    pub held: HeldPoints,
}

impl<T> Groups<T> {
    pub fn new(budget: &Rc<PointBudget>) -> Self {
        let held = HeldPoints::none_of(budget);
        Self { members: Vec::new(), index: HashMap::new(), latest: 0, held }
    }

    pub fn get(
        &mut self,
        series: &Series,
        make: impl FnOnce() -> Result<T, ExecError>,
    ) -> Result<(usize, &mut T), ExecError> {
        let known = match self.members.get(self.latest) {
            Some((latest, _)) if latest == series => Some(self.latest),
            _ => self.index.get(series).copied(),
        };
        self.latest = match known {
            Some(position) => position,
            None => {
                self.held.add(1)?;
                self.members.push((series.clone(), make()?));
                self.index.insert(series.clone(), self.members.len() - 1);
                self.members.len() - 1
            }
        };
        Ok((self.latest, &mut self.members[self.latest].1))
    }

    /// Positions in the order of the groups, which is ascending in every statement.
    pub fn sort(&self, positions: &mut [usize]) {
        positions.sort_by(|&a, &b| self.members[a].0.cmp(&self.members[b].0));
    }

    pub fn clear(&mut self) {
        self.members.clear();
        self.index.clear();
        self.latest = 0;
        self.held.clear();
    }
}
