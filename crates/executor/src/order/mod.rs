//! The order of rows: of those with the same time, and of several streams.

pub(crate) mod merge;
pub(crate) mod ties;
