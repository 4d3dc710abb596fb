//! Aggregates and selectors.

use std::rc::Rc;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_functions::{Point, Reducer, Window, Windows, ZERO_TIME};

use super::gaps::Gaps;
use super::groups::Groups;
use super::{Emit, ReducePlan, shown_start};
use crate::budget::PointBudget;
use crate::error::ExecError;
use crate::row::Series;
use crate::scope::Scope;

struct Member {
    reducer: Reducer,
    is_active: bool,
}

/// Aggregates and selectors: the points of a window in, few points out when the window ends.
pub(crate) struct Reduce {
    plan: ReducePlan,
    scope: Scope,
    windows: Windows,
    window: Option<Window>,
    groups: Groups<Member>,
    /// Groups with points in the window.
    active: Vec<usize>,
    emitted: Vec<(Series, Point)>,
    gaps: Gaps,
}

impl Reduce {
    pub fn new(plan: &ReducePlan, scope: &Scope, budget: &Rc<PointBudget>) -> Self {
        Self {
            plan: plan.clone(),
            scope: scope.clone(),
            windows: scope.windows(),
            window: None,
            groups: Groups::new(budget),
            active: Vec::new(),
            emitted: Vec::new(),
            gaps: Gaps::default(),
        }
    }

    pub fn push(&mut self, series: &Series, point: &Point, emit: &mut Emit<'_>) -> Result<(), ExecError> {
        let time = point.time;
        // Merging partial results, InfluxDB joins windows that only nulls have parted.
        if self.gaps.has_ended || (point.is_nil() && self.plan.aggregate.is_partial()) {
            return Ok(());
        }
        if self.window.is_some_and(|w| time < w.start || time >= w.end) {
            self.end_window(emit);
        }
        if point.is_nil() {
            return Ok(());
        }
        if self.window.is_none() {
            self.window = Some(self.windows.window(time));
        }
        let plan = &self.plan;
        let make = || Ok(Member { reducer: plan.aggregate.reducer(plan.input)?, is_active: false });
        let (position, member) = self.groups.get(series, make)?;
        if !member.is_active {
            member.is_active = true;
            self.active.push(position);
        }
        let before = member.reducer.held();
        member.reducer.push(point);
        let grown = member.reducer.held().saturating_sub(before);
        self.groups.held.add(grown)
    }

    /// Emits what the window holds, group by group.
    fn end_window(&mut self, emit: &mut Emit<'_>) {
        let Some(window) = self.window.take() else { return };
        let mut active = std::mem::take(&mut self.active);
        let some_group = active.first().copied();
        self.groups.sort(&mut active);
        let start = shown_start(window.start);
        for position in active.drain(..) {
            let (series, member) = &mut self.groups.members[position];
            member.is_active = false;
            self.groups.held.remove(member.reducer.held());
            member.reducer.finish(&mut |mut point| {
                if !self.plan.keeps_time {
                    point.time = start;
                } else if point.time == ZERO_TIME {
                    point = point.at_window(window.start);
                }
                point.aux.drain(..self.plan.grouping_aux.min(point.aux.len()));
                self.emitted.push((series.clone(), point));
            });
        }
        self.active = active;
        if let (true, Some(position)) = (self.emitted.is_empty(), some_group) {
            let series = self.groups.members[position].0.clone();
            match self.reduced(Point::new(start, FieldValue::Null)) {
                Some(gap) => self.emitted.push((series, gap)),
                None => return,
            }
        }
        self.gaps.produced = true;
        for (series, point) in self.emitted.drain(..) {
            if emit(&series, point).is_break() {
                break;
            }
        }
    }

    /// Takes the result of a window, null if its points leave nothing. `None`: nothing more comes.
    pub fn reduced(&mut self, point: Point) -> Option<Point> {
        if self.plan.is_filled {
            return Some(point);
        }
        let is_gap = point.is_nil();
        if is_gap {
            self.gaps.gap()
        } else {
            self.gaps.produced = true
        }
        (!is_gap && !self.gaps.has_ended).then_some(point)
    }

    pub fn end_outer_group(&mut self, emit: &mut Emit<'_>) {
        self.end_window(emit);
        self.groups.clear();
    }

    /// No point comes before this time any more; `input` is the time of the latest point.
    pub fn bound(&self, input: Option<i64>) -> Option<i64> {
        self.scope.interval?;
        let window = match self.window {
            Some(window) => window,
            None => self.windows.window(input?),
        };
        Some(if self.plan.keeps_time && !self.scope.ascending { window.end } else { window.start })
    }
}
