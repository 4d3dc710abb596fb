//! The answer of `/query`. Values keep the server's own text: a number is shown as it was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Default, Deserialize)]
pub struct Answer<'a> {
    #[serde(default, borrow)]
    pub results: Vec<StatementResult<'a>>,
    #[serde(default)]
    pub error: Option<String>,
}

/// In the order in which `influx` prints the members.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StatementResult<'a> {
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Series<'a> {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Vec<&'a RawValue>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// What parts of one series have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub tags: BTreeMap<String, String>,
    pub columns: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    pub level: String,
    pub text: String,
}

impl Answer<'_> {
    /// What failed first.
    pub fn failure(&self) -> Option<&str> {
        self.error.as_deref().or_else(|| self.results.iter().find_map(|result| result.error.as_deref()))
    }
}

impl Series<'_> {
    pub fn header(&self) -> Header {
        Header { name: self.name.clone(), tags: self.tags.clone(), columns: self.columns.clone() }
    }
}

impl Header {
    /// `host=a`, one for each tag.
    pub fn tag_pairs(&self) -> Vec<String> {
        self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

/// A value as people read it: strings without quotes, nothing for null.
pub fn cell(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        "null" => Cow::Borrowed(""),
        text if text.starts_with('"') => serde_json::from_str(text).map_or(Cow::Borrowed(text), Cow::Owned),
        text => Cow::Borrowed(text),
    }
}
