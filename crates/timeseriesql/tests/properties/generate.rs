//! Trees as the parser builds them, with names and values of any kind.

use hyperbytedb_timeseriesql::{ast::*, regex::Regex};
use jiff::tz::TimeZone;
use proptest::{collection::vec, option, prelude::*};

/// Any text but NUL and carriage return, which have no spelling.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z_][a-zA-Z0-9_]{0,8}",
        1 => "(?i)select|from|time|fill|distinct|null|future",
        2 => "[^\0\r]{0,12}",
        1 => r#"['"\\\n/. ;:$-]{1,6}"#,
    ]
}

pub fn name() -> impl Strategy<Value = String> {
    text().prop_filter("no empty names", |name| !name.is_empty())
}

fn regex() -> impl Strategy<Value = Regex> {
    let source = prop_oneof![
        "[a-z/.*+?^$|()]{0,8}",
        r"[a-z]{1,3}(\\[/.d]|/|'|\x22| ){0,3}",
        r"\[[a-z&~-]{1,4}\][*+?]?",
    ];
    source.prop_filter_map("valid", |source| Regex::new(&source).ok())
}

fn cast() -> impl Strategy<Value = DataType> {
    use DataType::*;
    prop::sample::select(vec![Float, Integer, Unsigned, String, Boolean, AnyField, Tag])
}

fn wildcard() -> impl Strategy<Value = Wildcard> {
    prop::sample::select(vec![Wildcard::Any, Wildcard::Field, Wildcard::Tag])
}

fn leaf() -> impl Strategy<Value = Expr> {
    let reference = (text(), option::of(cast()));
    prop_oneof![
        4 => reference.prop_map(|(name, data_type)| Expr::VarRef(VarRef { name, data_type })),
        1 => name().prop_map(Expr::Distinct),
        1 => wildcard().prop_map(Expr::Wildcard),
        1 => any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Expr::Number),
        1 => (-1_000..1_000i32).prop_map(|n| Expr::Number(f64::from(n) / 8.0)),
        2 => any::<i64>().prop_map(Expr::Integer),
        1 => (i64::MAX as u64 + 1..).prop_map(Expr::Unsigned),
        2 => text().prop_map(Expr::String),
        1 => any::<bool>().prop_map(Expr::Boolean),
        1 => (i64::MIN + 1..).prop_map(Expr::Duration),
        1 => (0..10_000i64).prop_map(|s| Expr::Duration(s * 1_000_000_000)),
    ]
}

fn operator() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::*;
    prop::sample::select(vec![
        Add, Sub, Mul, Div, Mod, BitAnd, BitOr, BitXor, And, Or, Eq, NotEq, Lt, LtEq, Gt, GtEq,
    ])
}

/// `lhs op rhs`, in parentheses where the parser would need them.
fn binary(op: BinaryOp, lhs: Expr, rhs: Expr) -> Expr {
    let paren = |expr: Expr, strongest: u8| match expr {
        Expr::Binary(inner) if inner.op.precedence() < strongest => {
            Expr::Paren(Box::new(Expr::Binary(inner)))
        }
        other => other,
    };
    let (lhs, rhs) = (paren(lhs, op.precedence()), paren(rhs, op.precedence() + 1));
    Expr::Binary(BinaryExpr::new(op, lhs, rhs))
}

pub fn expr() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(5, 24, 3, |inner| {
        let arg = prop_oneof![4 => inner.clone(), 1 => regex().prop_map(Expr::Regex)];
        let function = prop_oneof!["mean|count|time|now|distinct", "[^\0\rA-Z[:^ascii:]]{1,6}"];
        prop_oneof![
            4 => (operator(), inner.clone(), inner.clone()).prop_map(|(op, l, r)| binary(op, l, r)),
            1 => (any::<bool>(), inner.clone(), regex()).prop_map(|(equal, lhs, regex)| {
                let op = if equal { BinaryOp::EqRegex } else { BinaryOp::NotEqRegex };
                binary(op, lhs, Expr::Regex(regex))
            }),
            1 => inner.prop_map(|expr| Expr::Paren(Box::new(expr))),
            2 => (function, vec(arg, 0..4)).prop_map(|(name, args)| Expr::Call(Call { name, args })),
        ]
    })
}

