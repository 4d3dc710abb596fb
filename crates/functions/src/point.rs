//! The unit that flows between operators.

use hyperbytedb_domain::FieldValue;

/// The time of a result that has none of its own: the caller puts the start of the window in its place.
pub const ZERO_TIME: i64 = i64::MIN;

/// Values of the auxiliary columns of a point's row, carried along by selectors.
pub type Aux = Vec<FieldValue>;

/// One value of a group at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Nanoseconds since 1970, or [`ZERO_TIME`].
    pub time: i64,
    /// `Null` is InfluxDB's nil point: reducers and transforms skip it.
    pub value: FieldValue,
    /// The other columns of the row. Only selectors hand them on.
    pub aux: Aux,
}

impl Point {
    pub fn new(time: i64, value: FieldValue) -> Self {
        Self { time, value, aux: Aux::new() }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self.value, FieldValue::Null)
    }

    /// Replaces [`ZERO_TIME`] by the start of the window.
    pub fn at_window(mut self, start: i64) -> Self {
        if self.time == ZERO_TIME {
            self.time = start;
        }
        self
    }
}
