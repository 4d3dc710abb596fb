//! The newest points of each table in memory, by series, and scans over them.
//!
//! Points enter with their log record and stay behind their flush, until the budget is used up; then the oldest times
//! leave first. A [`TableHead`] knows from which time on it holds every point of its table: scans of that range need no
//! engine, and answer as the engine would.
//!
//! * [`layout`] and [`chunk`]: rows of one series as words, in time order; [`packed`]: the rows of a write so
//! * [`series`]: the chunks of one series; [`tags`]: its tags as codes; [`table`]: all series of a table
//! * [`filter`]: conditions, resolved by series first
//! * [`snapshot`]: all of it as a file, between an orderly stop and the next start
//! * [`rows`] and [`aggregate`]: the two kinds of scan; [`columns`]: their answers as record batches

mod accumulator;
mod aggregate;
mod chunk;
mod columns;
mod filter;
mod layout;
mod packed;
mod rows;
mod scan;
mod series;
mod set;
pub mod snapshot;
mod table;
mod tags;
mod value;

pub use scan::scan;
pub use set::Head;
pub use table::{NewRows, TableHead};
