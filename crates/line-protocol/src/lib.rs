//! InfluxDB line protocol: bytes straight into columnar batches, with one error a line.
//!
//! Writing is the hot path of the database, so there are two readers of the same grammar:
//!
//! * the *exact* reader ([`exact`](self)) follows InfluxDB 1.x byte by byte, including what it
//!   accepts by accident and the texts of its errors;
//! * the *fast* reader takes the common shape only (a series seen before or free of escapes, fields
//!   that the measurement already has, a plain timestamp) and hands every other line to the exact one.
//!   It never refuses a line itself, so there is one place that decides what is wrong with a line.
//!
//! The fast reader does no allocation a line: the bytes before the first space are looked up as a
//! whole to find the series, each column remembers which column followed it in the previous line, and
//! columns are padded only where rows lack the field.
//!
//! # Where this differs from InfluxDB on purpose
//!
//! * Text must be UTF-8: `unable to parse '…': invalid UTF-8`.
//! * Limits of [`ParseOptions`] are enforced, and error texts are bounded.
//! * A few names that InfluxDB takes but that cannot be written back as line protocol are refused: see
//!   [`Reason::InvalidValue`], [`Reason::NewlineInName`], [`Reason::AmbiguousEscapes`] and
//!   [`Reason::BlankBeforeFieldKey`].
//!
//! # Speed
//!
//! `cargo bench -p hyperbytedb-line-protocol` parses 5,000-line bodies of 10-field CPU points.

mod batch;
mod body;
pub mod columns;
mod error;
mod escape;
mod exact;
mod fast;
mod fields;
mod number;
mod options;
mod parser;
mod print;
mod series;

pub use body::{LineSpan, body_without, line_end};
pub use error::{DropReason, DroppedPoint, Drops, LineError, Parsed, Reason, partial_write};
pub use options::ParseOptions;
pub use parser::parse;
pub use print::{PointPrinter, print_batch, print_body, print_point};
