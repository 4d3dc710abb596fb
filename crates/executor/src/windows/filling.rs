//! Fill.

use hyperbytedb_domain::FieldType;
use hyperbytedb_functions::{FillMode, GapFill, Point};

use super::Emit;
use super::gaps::Gaps;
use crate::row::Series;
use crate::scope::Scope;

/// Fill. Like InfluxDB's, it ends a group whenever another one comes.
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

    pub fn end_outer_group(&mut self, emit: &mut Emit<'_>) {
        self.end_group(emit);
    }

    pub fn bound(&self) -> Option<i64> {
        self.latest
    }
}
