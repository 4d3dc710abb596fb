//! LIMIT, OFFSET, SLIMIT and SOFFSET.

pub(crate) mod rows;
pub(crate) mod series;

/// Where LIMIT and OFFSET of a statement stop the reading of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Nowhere: they apply to what calls make of the rows.
    No,
    /// The rows are those of the statement.
    Rows,
    /// Also the rows that `top` and `bottom` choose from, as in InfluxDB.
    Candidates,
}
