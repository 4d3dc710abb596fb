//! Points of one field of one series, as columns.

use std::ops::Range;

/// Strings one behind the other. InfluxDB does not ask whether they are UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.bytes.get(start..*self.ends.get(index)?)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Float(Vec<f64>),
    Integer(Vec<i64>),
    Unsigned(Vec<u64>),
    Boolean(Vec<bool>),
    String(Strings),
}

impl Default for Values {
    fn default() -> Self {
        Self::Float(Vec::new())
    }
}

macro_rules! columns {
    ($($name:ident: $variant:ident($type:ty),)*) => {
        /// The column of that type; what was there of another type goes.
        impl Values {
            $(pub(crate) fn $name(&mut self) -> &mut $type {
                if !matches!(self, Self::$variant(_)) {
                    *self = Self::$variant(<$type>::default());
                }
                match self {
                    Self::$variant(values) => values,
                    _ => unreachable!("made above"),
                }
            })*
        }
    };
}

columns! {
    floats: Float(Vec<f64>),
    integers: Integer(Vec<i64>),
    unsigned: Unsigned(Vec<u64>),
    booleans: Boolean(Vec<bool>),
    strings: String(Strings),
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    Float,
    Integer,
    Unsigned,
    Boolean,
    String,
}

impl Values {
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Float(_) => ValueType::Float,
            Self::Integer(_) => ValueType::Integer,
            Self::Unsigned(_) => ValueType::Unsigned,
            Self::Boolean(_) => ValueType::Boolean,
            Self::String(_) => ValueType::String,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Unsigned(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::String(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has_type_of(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn clear(&mut self) {
        match self {
            Self::Float(values) => values.clear(),
            Self::Integer(values) => values.clear(),
            Self::Unsigned(values) => values.clear(),
            Self::Boolean(values) => values.clear(),
            Self::String(values) => values.clear(),
        }
    }

    /// Appends some of `from`, whose type it takes when it is empty and must have otherwise.
    fn append(&mut self, from: &Self, range: Range<usize>) {
        match from {
            Self::Float(values) => self.floats().extend_from_slice(&values[range]),
            Self::Integer(values) => self.integers().extend_from_slice(&values[range]),
            Self::Unsigned(values) => self.unsigned().extend_from_slice(&values[range]),
            Self::Boolean(values) => self.booleans().extend_from_slice(&values[range]),
            Self::String(values) => {
                let strings = self.strings();
                range.filter_map(|index| values.get(index)).for_each(|text| strings.push(text));
            }
        }
    }
}

/// Points in the order of their times, each time once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    pub times: Vec<i64>,
    pub values: Values,
}

impl Points {
    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }

    pub(crate) fn append(&mut self, from: &Self, range: Range<usize>) {
        self.times.extend_from_slice(&from.times[range.clone()]);
        self.values.append(&from.values, range);
    }

    /// Keeps what `keep` says of the index and time.
    pub fn retain(&mut self, keep: impl Fn(usize, i64) -> bool) {
        if self.times.iter().enumerate().all(|(index, time)| keep(index, *time)) {
            return;
        }
        let old = std::mem::take(self);
        for (index, time) in old.times.iter().enumerate() {
            if keep(index, *time) {
                self.append(&old, index..index + 1);
            }
        }
    }

    /// In the order of times; of points of one time the last one stays.
    pub(crate) fn sort(&mut self) {
        if self.times.is_sorted_by(|a, b| a < b) {
            return;
        }
        let old = std::mem::take(self);
        let mut order: Vec<usize> = (0..old.len()).collect();
        order.sort_by_key(|&index| old.times[index]);
        for (place, &index) in order.iter().enumerate() {
            let is_last = order.get(place + 1).is_none_or(|&next| old.times[next] != old.times[index]);
            if is_last {
                self.append(&old, index..index + 1);
            }
        }
    }
}
