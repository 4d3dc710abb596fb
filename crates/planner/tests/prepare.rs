//! Runs the statements of `tests/cases/*.txt` against a small catalogue.
//!
//! A file begins with the schema, one `table` line per measurement (`table [db.rp.]name tag… : field=type…`). Then
//! come cases, separated by empty lines: a statement after `> `, and what it is prepared to, or `error: …`.
//! `make cases-update` writes what comes out into the files.

#![allow(clippy::unwrap_used)] // a test may panic

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use hyperbytedb_domain::catalog::{Catalog, Command, FieldDef, RetentionPolicySpec, TableExtension};
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_domain::{FieldType, QueryContext};
use hyperbytedb_planner::{PrepareContext, PrepareLimits, PreparedSelect, PreparedSource, prepare};
use hyperbytedb_timeseriesql::ast::{Fill, Statement};
use hyperbytedb_timeseriesql::parse_statement;
use hyperbytedb_timeseriesql::time::format_utc;

/// 2020-01-01T00:00:00Z.
const NOW: i64 = 1_577_836_800_000_000_000;

#[test]
fn statements_are_prepared_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut failures = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let expected = fs::read_to_string(&path).unwrap();
        let actual = run(&expected);
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, actual).unwrap();
            continue;
        }
        let blocks = expected.trim().split("\n\n").zip(actual.trim().split("\n\n"));
        for (expected, actual) in blocks.filter(|(expected, actual)| expected != actual) {
            writeln!(failures, "{}:\n{expected}\n--- but:\n{actual}\n", path.display()).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The text of a file with what really comes out.
fn run(text: &str) -> String {
    let mut catalog = empty_catalog();
    let mut blocks = Vec::new();
    for block in text.trim().split("\n\n") {
        let mut output = String::new();
        for line in block.lines() {
            if let Some(table) = line.strip_prefix("table ") {
                add_table(&mut catalog, table);
            }
            if line.starts_with("table ") || line.starts_with("# ") {
                writeln!(output, "{line}").unwrap();
            }
            if let Some(statement) = line.strip_prefix("> ") {
                write!(output, "> {statement}\n{}", outcome(statement, &catalog)).unwrap();
            }
        }
        blocks.push(output);
    }
    blocks.join("\n")
}

fn empty_catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for database in ["db", "other"] {
        catalog.apply(&Command::CreateDatabase { name: database.into(), policy: None }).unwrap();
    }
    let spec = RetentionPolicySpec { name: Some("rp".into()), ..RetentionPolicySpec::default() };
    let create = Command::CreateRetentionPolicy { database: "db".into(), spec, default: false };
    catalog.apply(&create).unwrap();
    catalog
}

fn add_table(catalog: &mut Catalog, line: &str) {
    let (left, fields) = line.split_once(':').unwrap();
    let mut words = left.split_whitespace();
    let name: Vec<_> = words.next().unwrap().split('.').collect();
    let (database, policy, measurement) = match name[..] {
        [database, policy, measurement] => (database, policy, measurement),
        _ => ("db", "", name[0]),
    };
    let fields = fields.split_whitespace().map(|field| {
        let (name, field_type) = field.split_once('=').unwrap();
        let types = [
            FieldType::Float,
            FieldType::Integer,
            FieldType::Unsigned,
            FieldType::String,
            FieldType::Boolean,
        ];
        let field_type = types.into_iter().find(|t| t.name() == field_type).unwrap();
        FieldDef { name: name.into(), field_type }
    });
    let table = TableExtension {
        measurement: measurement.into(),
        tags: words.map(str::to_owned).collect(),
        fields: fields.collect(),
    };
    let extend = Command::ExtendSchema {
        database: database.into(),
        retention_policy: policy.into(),
        tables: vec![table],
        times: Vec::new(),
    };
    catalog.apply(&extend).unwrap();
}

fn outcome(statement: &str, catalog: &Catalog) -> String {
    let select = match parse_statement(statement) {
        Ok(Statement::Select(select)) => select,
        Ok(_) => return "not a SELECT\n".to_owned(),
        Err(error) => return format!("does not parse: {error}\n"),
    };
    let limits = PrepareLimits { max_buckets: 50_000_000 };
    let query = &QueryContext::unbounded();
    let context = PrepareContext { catalog, database: "db", retention_policy: "", now: NOW, limits, query };
    match prepare(&select, &context) {
        Ok(select) => {
            let mut text = String::new();
            describe(&select, 0, &mut text);
            text
        }
        Err(error) => format!("error: {error}\n"),
    }
}

/// What is not as by default, one clause a line.
fn describe(select: &PreparedSelect, depth: usize, text: &mut String) {
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "{:indent$}{name} {value}", "", indent = depth * 2).unwrap();
        }
    };
    let fields = select.fields.iter().map(|field| {
        let data_type = field.data_type.map_or("?".to_owned(), |t| t.to_string());
        format!("{} = {}: {data_type}", field.name, field.expr)
    });
    line("columns", [select.time_column.clone()].into_iter().chain(fields).collect::<Vec<_>>().join(", "));
    line("calls", select.calls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    line("aux", select.aux.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    if select.is_selector {
        line("selector", "yes".to_owned());
    }
    if let Some(into) = &select.into {
        let measurement = into.measurement.as_deref().unwrap_or(":MEASUREMENT");
        line("into", format!("{}.{}.{measurement}", into.database, into.retention_policy));
    }
    line("where", select.condition.as_ref().map(ToString::to_string).unwrap_or_default());
    let (min, max) = (select.time.range.min, select.time.range.max);
    if min != MIN_TIME {
        line("from time", format_utc(min.into()));
    }
    if max != MAX_TIME {
        line("to time", format_utc(max.into()));
    }
    line("group by", select.dimensions.join(", "));
    if let Some(interval) = select.interval {
        line("windows", format!("{}ns + {}ns", interval.every, interval.offset));
    }
    if select.fill != Fill::Null {
        line("fill", format!("{:?}", select.fill));
    }
    if !select.ascending {
        line("order", "descending".to_owned());
    }
    if select.sources.is_empty() {
        line("from", "nothing".to_owned());
    }
    for source in &select.sources {
        match source {
            PreparedSource::Measurement { table, .. } => {
                writeln!(
                    text,
                    "{:indent$}from {}.{}.{}",
                    "",
                    table.database,
                    table.retention_policy,
                    table.measurement,
                    indent = depth * 2
                )
                .unwrap();
            }
            PreparedSource::Subquery(inner) => {
                writeln!(text, "{:indent$}from", "", indent = depth * 2).unwrap();
                describe(inner, depth + 1, text);
            }
        }
    }
}
