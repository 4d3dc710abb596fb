//! The rules of each function: its arguments and where it may stand.

use hyperbytedb_functions::MathFunction;
use hyperbytedb_timeseriesql::ast::{Call, Expr};
use hyperbytedb_timeseriesql::duration::format_duration;

use super::PrepareError;
use super::error::refuse;
use super::rules::FieldCheck;

/// Whether the call is mathematics: computed from values of a row, without making rows.
pub(super) fn is_math(call: &Call) -> bool {
    MathFunction::parse(&call.name).is_some()
}

/// Whether the call selects points: rows then keep the point's time and other columns.
pub(super) fn is_selector(call: &Call) -> bool {
    matches!(
        call.name.as_str(),
        "first" | "last" | "min" | "max" | "percentile" | "sample" | "top" | "bottom"
    )
}

impl FieldCheck<'_> {
    pub fn call(&mut self, call: &Call) -> Result<(), PrepareError> {
        let (name, args) = (call.name.as_str(), call.args.as_slice());
        if let Some(function) = MathFunction::parse(name) {
            exactly(name, function.arity(), args)?;
            return args.iter().filter(|arg| !arg.is_literal()).try_for_each(|arg| self.expr(arg));
        }
        self.rules.calls += 1;
        match name {
            "max" | "min" | "first" | "last" => self.aggregate(name, args),
            "count" | "sum" | "mean" | "median" | "mode" | "stddev" | "spread" | "sum_hll" | "merge_hll" => {
                self.rules.has_aggregates = true;
                self.aggregate(name, args)
            }
            "percentile" => self.percentile(args),
            "sample" => self.sample(args),
            "distinct" => self.distinct(args, false),
            "top" => self.top_bottom("top", call),
            "bottom" => self.top_bottom("bottom", call),
            "integral" => self.integral(args),
            "count_hll" => self.count_hll(args),
            "derivative" | "non_negative_derivative" | "elapsed" => self.rate(name, args),
            "difference" | "non_negative_difference" | "cumulative_sum" => self.difference(name, args),
            "moving_average" => self.moving_average(args),
            "holt_winters" | "holt_winters_with_fit" => self.holt_winters(name, args),
            "exponential_moving_average"
            | "double_exponential_moving_average"
            | "triple_exponential_moving_average"
            | "relative_strength_index"
            | "triple_exponential_derivative" => self.technical(name, args, Some(&["exponential", "simple"])),
            "chande_momentum_oscillator" => {
                self.technical(name, args, Some(&["none", "exponential", "simple"]))
            }
            "kaufmans_efficiency_ratio" | "kaufmans_adaptive_moving_average" => {
                self.technical(name, args, None)
            }
            _ => refuse!("undefined function {name}()"),
        }
    }

    fn aggregate(&mut self, name: &str, args: &[Expr]) -> Result<(), PrepareError> {
        exactly(name, 1, args)?;
        match &args[0] {
            Expr::Call(inner) if name == "count" && inner.name == "distinct" => {
                self.distinct(&inner.args, true)
            }
            Expr::Distinct(_) if name == "count" => {
                self.distinct_marks(true);
                Ok(())
            }
            argument => self.column(name, argument),
        }
    }

    fn percentile(&mut self, args: &[Expr]) -> Result<(), PrepareError> {
        exactly("percentile", 2, args)?;
        if !matches!(args[1], Expr::Integer(_) | Expr::Number(_)) {
            refuse!("expected float argument in percentile()");
        }
        self.column("percentile", &args[0])
    }

    fn sample(&mut self, args: &[Expr]) -> Result<(), PrepareError> {
        exactly("sample", 2, args)?;
        match args[1] {
            Expr::Integer(size @ ..=0) => refuse!("sample window must be greater than 1, got {size}"),
            Expr::Integer(_) => self.column("sample", &args[0]),
            _ => refuse!("expected integer argument in sample()"),
        }
    }

    fn top_bottom(&mut self, name: &'static str, call: &Call) -> Result<(), PrepareError> {
        if let Some(other) = self.rules.top_bottom {
            refuse!("selector function {other}() cannot be combined with other functions");
        }
        let [field, tags @ .., points] = call.args.as_slice() else {
            let got = call.args.len();
            refuse!("invalid number of arguments for {name}, expected at least 2, got {got}");
        };
        let &Expr::Integer(points) = points else {
            refuse!("expected integer as last argument in {name}(), found {points}");
        };
        let limit = self.rules.limit;
        if points <= 0 {
            refuse!("limit ({points}) in {name} function must be at least 1");
        }
        if limit > 0 && points as u64 > limit {
            refuse!(
                "limit ({points}) in {name} function can not be larger than the LIMIT ({limit}) in the select statement"
            );
        }
        if !matches!(field, Expr::VarRef(_)) {
            refuse!("expected first argument to be a field in {name}(), found {field}");
        }
        for tag in tags {
            match tag {
                Expr::VarRef(_) => self.extra_column(),
                other => refuse!("only fields or tags are allowed in {name}(), found {other}"),
            }
        }
        self.rules.top_bottom = Some(name);
        Ok(())
    }

    fn integral(&mut self, args: &[Expr]) -> Result<(), PrepareError> {
        between("integral", 1, 2, args)?;
        match args.get(1) {
            None => {}
            Some(Expr::Duration(unit)) => positive_duration(*unit)?,
            Some(_) => refuse!("second argument must be a duration"),
        }
        self.rules.has_aggregates = true;
        self.column("integral", &args[0])
    }

    fn count_hll(&mut self, args: &[Expr]) -> Result<(), PrepareError> {
        exactly("count_hll", 1, args)?;
        self.rules.has_aggregates = true;
        match &args[0] {
            inner @ Expr::Call(_) => self.expr(inner),
            argument => self.column("count_hll", argument),
        }
    }

    fn rate(&mut self, name: &str, args: &[Expr]) -> Result<(), PrepareError> {
        between(name, 1, 2, args)?;
        match args.get(1) {
            None => {}
            Some(Expr::Duration(unit)) => positive_duration(*unit)?,
            Some(other) => {
                refuse!("second argument to {name} must be a duration, got {}", other.go_type())
            }
        }
        self.transform(name, &args[0])
    }

    fn difference(&mut self, name: &str, args: &[Expr]) -> Result<(), PrepareError> {
        if args.len() != 1 {
            refuse!("invalid number of arguments for {name}, expected 1, got {}", args.len());
        }
        self.transform(name, &args[0])
    }

    fn moving_average(&mut self, args: &[Expr]) -> Result<(), PrepareError> {
        exactly("moving_average", 2, args)?;
        match &args[1] {
            Expr::Integer(window @ ..=1) => {
                refuse!("moving_average window must be greater than 1, got {window}")
            }
            Expr::Integer(_) => self.transform("moving_average", &args[0]),
            other => {
                refuse!("second argument for moving_average must be an integer, got {}", other.go_type())
            }
        }
    }

    /// The moving averages and oscillators of technical analysis: `f(field, period[, hold[, warmup]])`.
    fn technical(&mut self, name: &str, args: &[Expr], warmups: Option<&[&str]>) -> Result<(), PrepareError> {
        between(name, 2, if warmups.is_some() { 4 } else { 3 }, args)?;
        match &args[1] {
            Expr::Integer(1..) => {}
            Expr::Integer(_) => refuse!("{name} period must be greater than or equal to 1"),
            _ => refuse!("{name} period must be an integer"),
        }
        match args.get(2) {
            None | Some(Expr::Integer(-1)) => {}
            Some(Expr::Integer(..=0)) if name == "triple_exponential_derivative" => {
                refuse!("{name} hold period must be greater than or equal to 1")
            }
            Some(Expr::Integer(..0)) => refuse!("{name} hold period must be greater than or equal to 0"),
            Some(Expr::Integer(_)) => {}
            Some(_) => refuse!("{name} hold period must be an integer"),
        }
        let warmups = warmups.unwrap_or_default();
        match args.get(3) {
            None => {}
            Some(Expr::String(warmup)) if warmups.contains(&warmup.as_str()) => {}
            Some(Expr::String(_)) => {
                let quoted: Vec<_> = warmups.iter().map(|warmup| format!("'{warmup}'")).collect();
                refuse!("{name} warmup type must be one of: {}", quoted.join(" "))
            }
            Some(_) => refuse!("{name} warmup type must be a string"),
        }
        match &args[0] {
            // Unlike in the other transforms, an inner distinct() counts as one that stands alone.
            Expr::Call(inner) if inner.name == "distinct" && self.rules.has_interval => self.call(inner),
            argument => self.transform(name, argument),
        }
    }

    fn holt_winters(&mut self, name: &str, args: &[Expr]) -> Result<(), PrepareError> {
        exactly(name, 3, args)?;
        match args[1] {
            Expr::Integer(n @ ..=0) => refuse!("second arg to {name} must be greater than 0, got {n}"),
            Expr::Integer(_) => {}
            _ => refuse!("expected integer argument as second arg in {name}"),
        }
        match args[2] {
            Expr::Integer(n @ ..0) => refuse!("third arg to {name} cannot be negative, got {n}"),
            Expr::Integer(_) => {}
            _ => refuse!("expected integer argument as third arg in {name}"),
        }
        match &args[0] {
            Expr::Call(_) => self.transform(name, &args[0]),
            _ => refuse!("must use aggregate function with {name}"),
        }
    }

    /// The first argument of a transform: an aggregate with GROUP BY time, a column without.
    fn transform(&mut self, name: &str, argument: &Expr) -> Result<(), PrepareError> {
        self.rules.has_aggregates = true;
        match argument {
            Expr::Call(_) if !self.rules.has_interval => {
                refuse!("{name} aggregate requires a GROUP BY interval")
            }
            Expr::Call(inner) if inner.name == "distinct" => self.distinct(&inner.args, true),
            Expr::Call(inner) => self.call(inner),
            _ if self.rules.has_interval && !self.rules.inherits_interval => {
                refuse!("aggregate function required inside the call to {name}")
            }
            _ => self.column(name, argument),
        }
    }
}

fn exactly(name: &str, expected: usize, args: &[Expr]) -> Result<(), PrepareError> {
    if args.len() != expected {
        refuse!("invalid number of arguments for {name}, expected {expected}, got {}", args.len());
    }
    Ok(())
}

fn between(name: &str, min: usize, max: usize, args: &[Expr]) -> Result<(), PrepareError> {
    if !(min..=max).contains(&args.len()) {
        let got = args.len();
        refuse!(
            "invalid number of arguments for {name}, expected at least {min} but no more than {max}, got {got}"
        );
    }
    Ok(())
}

fn positive_duration(duration: i64) -> Result<(), PrepareError> {
    if duration <= 0 {
        refuse!("duration argument must be positive, got {}", format_duration(duration));
    }
    Ok(())
}
