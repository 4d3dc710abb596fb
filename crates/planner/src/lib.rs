//! From TimeseriesQL statements to rows.
//!
//! [`prepare`](mod@prepare) turns a parsed SELECT and a snapshot of the catalogue into a [`PreparedSelect`]: every name
//! resolved, every type known, every rule of the language checked. [`exec`] runs a prepared SELECT against the engine.

pub mod exec;
pub mod prepare;
pub mod prepared;

pub use prepare::{PrepareContext, PrepareError, PrepareLimits, normalize, prepare};
pub use prepared::{Fill, Interval, IntoTarget, PreparedField, PreparedSelect, PreparedSource, TimeBounds};
