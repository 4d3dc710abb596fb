//! Operators over the points of a bucket, one group beside the other.

use std::ops::ControlFlow;
use std::rc::Rc;

use hashbrown::HashMap;
use hyperbytedb_domain::{FieldType, FieldValue, QueryContext};
use hyperbytedb_functions::{
    FillMode, GapFill, Point, Reducer, Transform, Transformation, Window, Windows, ZERO_TIME,
};

use crate::calls::call_plan::ReducePlan;
use crate::error::ExecError;
use crate::row::Series;
use crate::runtime::{HeldPoints, PointBudget, Runtime};
use crate::scope::Scope;

/// Receives the points of an operator with their groups; may break off.
pub(crate) type Emit<'e> = dyn FnMut(&Series, Point) -> ControlFlow<()> + 'e;

/// One operator of each group, made when the group is first seen.
struct Groups<T> {
    members: Vec<(Series, T)>,
    index: HashMap<Series, usize>,
    latest: usize,
    /// One for each group, and what the operators say that they hold.
    held: HeldPoints,
}

impl<T> Groups<T> {
    fn new(budget: &Rc<PointBudget>) -> Self {
        let held = HeldPoints::none_of(budget);
        Self { members: Vec::new(), index: HashMap::new(), latest: 0, held }
    }

    fn get(
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
    fn sort(&self, positions: &mut [usize]) {
        positions.sort_by(|&a, &b| self.members[a].0.cmp(&self.members[b].0));
    }

    fn clear(&mut self) {
        self.members.clear();
        self.index.clear();
        self.latest = 0;
        self.held.clear();
    }
}

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

    pub fn end_bucket(&mut self, emit: &mut Emit<'_>) {
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

/// A start without a lower bound is shown as 1970.
pub(crate) fn shown_start(start: i64) -> i64 {
    if start <= hyperbytedb_domain::time::MIN_TIME { 0 } else { start }
}

/// Transformations: each group's points through an operator of its own.
pub(crate) struct Transforming<'a> {
    transformation: Transformation,
    input: FieldType,
    scope: Scope,
    windows: Windows,
    groups: Groups<Transform>,
    context: &'a QueryContext,
}

impl<'a> Transforming<'a> {
    pub fn new(
        transformation: &Transformation,
        input: FieldType,
        scope: &Scope,
        runtime: &Runtime<'a>,
    ) -> Self {
        Self {
            transformation: transformation.clone(),
            input,
            scope: scope.clone(),
            windows: scope.windows(),
            groups: Groups::new(&runtime.budget),
            context: runtime.context,
        }
    }

    pub fn push(&mut self, series: &Series, point: &Point, emit: &mut Emit<'_>) -> Result<(), ExecError> {
        if point.is_nil() {
            return Ok(());
        }
        let make = || Ok(self.transformation.transform(self.input, &self.windows, self.scope.ascending)?);
        let (_, transform) = self.groups.get(series, make)?;
        let start = shown_start(self.windows.range.min);
        let before = transform.held();
        transform.push(point, &mut |point| {
            let _ = emit(series, point.at_window(start));
        });
        let after = transform.held();
        self.groups.held.remove(before.saturating_sub(after));
        self.groups.held.add(after.saturating_sub(before))
    }

    pub fn end_bucket(&mut self, emit: &mut Emit<'_>) -> Result<(), ExecError> {
        let mut positions: Vec<usize> = (0..self.groups.members.len()).collect();
        self.groups.sort(&mut positions);
        let start = shown_start(self.windows.range.min);
        for position in positions {
            let (series, transform) = &mut self.groups.members[position];
            let is_wanted = || self.context.check().is_ok();
            transform.finish(&is_wanted, &mut |point| {
                let _ = emit(series, point.at_window(start));
            })?;
            self.context.check()?;
        }
        self.groups.clear();
        Ok(())
    }

    pub fn bound(&self, input: Option<i64>) -> Option<i64> {
        match self.transformation {
            Transformation::HoltWinters { .. } | Transformation::Integral { .. } => None,
            _ => input,
        }
    }
}

/// GapFill. Like InfluxDB's, it ends a group whenever another one comes.
pub(crate) struct Filling {
    fill: GapFill,
    group: Option<Series>,
    latest: Option<i64>,
    gaps: Gaps,
    /// Gaps that were filled: as many as the group has windows left.
    gaps_filled: u64,
    /// The windows that were left of the group before.
    left_before: u64,
}

/// Windows whose points leave nothing. To InfluxDB such a window looks like the end of all points; coming twice, with
/// nothing between, it is.
#[derive(Default)]
struct Gaps {
    produced: bool,
    has_ended: bool,
}

impl Gaps {
    fn gap(&mut self) {
        self.has_ended |= !self.produced;
        self.produced = false;
    }
}

impl Filling {
    pub fn new(mode: &FillMode, value_type: FieldType, scope: &Scope) -> Self {
        let fill = GapFill::new(mode.clone(), value_type, &scope.windows(), scope.ascending);
        Self { fill, group: None, latest: None, gaps: Gaps::default(), gaps_filled: 0, left_before: 0 }
    }

    pub fn push(&mut self, series: &Series, point: Point, emit: &mut Emit<'_>) {
        if point.is_nil() {
            let left = if self.group.is_some() { self.fill.windows_left() } else { self.left_before };
            if self.gaps_filled < left { self.gaps_filled += 1 } else { self.gaps.gap() }
        }
        if point.is_nil() || self.gaps.has_ended {
            return;
        }
        self.gaps_filled = 0;
        self.gaps.produced = true;
        if self.group.as_ref() != Some(series) {
            self.end_group(emit);
            self.group = Some(series.clone());
        }
        let latest = &mut self.latest;
        let _ = self.fill.push(point, &mut |point| {
            *latest = Some(point.time);
            emit(series, point)
        });
    }

    fn end_group(&mut self, emit: &mut Emit<'_>) {
        if let Some(series) = self.group.take() {
            self.left_before = self.fill.windows_left();
            let _ = self.fill.finish(&mut |point| emit(&series, point));
        }
        self.latest = None;
    }

    pub fn end_bucket(&mut self, emit: &mut Emit<'_>) {
        self.end_group(emit);
    }

    pub fn bound(&self) -> Option<i64> {
        self.latest
    }
}
