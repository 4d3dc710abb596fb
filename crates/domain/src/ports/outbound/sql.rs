//! Statements of operators in the engine's own language.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use crate::cancel::QueryContext;
use crate::catalog::{Catalog, RetentionPolicy, Table};
use crate::error::EngineError;
use crate::scan::RowSelection;
use crate::settings;

/// A statement that is to run, and what it may see.
#[derive(Debug)]
pub struct SqlStatement<'a> {
    pub text: &'a str,
    /// Values of its parameters, by name.
    pub parameters: &'a BTreeMap<String, String>,
    /// Tables that it can name: measurement, and which rows of it there are.
    pub tables: Vec<(Arc<Table>, RowSelection)>,
    /// What SHOW and DESCRIBE answer from: all databases, and the tables of the policy that is asked.
    pub catalog: &'a Catalog,
    pub policy: Option<&'a RetentionPolicy>,
    /// The engine's name of the format, where the statement has none.
    pub format: &'a str,
    /// Bytes of the answer.
    pub max_result_bytes: u64,
}

/// What is known of a statement before it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlText {
    /// All names in it; those of measurements are among them.
    pub names: BTreeSet<String>,
    /// Without its literals.
    pub normalized: String,
}

/// The answer of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlAnswer {
    pub body: Vec<u8>,
    /// The format that it is in, by the engine's name.
    pub format: String,
}

#[derive(Debug, Clone, Error)]
pub enum SqlError {
    /// It is not one that may run.
    #[error("{0}")]
    Refused(String),
    /// What the engine says about the statement.
    #[error("{0}")]
    Exception(String),
    #[error("the answer is larger than {}", settings::SQL_MAX_RESULT_BYTES)]
    TooLarge,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs statements that read, and nothing else.
pub trait SqlPort: Send + Sync {
    /// Refuses what may not run.
    fn read(&self, text: &str) -> Result<SqlText, SqlError>;

    /// Runs the statement to its end.
    fn run(&self, statement: &SqlStatement<'_>, context: &QueryContext) -> Result<SqlAnswer, SqlError>;
}
