//! Gaps between the windows of one group.

use hyperbytedb_domain::{FieldType, FieldValue};

use super::{Point, Windows};

/// The `fill()` option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FillMode {
    Null,
    None,
    Number(f64),
    Previous,
    Linear,
}

/// Puts a point into every window of the range that has none.
///
/// Feed one group's points in the order of `ascending`, their times at window starts; then [`finish`](Self::finish).
/// A group without points gets no fill: do not call `finish` for it.
#[derive(Debug)]
pub struct Fill {}

impl Fill {
    /// `value_type`: the type of the filled column. For `count` with `fill(null)` pass [`FillMode::for_function`]'s answer.
    pub fn new(mode: FillMode, value_type: FieldType, windows: &Windows, ascending: bool) -> Self {
        todo!("{mode:?} {value_type} {windows:?} {ascending}")
    }

    pub fn push(&mut self, point: Point, emit: &mut dyn FnMut(Point)) {
        todo!("{point:?}");
        emit(Point::new(0, FieldValue::Null))
    }

    /// Fills up to the end of the range and forgets the group: the operator is ready for the next one.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Point)) {
        todo!();
        emit(Point::new(0, FieldValue::Null))
    }
}

impl FillMode {
    /// The mode as it applies to the outermost function of a column: `count` turns null into 0.
    pub fn for_function(self, function: &str) -> Self {
        if self == Self::Null && function == "count" { Self::Number(0.0) } else { self }
    }
}
