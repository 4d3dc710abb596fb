//! Blocks as InfluxDB's JSON.

use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{FieldValue, Precision};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// Joins the blocks of a series.
#[derive(Default)]
pub struct SeriesWriter {
    series: Vec<Value>,
    open: bool,
    /// Nanoseconds of the unit of times; `None`: as text.
    unit: Option<i64>,
}

impl SeriesWriter {
    /// `epoch`: the unit of times, empty for text.
    pub fn new(epoch: &str) -> Self {
        let unit = (!epoch.is_empty()).then(|| Precision::parse(epoch).nanoseconds());
        Self { unit, ..Self::default() }
    }

    pub fn push(&mut self, block: &SeriesBlock) {
        let zone = block.zone.clone().unwrap_or(TimeZone::UTC);
        let rows: Vec<Value> = block
            .rows()
            .map(|row| row.iter().map(|v| value(v, &zone, self.unit)).collect::<Vec<_>>().into())
            .collect();
        let last = self.series.last_mut().filter(|_| self.open).and_then(|s| s["values"].as_array_mut());
        match last {
            Some(values) => values.extend(rows),
            None => {
                let mut series = Map::new();
                series.insert("name".into(), json!(*block.name));
                if let Some(tags) = &block.tags {
                    let tags: Map<String, Value> = tags.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
                    series.insert("tags".into(), tags.into());
                }
                series.insert("columns".into(), json!(*block.columns));
                series.insert("values".into(), rows.into());
                self.series.push(series.into());
            }
        }
        self.open = block.partial;
    }

    pub fn finish(self) -> Vec<Value> {
        self.series
    }
}

fn value(value: &FieldValue, zone: &TimeZone, unit: Option<i64>) -> Value {
    match value {
        FieldValue::Null | FieldValue::Strings(_) => Value::Null,
        FieldValue::Float(v) => json!(v),
        FieldValue::Integer(v) => json!(v),
        FieldValue::Unsigned(v) => json!(v),
        FieldValue::String(v) => json!(**v),
        FieldValue::Boolean(v) => json!(v),
        FieldValue::Time(t) => {
            let time = Timestamp::from_nanosecond(i128::from(*t)).unwrap();
            match unit {
                Some(unit) => json!(t / unit),
                None if *zone == TimeZone::UTC => json!(time.to_string()),
                None => json!(time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()),
            }
        }
    }
}

/// Whether two answers are the same; floats may differ by rounding.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
            (Some(a), Some(b), ..) => a == b,
            (_, _, Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}
