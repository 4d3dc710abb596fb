//! LIMIT, OFFSET, SLIMIT and SOFFSET.

pub(crate) mod rows;
pub(crate) mod series;
