//! Reads databases over HTTP: what is in them, and their points as a stream.

mod points;
mod schema;
mod selection;

pub use points::{Points, PointsOf, Row, value_of};
pub use schema::{Measurement, Policy, databases, each_series, measurements, policies, tag_keys};
pub use selection::{Range, Selection};
