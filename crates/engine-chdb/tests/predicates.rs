//! Conditions against what they should mean, evaluated row by row.
#![allow(clippy::unwrap_used)]

mod common;

use std::cmp::Ordering;

use common::*;
use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::scan::{CompareOp, FieldId, Operand, PREDICATE_DEPTH_MAX, Predicate, RowScan, TagId};

const OPS: [CompareOp; 6] =
    [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

/// Exact comparison of numbers of different types.
fn order(left: &FieldValue, right: &FieldValue) -> Option<Ordering> {
    use FieldValue::{Boolean, Float, Integer, String, Unsigned};
    let whole = |v: &FieldValue| match v {
        Integer(x) => Some(i128::from(*x)),
        Unsigned(x) => Some(i128::from(*x)),
        _ => None,
    };
    let against_float = |whole: i128, float: f64| {
        let floor = float.floor();
        // Every whole number here is far below the range of i128.
        whole.cmp(&(floor as i128)).then(if float > floor { Ordering::Less } else { Ordering::Equal })
    };
    match (left, right) {
        (String(a), String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Boolean(a), Boolean(b)) => Some(a.cmp(b)),
        (Float(a), Float(b)) => a.partial_cmp(b),
        (a, Float(b)) if !b.is_nan() => Some(against_float(whole(a)?, *b)),
        (Float(a), b) if !a.is_nan() => Some(against_float(whole(b)?, *a).reverse()),
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

fn holds(left: &FieldValue, op: CompareOp, right: &FieldValue) -> bool {
    let Some(order) = order(left, right) else { return false };
    if matches!(
        (left, op),
        (FieldValue::Boolean(_), CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge)
    ) {
        return false;
    }
    match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
    }
}

struct Matrix {
    fixture: Fixture,
    table: std::sync::Arc<hyperbytedb_domain::catalog::Table>,
    rows: Vec<Row>,
}

fn matrix() -> Matrix {
    let table = table(
        1,
        &["host", "dc"],
        &[
            ("f", FieldType::Float),
            ("i", FieldType::Integer),
            ("u", FieldType::Unsigned),
            ("s", FieldType::String),
            ("b", FieldType::Boolean),
            ("g", FieldType::Float),
        ],
    );
    let big = (1i64 << 53) + 1;
    let rows = vec![
        row(0, &["a", "x"], &[f(1.5), i(1), u(1), s("a"), b(true), f(1.5)]),
        row(1, &["b", "b"], &[f(-1.5), i(-1), u(0), s(""), b(false), f(2.0)]),
        row(2, &["", "x"], &[f(0.0), i(0), u(u64::MAX), s("line\nbreak"), NULL, NULL]),
        row(3, &["é", ""], &[NULL, NULL, NULL, NULL, NULL, NULL]),
        row(4, &["A", "x"], &[f(big as f64), i(big), u(big as u64), s("é"), b(true), f(-0.0)]),
        row(5, &["a b", "x"], &[f(1e300), i(i64::MAX), u(1 << 63), s("a"), NULL, f(5e-324)]),
        row(6, &["a.b", "x"], &[f(-0.0), i(i64::MIN), NULL, s("A"), b(false), f(0.1)]),
    ];
    let fixture = open_with(&table);
    fixture.insert(&table, &rows);
    Matrix { fixture, table, rows }
}

impl Matrix {
    fn value(&self, row: &Row, operand: &Operand) -> FieldValue {
        match operand {
            Operand::Tag(id) => s(&row.tags[id.0 as usize]),
            Operand::Field(id) => row.fields.get(id.0 as usize).cloned().unwrap_or_default(),
            Operand::Literal(value) => value.clone(),
        }
    }

    fn expected(&self, predicate: &Predicate, row: &Row) -> bool {
        match predicate {
            Predicate::Constant(value) => *value,
            Predicate::And(parts) => parts.iter().all(|p| self.expected(p, row)),
            Predicate::Or(parts) => parts.iter().any(|p| self.expected(p, row)),
            Predicate::Compare { left, op, right } => {
                holds(&self.value(row, left), *op, &self.value(row, right))
            }
            Predicate::Regex { .. } => panic!("compared with a list"),
        }
    }

    fn times(&self, predicate: &Predicate) -> Vec<i64> {
        let output = RowScan { tags: vec![TagId(0)], fields: vec![FieldId(0)], ..RowScan::default() };
        let found = self.fixture.run(&filtered(rows(&self.table, output), predicate.clone())).unwrap();
        let time =
            |row: &Vec<FieldValue>| if let FieldValue::Integer(t) = row[1] { t } else { panic!("{row:?}") };
        found.iter().map(time).collect()
    }

    fn check(&self, predicate: &Predicate) {
        let expected: Vec<i64> =
            self.rows.iter().filter(|r| self.expected(predicate, r)).map(|r| r.time).collect();
        assert_eq!(self.times(predicate), expected, "{predicate:?}");
    }
}

#[test]
fn comparisons() {
    let matrix = matrix();
    let columns: Vec<Operand> =
        (0..2).map(|t| Operand::Tag(TagId(t))).chain((0..6).map(|n| Operand::Field(FieldId(n)))).collect();
    let mut literals = vec![NULL, b(true), f(f64::INFINITY), f(f64::NEG_INFINITY), s("b"), s("x"), s("z")];
    literals.extend(matrix.rows.iter().flat_map(|r| r.fields.clone()));
    literals.extend([f(0.5), f(-9.3e18), f(9.223372036854776e18), f(1.8446744073709552e19), i(-2), i(2)]);
    let mut predicates = Vec::new();
    for left in &columns {
        for right in columns.iter().cloned().chain(literals.iter().cloned().map(Operand::Literal)) {
            for op in OPS {
                predicates.push(Predicate::Compare { left: left.clone(), op, right: right.clone() });
                if let Operand::Literal(_) = right {
                    predicates.push(Predicate::Compare { left: right.clone(), op, right: left.clone() });
                }
            }
        }
    }
    // A statement each would take long: the answers of many fit in one row each of an Or of Ands.
    for predicate in predicates.iter().step_by(31) {
        matrix.check(predicate);
    }
    for few in predicates.chunks(40) {
        for (n, row) in matrix.rows.iter().enumerate() {
            // Exactly the predicates that hold for this row, joined by AND, must select it.
            let holding: Vec<Predicate> = few.iter().filter(|p| matrix.expected(p, row)).cloned().collect();
            if n == few.len() % matrix.rows.len() && !holding.is_empty() {
                matrix.check(&Predicate::And(holding));
            }
        }
        matrix.check(&Predicate::Or(few.to_vec()));
    }
}

#[test]
fn combinations() {
    let matrix = matrix();
    let compare = |left: Operand, op, value: FieldValue| Predicate::Compare {
        left,
        op,
        right: Operand::Literal(value),
    };
    let (host, dc, float) = (Operand::Tag(TagId(0)), Operand::Tag(TagId(1)), Operand::Field(FieldId(0)));
    let eq = |operand: &Operand, value| compare(operand.clone(), CompareOp::Eq, value);
    let ne = |operand: &Operand, value| compare(operand.clone(), CompareOp::Ne, value);
    for predicate in [
        Predicate::Constant(true),
        Predicate::Constant(false),
        Predicate::And(vec![]),
        Predicate::Or(vec![]),
        Predicate::Or(vec![eq(&host, s("a")), eq(&host, s("")), eq(&host, s("é"))]),
        Predicate::Or(vec![eq(&host, s("a")), eq(&dc, s(""))]),
        Predicate::Or(vec![eq(&Operand::Field(FieldId(3)), s("a")), eq(&Operand::Field(FieldId(3)), s("A"))]),
        Predicate::Or(vec![eq(&float, s("a")), eq(&float, s("b"))]),
        Predicate::Or(vec![eq(&Operand::Literal(s("a")), s("a")), eq(&Operand::Literal(s("a")), s("b"))]),
        // NULL in the middle of things.
        Predicate::Or(vec![ne(&float, f(1.5)), eq(&host, s("é"))]),
        Predicate::And(vec![Predicate::Or(vec![ne(&float, f(1.5)), ne(&host, s("a"))]), ne(&dc, s("x"))]),
        Predicate::And(vec![
            Predicate::Constant(true),
            Predicate::Or(vec![Predicate::Constant(false), eq(&dc, s("b"))]),
        ]),
    ] {
        matrix.check(&predicate);
    }
}

#[test]
fn deep_and_wide_conditions() {
    let matrix = matrix();
    let host_is = |name: &str| Predicate::Compare {
        left: Operand::Tag(TagId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(s(name)),
    };
    let mut deep = host_is("a");
    for n in 0..PREDICATE_DEPTH_MAX / 2 {
        deep = Predicate::And(vec![Predicate::Constant(true), deep]);
        deep = Predicate::Or(vec![host_is(&n.to_string()), deep]);
    }
    matrix.check(&deep);
    let mut names: Vec<Predicate> = (0..20_000).map(|n| host_is(&format!("host-{n}"))).collect();
    names.push(host_is("é"));
    matrix.check(&Predicate::Or(names));
    let mixed = (0..2_000).map(|n| Predicate::Compare {
        left: Operand::Field(FieldId(n % 2)),
        op: CompareOp::Gt,
        right: Operand::Literal(i(i64::from(n))),
    });
    matrix.check(&Predicate::Or(mixed.collect()));
}

#[test]
fn regular_expressions() {
    let matrix = matrix();
    let regex = |operand: Operand, pattern: &str, negated| Predicate::Regex {
        operand,
        pattern: pattern.to_owned(),
        negated,
    };
    let (host, string) = (Operand::Tag(TagId(0)), Operand::Field(FieldId(3)));
    let all = vec![0, 1, 2, 3, 4, 5, 6];
    for (operand, pattern, found) in [
        (&host, "a", vec![0, 5, 6]),
        (&host, "^a$", vec![0]),
        (&host, "(?i)^A$", vec![0, 4]),
        (&host, "", all.clone()),
        (&host, ".*", all.clone()),
        (&host, "^$", vec![2]),
        (&host, "a.b", vec![5, 6]),
        (&host, r"a\.b", vec![6]),
        (&host, r"a\sb", vec![5]),
        (&host, "é|^b", vec![1, 3]),
        (&host, "^(a|b)$", vec![0, 1]),
        (&host, "^(?:a b|A|é)$", vec![3, 4, 5]),
        (&host, "[[:upper:]]", vec![4]),
        (&host, r"\pL{2}", vec![]),
        (&host, "'", vec![]),
        (&host, r"\\", vec![]),
        (&string, "line.break", vec![]),
        (&string, "(?s)line.break", vec![2]),
        (&string, r"line\nbreak", vec![2]),
        (&string, "line\nbreak", vec![2]),
        (&string, "^break", vec![]),
        (&string, "(?m)^break$", vec![2]),
        (&string, "^.$", vec![0, 4, 5, 6]),
    ] {
        assert_eq!(matrix.times(&regex(operand.clone(), pattern, false)), found, "{pattern}");
        let mut others = all.clone();
        others.retain(|n| !found.contains(n));
        if *operand == string {
            // NULL matches neither way.
            others.retain(|n| *n != 3);
        }
        assert_eq!(matrix.times(&regex(operand.clone(), pattern, true)), others, "not {pattern}");
    }
    for negated in [false, true] {
        assert!(matrix.times(&regex(Operand::Field(FieldId(0)), ".*", negated)).is_empty());
        assert!(matrix.times(&regex(Operand::Literal(i(1)), ".*", negated)).is_empty());
    }
}

#[test]
fn floats_reach_the_engine_exactly() {
    let t = table(1, &[], &[("f", FieldType::Float)]);
    let fixture = open_with(&t);
    let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut values =
        vec![f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0, 0.1 + 0.2, 123_456_789_012_345_680.0];
    while values.len() < 200 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(bits);
        if value.is_finite() {
            values.push(value);
        }
    }
    let rows_in: Vec<Row> = (0i64..).zip(&values).map(|(time, v)| row(time, &[], &[f(*v)])).collect();
    fixture.insert(&t, &rows_in);
    let parts = values.iter().map(|v| Predicate::Compare {
        left: Operand::Field(FieldId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(f(*v)),
    });
    let found = fixture.run(&filtered(rows(&t, RowScan::default()), Predicate::Or(parts.collect()))).unwrap();
    assert_eq!(found.len(), values.len());
}
