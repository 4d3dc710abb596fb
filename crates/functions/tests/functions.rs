//! Runs `cases/functions/*.txt`: answers of InfluxDB to single functions over single groups of points.
//!
//! Blocks are separated by blank lines. A `data:` block names input points of one `type:`; a `call:` block
//! is a function with its literal arguments over them, the clauses that matter, and the result. All times
//! are in nanoseconds. `cases/functions/generate.py` writes the files.

#![allow(clippy::unwrap_used)] // a test may panic

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_domain::{FieldType, FieldValue, TimeRange};
use hyperbytedb_functions::{
    Aggregate, Argument, FillMode, FunctionError, GapFill, Interval, MathFunction, Point, Transformation,
    Windows, ZERO_TIME,
};

const TOLERANCE: f64 = 1e-9;

struct Data {
    kind: FieldType,
    points: Vec<Point>,
}

#[derive(Default)]
struct Block<'a> {
    keys: HashMap<&'a str, &'a str>,
    lines: Vec<&'a str>,
}

impl<'a> Block<'a> {
    fn parse(text: &'a str) -> Self {
        let mut block = Self::default();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        for line in lines.by_ref() {
            let (key, value) = line.split_once(':').unwrap();
            if matches!(key, "points" | "result") {
                break;
            }
            block.keys.insert(key, value.trim());
        }
        block.lines = lines.collect();
        block
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.keys.get(key).map(|value| value.parse().unwrap())
    }
}

fn parse_value(text: &str) -> FieldValue {
    match text {
        "null" => FieldValue::Null,
        "true" => FieldValue::Boolean(true),
        "false" => FieldValue::Boolean(false),
        _ if text.starts_with('"') => FieldValue::String(text.trim_matches('"').into()),
        _ => match text.strip_suffix('i') {
            Some(number) => FieldValue::Integer(number.parse().unwrap()),
            None => FieldValue::Float(text.parse().unwrap()),
        },
    }
}

fn parse_points(lines: &[&str]) -> Vec<Point> {
    let point = |line: &&str| {
        let (time, value) = line.split_once(' ').unwrap();
        Point::new(time.parse().unwrap(), parse_value(value))
    };
    lines.iter().map(point).collect()
}

fn parse_kind(name: &str) -> FieldType {
    use FieldType::*;
    [Float, Integer, Unsigned, String, Boolean].into_iter().find(|kind| kind.name() == name).unwrap()
}

fn parse_argument(text: &str) -> Argument {
    let duration = |number: &str, unit: i64| number.parse::<i64>().ok().map(|n| Argument::Duration(n * unit));
    if let Some(number) = text.strip_suffix('s')
        && let Some(duration) = duration(number, 1_000_000_000)
    {
        return duration;
    }
    if let Some(number) = text.strip_suffix('m')
        && let Some(duration) = duration(number, 60_000_000_000)
    {
        return duration;
    }
    if text.starts_with('\'') {
        return Argument::Text(text.trim_matches('\'').to_owned());
    }
    match text.parse() {
        Ok(integer) => Argument::Integer(integer),
        Err(_) => Argument::Number(text.parse().unwrap()),
    }
}

struct Statement {
    windows: Windows,
    ascending: bool,
    fill: FillMode,
}

impl Statement {
    fn parse(block: &Block) -> Self {
        let interval = block
            .number("every")
            .map(|every| Interval { every, offset: block.number("offset").unwrap_or(0) % every });
        let fill = match block.keys.get("fill").copied() {
            None | Some("null") => FillMode::Null,
            Some("none") => FillMode::None,
            Some("previous") => FillMode::Previous,
            Some("linear") => FillMode::Linear,
            Some(number) => FillMode::Number(match number.parse() {
                Ok(integer) => FieldValue::Integer(integer),
                Err(_) => FieldValue::Float(number.parse().unwrap()),
            }),
        };
        let range = TimeRange {
            min: block.number("low").unwrap_or(MIN_TIME),
            max: block.number("high").unwrap_or(MAX_TIME),
        };
        let zone = block.keys.get("zone").map(|name| jiff::tz::TimeZone::get(name).unwrap());
        Self {
            windows: Windows { interval, range, zone },
            ascending: !block.keys.contains_key("order"),
            fill,
        }
    }

