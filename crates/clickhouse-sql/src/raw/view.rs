//! A measurement as a table of its own name and columns.

use std::collections::BTreeSet;

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{FieldId, RowSelection, TagId};

use crate::expr::{Expr, Literal};
use crate::scan::selected;
use crate::schema::{self, time};
use crate::select::{Select, Source, TableName};

/// What a measurement's name stands for: its rows as InfluxQL sees them, with `time`, its tags and its fields under their
/// names. Where a name is taken, `_1` follows, as in InfluxQL: fields come before tags.
pub fn view(table: &Table, from: TableName, rows: &RowSelection) -> Select {
    let tags = (0..table.tags.len()).map(|i| schema::tag(TagId(i as u32)));
    let fields = (0..table.fields.len()).map(|i| schema::field(FieldId(i as u32)));
    let stored: Vec<Expr> = [time()].into_iter().chain(tags.clone()).chain(fields.clone()).collect();
    let mut inner = Select::new(stored, Source::FinalTable(from));
    inner.conditions = selected(table, rows);

    let (tag_names, field_names) = names(table);
    let utc = Expr::Literal(Literal::string("UTC"));
    let mut columns = vec![Expr::call("fromUnixTimestamp64Nano", [time(), utc]).alias("time")];
    columns.extend(tags.zip(tag_names).map(|(tag, name)| tag.alias(name)));
    let fields = fields.zip(&table.fields).zip(field_names);
    columns.extend(fields.map(|((value, field), name)| {
        let value_type = Expr::Literal(Literal::string(value_type(field.field_type)));
        Expr::call("CAST", [value, value_type]).alias(name)
    }));
    // One level further in: a condition on `time` would mean the new column.
    Select::new(columns, Source::Select(Box::new(inner)))
}

/// Of tags and fields.
fn names(table: &Table) -> (Vec<String>, Vec<String>) {
    let mut names = BTreeSet::from(["time".to_owned()]);
    let fields = table.fields.iter().map(|field| unique(&field.name, &mut names)).collect();
    let tags = table.tags.iter().map(|name| unique(name, &mut names)).collect();
    (tags, fields)
}

/// The columns of the view, and their types.
pub fn columns(table: &Table) -> Vec<(String, String)> {
    let (tags, fields) = names(table);
    let mut columns = vec![("time".to_owned(), "DateTime64(9, 'UTC')".to_owned())];
    columns.extend(tags.into_iter().map(|name| (name, "String".to_owned())));
    let types = table.fields.iter().map(|field| value_type(field.field_type).to_owned());
    columns.extend(fields.into_iter().zip(types));
    columns
}

fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.to_owned();
    let mut n = 1;
    while !taken.insert(free.clone()) {
        free = format!("{name}_{n}");
        n += 1;
    }
    free
}

fn value_type(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Float => "Nullable(Float64)",
        FieldType::Integer => "Nullable(Int64)",
        FieldType::Unsigned => "Nullable(UInt64)",
        FieldType::String => "Nullable(String)",
        FieldType::Boolean => "Nullable(Bool)",
    }
}
