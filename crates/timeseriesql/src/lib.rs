//! TimeseriesQL, our InfluxQL 1.x: lexer, syntax tree, parser and printer.
//!
//! Text in, tree out, and back: no I/O and no knowledge of a schema. Errors read as InfluxDB's do,
//! to the character they point at. What needs a schema or a clock is left to the planner, but for
//! the pure helpers over expressions (constant folding, extraction of time bounds) kept here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ast;
pub mod duration;
mod error;
mod lexer;
pub mod normalize;
mod params;
pub mod parser;
mod print;
pub mod quote;
pub mod reduce;
pub mod regex;
pub mod time;
pub mod walk;

pub use error::{PARSE_ERROR_PREFIX, ParseError};
pub use lexer::Position;
pub use params::{BindValue, Params};
pub use parser::{parse_expr, parse_query, parse_query_with_params, parse_statement};
