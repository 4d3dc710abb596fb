//! Bodies of writes that are columns: Arrow streams and MessagePack, as the batches that line protocol becomes.
//!
//! Most points need no look of their own: what is checked is checked by column and by series. A point that could be wrong is
//! printed as a line and read by the parser of line protocol, so that what is refused, and with which text, is the same.

mod arrow_stream;
mod message_pack;
mod points;
mod stored;
mod table;

use bytes::Bytes;
use hyperbytedb_domain::PointsBatch;
use hyperbytedb_domain::ports::BodyFormat;
use hyperbytedb_domain::wal::{BodyForm, WriteEntry};
use hyperbytedb_line_protocol::{ParseOptions, Parsed};

pub use stored::{StoredError, decode, encode, without_rows};

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
    Ok(points::points(tables, options))
}

/// The points of a write that the log holds.
pub fn accepted(write: &WriteEntry) -> Result<Vec<PointsBatch>, StoredError> {
    match write.form {
        BodyForm::Lines => {
            let options = ParseOptions::accepted(write.precision, write.default_time);
            Ok(hyperbytedb_line_protocol::parse(&write.body, &options).batches)
        }
        BodyForm::Columns => stored::decode(&write.body),
    }
}

#[cfg(test)]
mod tests;
