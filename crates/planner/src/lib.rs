//! TimeseriesQL statements to engine scans and the operators that shape their rows.

pub mod functions;
