//! The language every HyperbyteDB crate speaks: points, series, the catalogue, scans, results, and the
//! ports through which the application reaches storage and engine.
//!
//! This crate knows no adapter. Arrow is its only heavy dependency: record batches are the currency
//! between engine and operators.

pub mod backup;
pub mod cancel;
pub mod catalog;
pub mod clock;
pub mod cluster;
pub mod columns;
pub mod error;
pub mod field;
pub mod limits;
pub mod pace;
pub mod points;
pub mod ports;
pub mod result;
pub mod scan;
pub mod series;
pub mod settings;
pub mod text;
pub mod time;
pub mod wal;

pub use cancel::{CancelToken, QueryContext};
pub use clock::HybridClock;
pub use error::{EngineError, StorageError};
pub use field::{FieldType, FieldValue};
pub use points::PointsBatch;
pub use series::{SeriesId, Tags};
pub use time::{Precision, TimeRange};
