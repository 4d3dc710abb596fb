//! SELECT and settings.

use std::fmt;
use std::sync::Arc;

use crate::expr::{Expr, join};
use crate::quote;

/// A setting's value.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    UInt(u64),
    Float(f64),
    Text(String),
}

impl From<u64> for SettingValue {
    fn from(value: u64) -> Self {
        Self::UInt(value)
    }
}

impl From<f64> for SettingValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<String> for SettingValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for SettingValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UInt(v) => write!(f, "{v}"),
            Self::Float(v) => quote::float(f, *v),
            Self::Text(v) => quote::string(f, v),
        }
    }
}

/// The settings of one statement, in order. Empty: no clause.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(Vec<(&'static str, SettingValue)>);

impl Settings {
    pub fn set(&mut self, name: &'static str, value: impl Into<SettingValue>) {
        self.0.push((name, value.into()));
    }

    pub fn with(mut self, name: &'static str, value: impl Into<SettingValue>) -> Self {
        self.set(name, value);
        self
    }
}

impl Settings {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// Keeps those that the server knows.
    pub fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| is_known(name));
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { " SETTINGS " } else { ", " })?;
            write!(f, "{name} = {value}")?;
        }
        Ok(())
    }
}

/// `database.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    pub database: Arc<str>,
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote::identifier(f, &self.database)?;
        f.write_str(".")?;
        quote::identifier(f, &self.table)
    }
}

/// What a SELECT reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Table(TableName),
    /// The rows as they are after merging.
    FinalTable(TableName),
    Function(Expr),
    Select(Box<Select>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => name.fmt(f),
            Self::FinalTable(name) => write!(f, "{name} FINAL"),
            Self::Function(call) => call.fmt(f),
            Self::Select(select) => write!(f, "({select})"),
        }
    }
}

/// One key of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderBy {
    pub expr: Expr,
    pub descending: bool,
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        if self.descending { f.write_str(" DESC") } else { Ok(()) }
    }
}

/// A SELECT. Empty clauses are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    pub distinct: bool,
    pub columns: Vec<Expr>,
    pub source: Source,
    /// Joined by AND.
    pub conditions: Vec<Expr>,
    pub group_by: Vec<Expr>,
    pub order_by: Vec<OrderBy>,
    /// Rows for each value of `limit_by` (of all rows when that is empty); 0 = all.
    pub limit: u64,
    pub limit_by: Vec<Expr>,
    pub settings: Settings,
}

impl Select {
    pub fn new(columns: Vec<Expr>, source: Source) -> Self {
        Self {
            distinct: false,
            columns,
            source,
            conditions: Vec::new(),
            group_by: Vec::new(),
            order_by: Vec::new(),
            limit: 0,
            limit_by: Vec::new(),
            settings: Settings::default(),
        }
    }
}

/// ` KEYWORD item, item`, or nothing.
fn clause<T: fmt::Display>(f: &mut fmt::Formatter<'_>, keyword: &str, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, " {keyword} ")?;
    join(f, items, ", ")
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.distinct { "SELECT DISTINCT " } else { "SELECT " })?;
        join(f, &self.columns, ", ")?;
        write!(f, " FROM {}", self.source)?;
        if !self.conditions.is_empty() {
            f.write_str(" WHERE ")?;
            join(f, &self.conditions, " AND ")?;
        }
        clause(f, "GROUP BY", &self.group_by)?;
        clause(f, "ORDER BY", &self.order_by)?;
        if self.limit > 0 {
            write!(f, " LIMIT {}", self.limit)?;
            clause(f, "BY", &self.limit_by)?;
        }
        self.settings.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clauses() {
        let table = TableName { database: "d".into(), table: "t`".into() };
        let mut select = Select::new(vec![Expr::column("a")], Source::FinalTable(table));
        assert_eq!(select.to_string(), r"SELECT `a` FROM `d`.`t\`` FINAL");
        select.distinct = true;
        select.conditions = vec![Expr::int(1), Expr::int(2)];
        select.group_by = vec![Expr::column("a")];
        select.order_by = vec![OrderBy { expr: Expr::column("a"), descending: true }];
        select.limit = 3;
        select.limit_by = vec![Expr::column("b")];
        select.settings = Settings::default().with("x", 1).with("y", "o'");
        assert_eq!(
            select.to_string(),
            r"SELECT DISTINCT `a` FROM `d`.`t\`` FINAL WHERE 1 AND 2 GROUP BY `a` ORDER BY `a` DESC LIMIT 3 BY `b` SETTINGS x = 1, y = 'o\''"
        );
    }
}
