//! Wildcards and regexes among columns and dimensions become names.

use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, Field, VarRef, Wildcard};
use hyperbytedb_timeseriesql::regex::Regex;
use hyperbytedb_timeseriesql::walk::any_expr;

use super::PrepareError;
use super::error::refuse;
use super::schema::{Names, column_order};
use crate::prepared::PreparedSource;

/// Columns and GROUP BY tags with all wildcards replaced.
pub(super) struct Expanded {
    pub fields: Vec<Field>,
    /// Sorted, each once.
    pub dimensions: Vec<String>,
}

pub(super) fn expand(
    fields: Vec<Field>,
    dimensions: &[Expr],
    sources: &[PreparedSource],
) -> Result<Expanded, PrepareError> {
    let in_fields = fields.iter().any(|field| any_expr(&field.expr, is_pattern));
    let in_dimensions = dimensions.iter().any(is_pattern);
    if !in_fields && !in_dimensions {
        return Ok(Expanded { fields, dimensions: expand_dimensions(dimensions, &Names::default()) });
    }
    let names = Names::of(sources);
    let dimensions_expanded = expand_dimensions(dimensions, &names);
    let fields = if in_fields {
        // With GROUP BY * tags are no columns; else those that are grouped by are not.
        let tags = names.tags.iter().filter(|tag| !in_dimensions && !dimensions_expanded.contains(tag));
        expand_fields(fields, &columns(&names, tags))?
    } else {
        fields
    };
    Ok(Expanded { fields, dimensions: dimensions_expanded })
}

fn is_pattern(expr: &Expr) -> bool {
    matches!(expr, Expr::Wildcard(_) | Expr::Regex(_))
}

fn expand_dimensions(dimensions: &[Expr], names: &Names) -> Vec<String> {
    let mut tags = Vec::new();
    for dimension in dimensions {
        match dimension {
            Expr::VarRef(tag) => tags.push(tag.name.clone()),
            Expr::Regex(pattern) => tags.extend(names.tags.iter().filter(|t| pattern.is_match(t)).cloned()),
            _ => tags.extend(names.tags.iter().cloned()),
        }
    }
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// All columns in their order. Without a field there are none.
fn columns<'a>(names: &'a Names, tags: impl Iterator<Item = &'a String>) -> Vec<VarRef> {
    if names.fields.is_empty() {
        return Vec::new();
    }
    let fields = names.fields.iter().map(|(name, data_type)| (name, *data_type));
    let mut columns: Vec<VarRef> = fields
        .chain(tags.map(|tag| (tag, Some(DataType::Tag))))
        .map(|(name, data_type)| VarRef { name: name.clone(), data_type })
        .collect();
    columns.sort_by(|a, b| column_order((&a.name, a.data_type), (&b.name, b.data_type)));
    columns
}

fn expand_fields(fields: Vec<Field>, columns: &[VarRef]) -> Result<Vec<Field>, PrepareError> {
    let mut expanded = Vec::with_capacity(fields.len() + columns.len());
    for field in fields {
        match &field.expr {
            Expr::Wildcard(wildcard) => {
                let wanted = |column: &&VarRef| match wildcard {
                    Wildcard::Any => true,
                    Wildcard::Field => column.data_type != Some(DataType::Tag),
                    Wildcard::Tag => column.data_type == Some(DataType::Tag),
                };
                expanded.extend(columns.iter().filter(wanted).map(plain));
            }
            Expr::Regex(pattern) => {
                expanded.extend(columns.iter().filter(|c| pattern.is_match(&c.name)).map(plain));
            }
            Expr::Call(call) => match Pattern::of(call)? {
                Some(pattern) => expand_call(&field, call, &pattern, columns, &mut expanded),
                None => expanded.push(field),
            },
            Expr::Binary(_) => {
                check_operation(&field.expr)?;
                expanded.push(field);
            }
            _ => expanded.push(field),
        }
    }
    Ok(expanded)
}

fn plain(column: &VarRef) -> Field {
    Field { expr: Expr::VarRef(column.clone()), alias: None }
}

fn check_operation(expr: &Expr) -> Result<(), PrepareError> {
    if any_expr(expr, |e| matches!(e, Expr::Wildcard(_))) {
        refuse!("unsupported expression with wildcard: {expr}");
    }
    if any_expr(expr, |e| matches!(e, Expr::Regex(_))) {
        refuse!("unsupported expression with regex field: {expr}");
    }
    Ok(())
}

/// The wildcard in `f(*)`, `f(/re/)` or `f(g(*))`.
struct Pattern<'a> {
    /// The innermost function.
    function: &'a str,
    regex: Option<&'a Regex>,
}

impl<'a> Pattern<'a> {
    fn of(call: &'a Call) -> Result<Option<Self>, PrepareError> {
        let function = call.name.as_str();
        match call.args.first() {
            Some(Expr::Call(inner)) => Self::of(inner),
            Some(Expr::Wildcard(Wildcard::Tag)) => refuse!("unable to use tag wildcard in {function}()"),
            Some(Expr::Wildcard(_)) => Ok(Some(Self { function, regex: None })),
            Some(Expr::Regex(regex)) => Ok(Some(Self { function, regex: Some(regex) })),
            _ => Ok(None),
        }
    }

    fn takes(&self, column: &VarRef) -> bool {
        let Some(data_type) = column.data_type else { return false };
        takes_type(self.function, data_type) && self.regex.is_none_or(|regex| regex.is_match(&column.name))
    }
}

/// Whether a wildcard in the function stands for columns of this type.
fn takes_type(function: &str, data_type: DataType) -> bool {
    let takes_strings =
        matches!(function, "count" | "first" | "last" | "distinct" | "elapsed" | "mode" | "sample");
    match data_type {
        DataType::Float | DataType::Integer => true,
        DataType::Unsigned => !matches!(function, "holt_winters" | "holt_winters_with_fit"),
        DataType::String => takes_strings,
        DataType::Boolean => takes_strings || matches!(function, "min" | "max"),
        _ => false,
    }
}

/// One column per name, called `function_name` or `alias_name`.
fn expand_call(
    field: &Field,
    call: &Call,
    pattern: &Pattern<'_>,
    columns: &[VarRef],
    expanded: &mut Vec<Field>,
) {
    let prefix = field.name();
    for column in columns.iter().filter(|column| pattern.takes(column)) {
        let mut call = call.clone();
        set_innermost(&mut call, column);
        let alias = Some(format!("{prefix}_{}", column.name));
        expanded.push(Field { expr: Expr::Call(call), alias });
    }
}

fn set_innermost(call: &mut Call, column: &VarRef) {
    match call.args.first_mut() {
        Some(Expr::Call(inner)) => set_innermost(inner, column),
        Some(argument) => *argument = Expr::VarRef(column.clone()),
        None => {}
    }
}
