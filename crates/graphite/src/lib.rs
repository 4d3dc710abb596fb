//! Graphite's plaintext protocol (`name value [time]`) as line protocol. Templates say which parts of a name are measurement,
//! field and tags, as in InfluxDB 1.x, whose behaviour and texts these are.

mod filter;
mod template;

use std::collections::BTreeMap;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_line_protocol::PointPrinter;

use crate::filter::Filters;
use crate::template::{Named, Template};

/// InfluxDB takes times from December 13, 1901 to January 19, 2038.
const SECONDS: std::ops::RangeInclusive<f64> = -2_147_558_400.0..=2_147_472_000.0;
const SECOND: f64 = 1e9;
const FIELD: &str = "value";
/// What a name is without any template.
const WHOLE_NAME: &str = "measurement*";

/// Why a template is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("no measurement specified for template. {0:?}")]
    NoMeasurement(String),
    #[error("invalid template tags: {0:?}")]
    Tag(String),
    #[error("the template {0:?} has more than a filter, a template and tags")]
    Parts(String),
    #[error("two templates have the filter {0:?}")]
    SameFilter(String),
}

/// Why a line is no point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("received {0:?} which doesn't have required fields")]
    Parts(String),
    #[error("field \"{name}\" value: strconv.ParseFloat: parsing {value:?}: invalid syntax")]
    Value { name: String, value: String },
    /// What Graphite may have and a field may not.
    #[error("field \"{name}\" value: \"{value}\" is unsupported")]
    Unsupported { name: String, value: &'static str },
    #[error("field \"{name}\" time: strconv.ParseFloat: parsing {time:?}: invalid syntax")]
    Time { name: String, time: String },
    #[error("timestamp out of range")]
    TimeOutOfRange,
    #[error("either 'field*' or 'measurement*' can be used in each template (but not both together): {0:?}")]
    TwoWildcards(String),
    #[error("'field' can only be used once in each template: {0:?}")]
    TwoFields(String),
}

/// Reads lines.
#[derive(Debug)]
pub struct GraphiteParser {
    filters: Filters,
    default: Template,
    /// Of points that have no such tag.
    tags: Vec<(String, String)>,
}

impl GraphiteParser {
    /// `templates`: `[filter] template [tag=value,…]`; `tags`: `tag=value`.
    pub fn new(templates: &[String], tags: &[String], separator: &str) -> Result<Self, TemplateError> {
        let mut parser = Self {
            filters: Filters::default(),
            default: Template::new(WHOLE_NAME, Vec::new(), separator)?,
            tags: tags.iter().map(|tag| template::split_tag(tag)).collect::<Result<_, _>>()?,
        };
        for text in templates {
            parser.add(text, separator)?;
        }
        Ok(parser)
    }

    fn add(&mut self, text: &str, separator: &str) -> Result<(), TemplateError> {
        let mut parts: Vec<&str> = text.split_whitespace().collect();
        let tags = match parts.last() {
            Some(last) if parts.len() > 1 && last.contains('=') => {
                let tags = last.split(',').map(template::split_tag).collect::<Result<_, _>>()?;
                parts.pop();
                tags
            }
            _ => Vec::new(),
        };
        match parts[..] {
            [] => Ok(()),
            [pattern] => {
                self.default = Template::new(pattern, tags, separator)?;
                Ok(())
            }
            [filter, pattern] => {
                let is_new = self.filters.insert(filter, Template::new(pattern, tags, separator)?);
                if is_new { Ok(()) } else { Err(TemplateError::SameFilter(filter.to_owned())) }
            }
            _ => Err(TemplateError::Parts(text.to_owned())),
        }
    }

    /// Appends the point of a line; `now` is the time of one that has none.
    pub fn print(&self, line: &str, now: i64, out: &mut String) -> Result<(), LineError> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let (name, value, time) = match parts[..] {
            [name, value] => (name, value, None),
            [name, value, time] => (name, value, Some(time)),
            _ => return Err(LineError::Parts(line.to_owned())),
        };
        let Named { measurement, mut tags, field } =
            self.filters.find(name).unwrap_or(&self.default).apply(name)?;
        let value = read_value(name, value)?;
        let time = time.map_or(Ok(None), |time| read_time(name, time))?.unwrap_or(now);
        for (key, value) in &self.tags {
            tags.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let measurement = if measurement.is_empty() { name } else { &measurement };
        print_point(measurement, &tags, if field.is_empty() { FIELD } else { &field }, value, time, out);
        Ok(())
    }
}

fn print_point(
    measurement: &str,
    tags: &BTreeMap<String, String>,
    field: &str,
    value: f64,
    time: i64,
    out: &mut String,
) {
    let mut point = PointPrinter::begin(out, measurement);
    tags.iter().for_each(|(key, value)| point.tag(key, value));
    point.field(field, &FieldValue::Float(value));
    point.end(time);
}

fn read_value(name: &str, text: &str) -> Result<f64, LineError> {
    let (name, value) = (|| name.to_owned(), || text.to_owned());
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(number) => {
            let value = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            Err(LineError::Unsupported { name: name(), value })
        }
        Err(_) => Err(LineError::Value { name: name(), value: value() }),
    }
}

/// `None` is now, which -1 stands for.
fn read_time(name: &str, text: &str) -> Result<Option<i64>, LineError> {
    let seconds: f64 =
        text.parse().map_err(|_| LineError::Time { name: name.to_owned(), time: text.to_owned() })?;
    if seconds == -1.0 {
        return Ok(None);
    }
    if !SECONDS.contains(&seconds) {
        return Err(LineError::TimeOutOfRange);
    }
    let whole = seconds.floor();
    Ok(Some(whole as i64 * SECOND as i64 + ((seconds - whole) * SECOND) as i64))
}

#[cfg(test)]
mod tests;
