//! From TimeseriesQL statements to plans.
//!
//! [`prepare`](mod@prepare) turns a parsed SELECT and a snapshot of the catalogue into a [`PreparedSelect`]: every name
//! resolved, every type known, every rule of the language checked. No points are read here.

pub mod prepare;
pub mod prepared;

pub use prepare::{PrepareContext, PrepareError, PrepareLimits, normalize, prepare};
pub use prepared::{IntoTarget, PreparedField, PreparedSelect, PreparedSource, TimeBounds};
