//! What can go wrong while a prepared SELECT runs.

use hyperbytedb_domain::EngineError;
use hyperbytedb_functions::FunctionError;

/// Reads as InfluxDB's error does, where InfluxDB has one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A bound of the server.
    #[error("{name} limit exceeded: ({value}/{limit})")]
    LimitExceeded { name: &'static str, setting: &'static str, value: u64, limit: u64 },
    #[error("invalid expression: {0}")]
    Invalid(String),
}

impl ExecError {
    /// The setting of the limit that is reached.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Engine(error) => error.limit(),
            Self::LimitExceeded { setting, .. } => Some(setting),
            Self::Function(_) | Self::Invalid(_) => None,
        }
    }
}
