//! The engine's exceptions as [`EngineError`]s.

use hyperbytedb_domain::ports::SqlError;
use hyperbytedb_domain::{EngineError, settings};

/// Characters of an exception's text that are passed on.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// ClickHouse's error codes that mean something here.
const UNKNOWN_TABLE: u32 = 60;
const TOO_MANY_ROWS: u32 = 158;
const TIMEOUT_EXCEEDED: u32 = 159;
const TOO_SLOW: u32 = 160;
const MEMORY_LIMIT_EXCEEDED: u32 = 241;
const CANNOT_GET_CREATE_TABLE_QUERY: u32 = 390;
const TOO_MANY_BYTES: u32 = 307;
const CANNOT_ASSIGN_OPTIMIZE: u32 = 388;
const QUERY_WAS_CANCELLED: u32 = 394;
const TOO_MANY_ROWS_OR_BYTES: u32 = 396;
const QUERY_WAS_CANCELLED_BY_CLIENT: u32 = 735;

/// An exception of the engine.
#[derive(Debug, Clone)]
pub struct Exception {
    code: Option<u32>,
    message: String,
}

/// Of answers that cannot be read.
impl From<arrow::error::ArrowError> for Exception {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self { code: None, message: error.to_string() }
    }
}

impl Exception {
    /// Reads `Code: N. DB::Exception: …`.
    pub fn new(text: &str) -> Self {
        let code = text
            .split_once("Code: ")
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        Self { code, message: text.chars().take(MESSAGE_CHARS_MAX).collect() }
    }

    pub fn code(&self) -> Option<u32> {
        self.code
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn is_unknown_table(&self) -> bool {
        self.code == Some(UNKNOWN_TABLE)
    }

    /// Whether the table to attach has been dropped.
    pub fn is_without_definition(&self) -> bool {
        self.code == Some(CANNOT_GET_CREATE_TABLE_QUERY)
    }

    /// Whether OPTIMIZE found other work in its way.
    pub fn is_merge_refused(&self) -> bool {
        self.code == Some(CANNOT_ASSIGN_OPTIMIZE)
    }

    /// The bound that was reached: of the whole engine or of one statement.
    fn memory_setting(&self) -> &'static str {
        match self.message.contains("(total)") {
            true => settings::CHDB_MAX_SERVER_MEMORY_BYTES,
            false => settings::QUERY_MAX_MEMORY_BYTES,
        }
    }

    /// For the operator who wrote the statement: what the engine says about it is the answer.
    pub fn into_sql_error(self) -> SqlError {
        match self.code {
            Some(TOO_MANY_ROWS_OR_BYTES) => SqlError::TooLarge,
            Some(
                QUERY_WAS_CANCELLED
                | QUERY_WAS_CANCELLED_BY_CLIENT
                | TIMEOUT_EXCEEDED
                | TOO_SLOW
                | MEMORY_LIMIT_EXCEEDED
                | TOO_MANY_ROWS
                | TOO_MANY_BYTES,
            ) => SqlError::Engine(self.into_engine_error("SQL")),
            _ => SqlError::Exception(self.message),
        }
    }

    /// `context`: what was being done.
    pub fn into_engine_error(self, context: &str) -> EngineError {
        match self.code {
            Some(QUERY_WAS_CANCELLED | QUERY_WAS_CANCELLED_BY_CLIENT) => EngineError::Cancelled,
            Some(TIMEOUT_EXCEEDED | TOO_SLOW) => EngineError::Timeout,
            Some(MEMORY_LIMIT_EXCEEDED) => {
                tracing::info!("{context}: {}", self.message);
                EngineError::MemoryLimit { setting: self.memory_setting() }
            }
            Some(TOO_MANY_ROWS | TOO_MANY_BYTES) => EngineError::RowLimit,
            // Of all bounds with this code only that of a sort is ever set.
            Some(TOO_MANY_ROWS_OR_BYTES) => EngineError::SortLimit,
            _ => EngineError::failed(context, self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let error = |text: &str| Exception::new(text).into_engine_error("scan");
        assert!(matches!(error("Code: 159. DB::Exception: Timeout exceeded"), EngineError::Timeout));
        for (text, setting) in
            [("(total) over", "chdb.max_server_memory_bytes"), ("Query", "query.max_memory_bytes")]
        {
            let error =
                error(&format!("Code: 241. DB::Exception: {text} memory limit exceeded: would use 3 GiB"));
            assert_eq!(error.to_string(), format!("query memory limit exceeded ({setting})"));
        }
        assert!(matches!(error("x Code: 158. DB::Exception"), EngineError::RowLimit));
        assert!(matches!(error("Code: 394. DB::Exception"), EngineError::Cancelled));
        assert_eq!(error("No result").to_string(), "engine: scan: No result");
        assert!(Exception::new("Code: 60. DB::Exception: Unknown table").is_unknown_table());
        assert!(!Exception::new("Code: ").is_unknown_table());
    }
}