    fn aggregate(&self, aggregate: &Aggregate, data: Data) -> Result<Data, FunctionError> {
        let kind = aggregate.result_type(data.kind)?;
        let mut reducer = aggregate.reducer(data.kind)?;
        let windowed = self.windows.interval.is_some();
        let keeps = aggregate.keeps_times() || (aggregate.is_selector() && !windowed);
        let mut points: Vec<Point> = Vec::new();
        let mut rest = data.points.as_slice();
        while let Some(first) = rest.first() {
            let window = self.windows.window(first.time);
            let length = rest.iter().take_while(|point| window.contains(point.time)).count();
            assert!(length > 0, "{} is not in its window {window:?}", first.time);
            rest[..length].iter().for_each(|point| reducer.push(point));
            reducer.finish(&mut |mut point| {
                if !keeps {
                    point.time = if window.start == MIN_TIME { 0 } else { window.start };
                }
                points.push(point);
            });
            rest = &rest[length..];
        }
        if windowed && !keeps && self.fill != FillMode::None {
            let mode = self.fill.clone().for_function(aggregate.name());
            let mut fill = GapFill::new(mode, kind, &self.windows, self.ascending);
            let mut filled = Vec::new();
            let mut emit = |point| {
                filled.push(point);
                ControlFlow::Continue(())
            };
            for point in points {
                let _ = fill.push(point, &mut emit);
            }
            let _ = fill.finish(&mut emit);
            points = filled;
        }
        Ok(Data { kind, points })
    }

    fn transform(&self, transformation: &Transformation, data: &Data) -> Result<Data, FunctionError> {
        let kind = transformation.result_type(data.kind)?;
        let mut transform = transformation.transform(data.kind, &self.windows, self.ascending)?;
        let mut points = Vec::new();
        for point in &data.points {
            transform.push(point, &mut |point| points.push(point));
        }
        transform.finish(&|| true, &mut |point| points.push(point))?;
        Ok(Data { kind, points })
    }
}

fn run(block: &Block, data: &Data) -> Result<Vec<Point>, FunctionError> {
    let statement = Statement::parse(block);
    let mut points: Vec<Point> =
        data.points.iter().filter(|p| statement.windows.range.contains(p.time)).cloned().collect();
    if !statement.ascending {
        points.reverse();
    }
    let mut data = Data { kind: data.kind, points };
    let mut words = block.keys["call"].split(' ');
    let name = words.next().unwrap();
    let arguments: Vec<Argument> = words.map(parse_argument).collect();

    if let Some(function) = MathFunction::parse(name) {
        let literal = arguments.first().map(|argument| match argument {
            Argument::Integer(n) => FieldValue::Integer(*n),
            Argument::Number(n) => FieldValue::Float(*n),
            other => panic!("{other:?}"),
        });
        for point in &mut data.points {
            let values: Vec<_> = [point.value.clone()].into_iter().chain(literal.clone()).collect();
            point.value = function.apply(&values);
        }
        return Ok(data.points);
    }
    if let Ok(aggregate) = Aggregate::new(name, &arguments, 0) {
        return statement.aggregate(&aggregate, data).map(|data| data.points);
    }
    if let Some(inner) = block.keys.get("inner") {
        data = statement.aggregate(&Aggregate::new(inner, &[], 0).unwrap(), data)?;
    }
    let every = statement.windows.interval.map(|interval| interval.every);
    let transformation = Transformation::new(name, &arguments, every)?;
    statement.transform(&transformation, &data).map(|data| data.points)
}

fn close(ours: &FieldValue, theirs: &FieldValue) -> bool {
    match (ours, theirs) {
        (FieldValue::Float(a), FieldValue::Float(b)) => (a - b).abs() <= TOLERANCE * b.abs(),
        (FieldValue::Float(a), FieldValue::Null) => !a.is_finite(),
        _ => ours == theirs,
    }
}

fn difference(block: &Block, data: &Data) -> Option<String> {
    let result = run(block, data);
    if let Some(error) = block.lines.first().and_then(|line| line.strip_prefix("error ")) {
        let ours = result.map(|_| "no error".to_owned()).unwrap_or_else(|e| e.to_string());
        return (ours != error).then_some(ours);
    }
    let (ours, theirs) = (result.expect("a result"), parse_points(&block.lines));
    if ours.len() != theirs.len() {
        return Some(format!("{} points for {}: {ours:?}", ours.len(), theirs.len()));
    }
    let different = |(a, b): &(&Point, &Point)| {
        assert_ne!(a.time, ZERO_TIME);
        a.time != b.time || !close(&a.value, &b.value)
    };
    ours.iter().zip(&theirs).find(different).map(|(a, b)| format!("{a:?} for {b:?}"))
}

fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut known = HashMap::new();
    let mut failures = Vec::new();
    for (number, text) in text.split("\n\n").enumerate() {
        let block = Block::parse(text);
        if let Some(name) = block.keys.get("data") {
            let kind = parse_kind(block.keys["type"]);
            known.insert(*name, Data { kind, points: parse_points(&block.lines) });
        } else if let Some(difference) = difference(&block, &known[block.keys["from"]]) {
            failures.push(format!("block {number} {:?}: {difference}", block.keys));
        }
    }
    assert!(!known.is_empty());
    assert!(failures.is_empty(), "{} cases of {file} differ:\n{}", failures.len(), failures.join("\n"));
}

macro_rules! cases {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            check(concat!(stringify!($name), ".txt"));
        })*
    };
}

cases!(aggregates, selectors, windows, transforms, indicators, integral, holt_winters, mathematics);