/// An expression that a SELECT may return: nothing that is true or false.
fn field_expr() -> impl Strategy<Value = Expr> {
    let is_field = |expr: &Expr| {
        !hyperbytedb_timeseriesql::walk::any_expr(
            expr,
            |node| matches!(node, Expr::Binary(b) if b.op.precedence() <= 3),
        )
    };
    let plain = expr().prop_map(move |expr| if is_field(&expr) { expr } else { Expr::Integer(1) });
    prop_oneof![6 => plain, 1 => regex().prop_map(Expr::Regex)]
}

fn field() -> impl Strategy<Value = Field> {
    (field_expr(), option::of(name())).prop_map(|(expr, alias)| Field { expr, alias })
}

pub fn measurement() -> impl Strategy<Value = Measurement> {
    let named = prop_oneof![
        3 => text().prop_map(MeasurementName::Name),
        1 => regex().prop_map(MeasurementName::Regex),
    ];
    (option::of(name()), option::of(name()), named)
        .prop_map(|(database, retention_policy, name)| Measurement { database, retention_policy, name })
}

fn target() -> impl Strategy<Value = Target> {
    (option::of(name()), option::of(name()), option::of(name()))
        .prop_map(|(database, retention_policy, name)| Target { database, retention_policy, name })
}

fn fill() -> impl Strategy<Value = Fill> {
    prop_oneof![
        Just(Fill::Null),
        Just(Fill::None),
        Just(Fill::Previous),
        Just(Fill::Linear),
        any::<i64>().prop_map(|n| Fill::Number(FillValue::Integer(n))),
        (-99..99i32).prop_map(|n| Fill::Number(FillValue::Number(f64::from(n) + 0.5))),
    ]
}

pub fn sort_fields() -> impl Strategy<Value = Vec<SortField>> {
    let field = (any::<bool>(), any::<bool>())
        .prop_map(|(named, ascending)| SortField { name: named.then(|| "time".to_owned()), ascending });
    vec(field, 0..2)
}

fn time_zone() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Los_Angeles", "US/Eastern"])
        .prop_map(|name| TimeZone::get(name).expect("known zone"))
}

pub fn count() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => 0..100u64, 1 => 0..=i64::MAX as u64]
}

fn dimension() -> impl Strategy<Value = Expr> {
    prop_oneof![4 => expr(), 1 => regex().prop_map(Expr::Regex)]
}

pub fn dimensions() -> impl Strategy<Value = Vec<Expr>> {
    vec(dimension(), 0..3)
}

pub fn select() -> impl Strategy<Value = SelectStatement> {
    let measurements = vec(measurement().prop_map(Source::Measurement), 1..3);
    select_from(measurements.boxed()).prop_recursive(2, 8, 2, |inner| {
        let subquery = inner.prop_map(|statement| Source::Subquery(Box::new(statement)));
        select_from(vec(subquery, 1..3).boxed())
    })
}

fn select_from(sources: BoxedStrategy<Vec<Source>>) -> BoxedStrategy<SelectStatement> {
    let head = (vec(field(), 1..4), option::of(target()), sources, option::of(expr()), dimensions());
    let tail = (fill(), sort_fields(), [count(), count(), count(), count()], option::of(time_zone()));
    (head, tail)
        .prop_map(|((fields, target, sources, condition, dimensions), (fill, sort_fields, counts, tz))| {
            let [limit, offset, slimit, soffset] = counts;
            SelectStatement {
                fields,
                target,
                sources,
                condition,
                dimensions,
                fill,
                sort_fields,
                limit,
                offset,
                slimit,
                soffset,
                time_zone: tz,
            }
        })
        .boxed()
}

pub fn tag_key_filter() -> impl Strategy<Value = TagKeyFilter> {
    prop_oneof![
        text().prop_map(TagKeyFilter::Equal),
        text().prop_map(TagKeyFilter::NotEqual),
        regex().prop_map(TagKeyFilter::Matches),
        regex().prop_map(TagKeyFilter::NotMatches),
        vec(text(), 1..4).prop_map(TagKeyFilter::OneOf),
    ]
}
