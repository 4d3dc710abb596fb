//! What a client sees: blocks of rows, or a plan.

pub(crate) mod blocks;
pub(crate) mod explain;
