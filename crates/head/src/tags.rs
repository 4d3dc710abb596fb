//! The tags of a table's series as codes, and which series have a value.

use std::sync::Arc;

use hashbrown::HashMap;

/// Number of a series within a table's head.
pub type Ordinal = u32;

/// The values of one tag. Code 0 is the empty string: the series does not have the tag.
#[derive(Debug, Default)]
pub struct TagValues {
    codes: HashMap<Arc<str>, u32>,
    /// By code less one.
    values: Vec<Arc<str>>,
    /// Series that have the value, by code less one. Some may be gone.
    postings: Vec<Vec<Ordinal>>,
}

impl TagValues {
    /// The code of a value, if a series has it.
    pub fn code(&self, value: &str) -> Option<u32> {
        if value.is_empty() { Some(0) } else { self.codes.get(value).copied() }
    }

    pub fn value(&self, code: u32) -> &str {
        (code as usize).checked_sub(1).and_then(|at| self.values.get(at)).map_or("", |value| value)
    }

    /// The value, shared; `None` for the empty string.
    pub fn shared_value(&self, code: u32) -> Option<Arc<str>> {
        self.values.get((code as usize).checked_sub(1)?).cloned()
    }

    /// The values by code, from 1 on.
    pub fn all(&self) -> Vec<String> {
        self.values.iter().map(|value| value.to_string()).collect()
    }

    /// Notes that a series has a value; returns its code.
    pub fn add(&mut self, value: &str, series: Ordinal) -> u32 {
        if value.is_empty() {
            return 0;
        }
        let code = match self.codes.get(value) {
            Some(&code) => code,
            None => {
                let value: Arc<str> = value.into();
                self.values.push(value.clone());
                self.postings.push(Vec::new());
                let code = self.values.len() as u32;
                self.codes.insert(value, code);
                code
            }
        };
        self.postings[code as usize - 1].push(series);
        code
    }

    /// The series that have a value other than the empty string.
    pub fn series_with(&self, code: u32) -> &[Ordinal] {
        (code as usize).checked_sub(1).and_then(|at| self.postings.get(at)).map_or(&[], Vec::as_slice)
    }
}
