//! The points of a measurement, read while the answer comes.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::RangeInclusive;

use hyperbytedb_domain::{FieldType, FieldValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::schema::Measurement;
use crate::client::{Server, quote, read_line};
use crate::error::Error;

/// Which points are asked for.
pub struct PointsOf<'a> {
    pub database: &'a str,
    pub measurement: &'a Measurement,
    pub range: RangeInclusive<i64>,
    /// Rows of one piece of the answer: what is in memory at one time.
    pub chunk_rows: usize,
}

/// The answer.
pub struct Points {
    reader: Box<dyn BufRead>,
    server: Server,
    statement: String,
    line: Vec<u8>,
}

/// Times, then the values of the fields in the order of the measurement's, as JSON has them.
pub type Row<'a> = Vec<&'a RawValue>;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    results: Vec<ResultOf<'a>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct ResultOf<'a> {
    #[serde(borrow, default)]
    series: Vec<SeriesRows<'a>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct SeriesRows<'a> {
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(borrow, default)]
    values: Vec<Row<'a>>,
}

impl Points {
    pub fn ask(server: &Server, of: &PointsOf<'_>) -> Result<Self, Error> {
        let fields: Vec<String> =
            of.measurement.fields.keys().map(|name| format!("{}::field", quote(name))).collect();
        let mut statement = format!("SELECT {} FROM {}", fields.join(", "), of.measurement.source());
        let (start, end) = of.range.clone().into_inner();
        let bounds = [
            (start != i64::MIN).then(|| format!("time >= {start}")),
            (end != i64::MAX).then(|| format!("time <= {end}")),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        if !bounds.is_empty() {
            statement += &format!(" WHERE {}", bounds.join(" AND "));
        }
        statement += " GROUP BY *";
        let reader = server.stream(of.database, &statement, of.chunk_rows)?;
        Ok(Self { reader: Box::new(reader), server: server.clone(), statement, line: Vec::new() })
    }

    /// Hands the next rows to `visit`, with the tags of their series; false at the end.
    pub fn read(
        &mut self,
        mut visit: impl FnMut(&BTreeMap<String, String>, &[Row<'_>]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if !read_line(&mut self.reader, &mut self.line).map_err(|source| self.server.unreachable(source))? {
            return Ok(false);
        }
        let failed = |text| Error::Statement { statement: self.statement.clone(), text };
        let answer: Answer<'_> = serde_json::from_slice(&self.line)
            .map_err(|error| failed(format!("the answer is cut off or not understood: {error}")))?;
        if let Some(text) = answer.error {
            return Err(failed(text));
        }
        for result in answer.results {
            if let Some(text) = result.error {
                return Err(failed(text));
            }
            for mut series in result.series {
                // InfluxDB names all tags that any series of the measurement has.
                series.tags.retain(|_, value| !value.is_empty());
                visit(&series.tags, &series.values)?;
            }
        }
        Ok(true)
    }
}

/// A value of an answer; an error text where it is not of that type.
pub fn value_of(raw: &RawValue, kind: FieldType) -> Result<FieldValue, Error> {
    let text = raw.get();
    if text == "null" {
        return Ok(FieldValue::Null);
    }
    let value = match kind {
        FieldType::Float => text.parse().ok().map(FieldValue::Float),
        FieldType::Integer => text.parse().ok().map(FieldValue::Integer),
        FieldType::Unsigned => text.parse().ok().map(FieldValue::Unsigned),
        FieldType::Boolean => text.parse().ok().map(FieldValue::Boolean),
        FieldType::String => {
            serde_json::from_str::<String>(text).ok().map(|text| FieldValue::String(text.into()))
        }
    };
    value
        .ok_or_else(|| Error::usage(format!("the server answers {text} for a field of type {}", kind.name())))
}
