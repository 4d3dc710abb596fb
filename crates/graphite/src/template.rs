//! Which part of a name is what.

use std::collections::BTreeMap;

use crate::{LineError, TemplateError};

/// What the parts of a name are, from its left.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Measurement,
    /// This part and all that follow.
    MeasurementRest,
    Field,
    FieldRest,
    Tag(String),
    LeftOut,
}

/// What a template makes of a name; without measurement or field where it does not name one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub measurement: String,
    pub tags: BTreeMap<String, String>,
    pub field: String,
}

#[derive(Debug)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
    tags: Vec<(String, String)>,
    separator: String,
}

/// `tag=value`.
pub fn split_tag(text: &str) -> Result<(String, String), TemplateError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(TemplateError::Tag(text.to_owned())),
    }
}

impl Template {
    pub fn new(text: &str, tags: Vec<(String, String)>, separator: &str) -> Result<Self, TemplateError> {
        let part = |part: &str| match part {
            "measurement" => Part::Measurement,
            "measurement*" => Part::MeasurementRest,
            "field" => Part::Field,
            "field*" => Part::FieldRest,
            "" => Part::LeftOut,
            tag => Part::Tag(tag.to_owned()),
        };
        if !text.split('.').any(|part| part.starts_with("measurement")) {
            return Err(TemplateError::NoMeasurement(text.to_owned()));
        }
        let parts = text.split('.').map(part).collect();
        Ok(Self { text: text.to_owned(), parts, tags, separator: separator.to_owned() })
    }

    pub fn apply(&self, name: &str) -> Result<Named, LineError> {
        if self.parts.contains(&Part::FieldRest) && self.parts.contains(&Part::MeasurementRest) {
            return Err(LineError::TwoWildcards(self.text.replace('.', &self.separator)));
        }
        let words: Vec<&str> = name.split('.').collect();
        let mut measurement = Vec::new();
        let mut field = String::new();
        let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in &self.tags {
            tags.entry(key).or_default().push(value);
        }
        for (at, part) in self.parts.iter().enumerate().take(words.len()) {
            match part {
                Part::Measurement => measurement.push(words[at]),
                Part::Field if !field.is_empty() => return Err(LineError::TwoFields(name.to_owned())),
                Part::Field => words[at].clone_into(&mut field),
                Part::Tag(key) => tags.entry(key).or_default().push(words[at]),
                Part::LeftOut => {}
                Part::MeasurementRest => {
                    measurement.extend(&words[at..]);
                    break;
                }
                Part::FieldRest => {
                    field = words[at..].join(&self.separator);
                    break;
                }
            }
        }
        let joined = |(key, values): (&str, Vec<&str>)| (key.to_owned(), values.join(&self.separator));
        Ok(Named {
            measurement: measurement.join(&self.separator),
            tags: tags.into_iter().map(joined).collect(),
            field,
        })
    }
}
