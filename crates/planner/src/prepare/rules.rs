//! What may be selected together: the rules over all fields of a statement.

use hyperbytedb_timeseriesql::ast::{BinaryExpr, Expr, Fill};

use super::PrepareError;
use super::error::refuse;

/// What the fields of a statement call, and whether that goes together.
#[derive(Debug, Default)]
pub(super) struct FieldRules {
    /// There is a GROUP BY time, written or inherited.
    pub has_interval: bool,
    /// It comes from the outer statement: what cannot have one does not need to.
    pub inherits_interval: bool,
    /// `LIMIT`; 0 for none.
    pub limit: u64,
    pub has_target: bool,

    /// Columns besides time.
    pub columns: usize,
    /// Calls but for mathematics, nested ones too.
    pub calls: usize,
    pub has_aggregates: bool,
    pub has_distinct: bool,
    /// Fields or tags are selected outside of calls.
    pub has_auxiliary: bool,
    pub top_bottom: Option<&'static str>,
}

impl FieldRules {
    /// Checks one column.
    pub fn field(&mut self, expr: &Expr) -> Result<(), PrepareError> {
        self.columns += 1;
        FieldCheck { rules: self, wildcards_allowed: true }.expr(expr)
    }

    /// Checks the columns against each other, when all are known.
    pub fn finish(&self, fill: Fill) -> Result<(), PrepareError> {
        if self.columns == 0 {
            refuse!("at least 1 non-time field must be queried");
        }
        if let (Some(name), 2..) = (self.top_bottom, self.calls) {
            refuse!("selector function {name}() cannot be combined with other functions");
        }
        if self.calls == 0 {
            match fill {
                Fill::None => refuse!("fill(none) must be used with a function"),
                Fill::Linear => refuse!("fill(linear) must be used with a function"),
                _ => {}
            }
            if self.has_interval && !self.inherits_interval {
                refuse!("GROUP BY requires at least one aggregate function");
            }
        }
        if self.has_distinct && (self.calls != 1 || self.has_auxiliary) {
            refuse!("aggregate function distinct() cannot be combined with other functions or fields");
        }
        if self.has_auxiliary && self.has_aggregates {
            refuse!("mixing aggregate and non-aggregate queries is not supported");
        }
        if self.has_auxiliary && self.calls > 1 {
            refuse!("mixing multiple selector functions with tags or fields is not supported");
        }
        Ok(())
    }
}

/// The check of one column.
pub(super) struct FieldCheck<'a> {
    pub rules: &'a mut FieldRules,
    /// Not below an operator.
    pub wildcards_allowed: bool,
}

impl FieldCheck<'_> {
    pub fn expr(&mut self, expr: &Expr) -> Result<(), PrepareError> {
        match expr {
            Expr::VarRef(_) => self.rules.has_auxiliary = true,
            Expr::Wildcard(_) | Expr::Regex(_) => self.wildcard(expr)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Distinct(_) => {
                self.rules.calls += 1;
                self.distinct_marks(false);
            }
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Paren(inner) => self.expr(inner)?,
            _ => refuse!("field must contain at least one variable"),
        }
        Ok(())
    }

    fn wildcard(&mut self, expr: &Expr) -> Result<(), PrepareError> {
        if !self.wildcards_allowed {
            let kind = if matches!(expr, Expr::Wildcard(_)) { "wildcard" } else { "regex" };
            refuse!("unable to use {kind} in a binary expression");
        }
        self.rules.has_auxiliary = true;
        Ok(())
    }

    fn binary(&mut self, binary: &BinaryExpr) -> Result<(), PrepareError> {
        self.wildcards_allowed = false;
        match (binary.lhs.is_literal(), binary.rhs.is_literal()) {
            (true, true) => refuse!("cannot perform a binary expression on two literals"),
            (true, false) => self.expr(&binary.rhs),
            (false, true) => self.expr(&binary.lhs),
            (false, false) => {
                self.expr(&binary.lhs)?;
                self.expr(&binary.rhs)
            }
        }
    }

    /// The argument of a function that works on a column.
    pub fn column(&mut self, function: &str, argument: &Expr) -> Result<(), PrepareError> {
        match argument {
            Expr::VarRef(_) => return Ok(()),
            Expr::Wildcard(_) if !self.wildcards_allowed => {
                refuse!("unsupported expression with wildcard: {function}()")
            }
            Expr::Regex(_) if !self.wildcards_allowed => {
                refuse!("unsupported expression with regex field: {function}()")
            }
            Expr::Wildcard(_) | Expr::Regex(_) => self.rules.has_aggregates = true,
            _ => refuse!("expected field argument in {function}()"),
        }
        Ok(())
    }

    pub fn distinct(&mut self, args: &[Expr], nested: bool) -> Result<(), PrepareError> {
        match args {
            [] => refuse!("distinct function requires at least one argument"),
            [Expr::VarRef(_)] => {}
            [_] => refuse!("expected field argument in distinct()"),
            _ => refuse!("distinct function can only have one argument"),
        }
        self.distinct_marks(nested);
        Ok(())
    }

    pub fn distinct_marks(&mut self, nested: bool) {
        self.rules.has_distinct |= !nested;
        self.rules.has_aggregates = true;
    }

    /// An extra column of `top` or `bottom`.
    pub fn extra_column(&mut self) {
        if !self.rules.has_target {
            self.rules.columns += 1;
            self.rules.has_auxiliary = true;
        }
    }
}
