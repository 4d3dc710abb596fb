//! Statements with calls: the operators of each, and the rows that several make together.

pub(crate) mod call_plan;
pub(crate) mod part;
pub(crate) mod pipeline;
pub(crate) mod pushdown;
