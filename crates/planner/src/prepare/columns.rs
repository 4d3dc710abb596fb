//! The names of the columns.

use std::collections::HashMap;

use hyperbytedb_timeseriesql::ast::{Expr, Field};

/// A column before it has its name.
#[derive(Debug, Clone)]
pub(super) struct ResultColumn {
    pub field: Field,
    /// Added by `top` or `bottom`.
    pub implied: bool,
}

/// The columns of the result: after `top(field, tags…, n)` come its tags.
pub(super) fn columns(fields: Vec<Field>) -> Vec<ResultColumn> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let implied: Vec<Expr> = match &field.expr {
            Expr::Call(call) if matches!(call.name.as_str(), "top" | "bottom") => {
                call.args.iter().skip(1).filter(|arg| matches!(arg, Expr::VarRef(_))).cloned().collect()
            }
            _ => Vec::new(),
        };
        columns.push(ResultColumn { field, implied: false });
        columns.extend(
            implied
                .into_iter()
                .map(|expr| ResultColumn { field: Field { expr, alias: None }, implied: true }),
        );
    }
    columns
}

/// Names made unique as InfluxDB does: aliases stay, of other names those that are taken get a number.
///
/// `has_target`: the rows are written somewhere, with implied columns as tags, which take no name from a field.
pub(super) fn unique_names(columns: &[ResultColumn], has_target: bool) -> Vec<String> {
    let aliases = columns.iter().filter_map(|column| column.field.alias.clone());
    let mut taken: HashMap<String, u64> = aliases.map(|alias| (alias, 1)).collect();
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        if let Some(alias) = &column.field.alias {
            names.push(alias.clone());
            continue;
        }
        if has_target && column.implied {
            names.push(column.field.name());
            continue;
        }
        let name = free_name(column.field.name(), &mut taken);
        *taken.entry(name.clone()).or_default() += 1;
        names.push(name);
    }
    names
}

fn free_name(name: String, taken: &mut HashMap<String, u64>) -> String {
    let Some(&first) = taken.get(&name) else { return name };
    let mut number = first;
    loop {
        let numbered = format!("{name}_{number}");
        if !taken.contains_key(&numbered) {
            taken.insert(name, number + 1);
            return numbered;
        }
        number += 1;
    }
}
