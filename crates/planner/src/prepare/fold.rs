//! Constant folding of fields and dimensions: no clock, no time zone.

use hyperbytedb_timeseriesql::ast::Expr;
use hyperbytedb_timeseriesql::reduce::reduce;
use jiff::tz::TimeZone;

/// Folds what is constant; `now()` stays.
pub(super) fn fold_constants(expr: &Expr) -> Expr {
    reduce(expr.clone(), None, &TimeZone::UTC)
}
