//! Bodies of writes that are columns: Arrow streams and MessagePack, as the batches that line protocol becomes.
//!
//! Most points need no look of their own: what is checked is checked by column and by series. A point that could be wrong is
//! printed as a line and read by the parser of line protocol, so that what is refused, and with which text, is the same.

mod arrow_schema;
mod arrow_stream;
mod foreseen;
mod message_pack;
mod points;
mod series;
mod stored;
mod table;

use bytes::Bytes;
use hyperbytedb_domain::PointsBatch;
use hyperbytedb_domain::ports::BodyFormat;
use hyperbytedb_domain::wal::{BodyForm, TableVersion, WriteEntry};
use hyperbytedb_line_protocol::{ParseOptions, Parsed};

pub use foreseen::is_foreseen as is_panic_foreseen;
pub use series::KnownSeries;
pub use stored::{StoredError, decode, encode};

/// Why a body as a whole cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("unable to read Arrow stream: {0}")]
    Arrow(String),
    #[error("unable to read MessagePack: {0}")]
    MessagePack(String),
}

/// Reads the body of a request. `measurement`: of columns that do not name one.
pub fn read(
    format: BodyFormat,
    body: &Bytes,
    measurement: &str,
    options: &ParseOptions,
    known: &KnownSeries,
) -> Result<Parsed, ReadError> {
    let tables = match format {
        BodyFormat::Lines => return Ok(hyperbytedb_line_protocol::parse(body, options)),
        BodyFormat::ArrowStream => {
            arrow_stream::read(body, measurement, options).map_err(ReadError::Arrow)?
        }
        BodyFormat::MessagePack => {
            message_pack::read(body, measurement, options).map_err(ReadError::MessagePack)?
        }
    };
    Ok(points::points(tables, options, known))
}

/// The form in which the log can keep a body of columns as it came, of which everything was taken; `None`: what it was read as must
/// be kept, for a part of it lacks a measurement that the log would not know. `tables`: the measurements.
pub fn form_of_whole(format: BodyFormat, measurement: &str, tables: &[TableVersion]) -> Option<BodyForm> {
    match format {
        BodyFormat::Lines => Some(BodyForm::Lines),
        BodyFormat::ArrowStream => Some(BodyForm::ArrowStream),
        BodyFormat::MessagePack => (measurement.is_empty() || sole_measurement(tables) == measurement)
            .then_some(BodyForm::MessagePack),
    }
}

/// What columns of the log that name no measurement are of.
fn sole_measurement(tables: &[TableVersion]) -> &str {
    match tables {
        [table] => &table.measurement,
        _ => "",
    }
}

/// The points of a body without those of these lines, as the log keeps them.
pub fn encode_without(mut batches: Vec<PointsBatch>, lines: &[u32]) -> Result<Vec<u8>, StoredError> {
    stored::leave_out(&mut batches, lines);
    encode(&batches)
}

/// The points of a write that the log holds.
pub fn accepted(write: &WriteEntry) -> Result<Vec<PointsBatch>, StoredError> {
    let format = match write.form {
        BodyForm::Columns => return stored::decode(&write.body),
        BodyForm::Lines => BodyFormat::Lines,
        BodyForm::ArrowStream => BodyFormat::ArrowStream,
        BodyForm::MessagePack => BodyFormat::MessagePack,
    };
    let options = ParseOptions::accepted(write.precision, write.default_time);
    let measurement = sole_measurement(&write.tables);
    Ok(read(format, &write.body, measurement, &options, &KnownSeries::none())?.batches)
}

#[cfg(test)]
mod tests;
