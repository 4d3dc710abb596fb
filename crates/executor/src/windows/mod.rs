//! Operators over windows of time: aggregates and selectors, transformations, fill.

pub(crate) mod stage;
