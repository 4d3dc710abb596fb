//! Reads databases over HTTP: what is in them, and their points as a stream.

mod points;
mod schema;
mod selection;

pub use points::{Points, PointsOf, Row, value_of};
pub use schema::{Measurement, Policy, databases, measurements, policies, series_of, tag_keys};
pub use selection::{Range, Selection};
