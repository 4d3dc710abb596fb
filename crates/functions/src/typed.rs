//! The Rust types behind field values, so that operators are written once for all of them.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hyperbytedb_domain::FieldValue;

/// A type a field can have.
pub trait TypedValue: Clone + Default + std::fmt::Debug + Send + 'static {
    /// `None` for a value of another type.
    fn from_value(value: &FieldValue) -> Option<Self>;
    fn into_value(self) -> FieldValue;
    /// InfluxDB's order: numbers by size, strings by bytes, false before true. NaN is last.
    fn order(&self, other: &Self) -> Ordering;
    /// Go's `<`: of NaN it is always false.
    fn less(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Less
    }
    /// Equal as a key of `distinct`: `-0` is `0`, NaN equals nothing.
    fn same(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
    /// Equal values have equal hashes.
    fn hash64(&self) -> u64;
}

/// A numeric field type. Integers wrap around, as Go's do.
pub trait Number: TypedValue + Copy {
    const ZERO: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn to_f64(self) -> f64;
    /// `self - other` as a float, exact in sign for unsigned integers.
    fn difference(self, other: Self) -> f64;
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

macro_rules! typed_value {
    ($type:ty, $variant:ident) => {
        impl TypedValue for $type {
            fn from_value(value: &FieldValue) -> Option<Self> {
                match value {
                    FieldValue::$variant(v) => Some(v.clone()),
                    _ => None,
                }
            }

            fn into_value(self) -> FieldValue {
                FieldValue::$variant(self)
            }

            fn order(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            fn hash64(&self) -> u64 {
                hash(self)
            }
        }
    };
}

typed_value!(i64, Integer);
typed_value!(u64, Unsigned);
typed_value!(bool, Boolean);
typed_value!(Arc<str>, String);

impl TypedValue for f64 {
    fn from_value(value: &FieldValue) -> Option<Self> {
        match value {
            FieldValue::Float(v) => Some(*v),
            _ => None,
        }
    }

    fn into_value(self) -> FieldValue {
        FieldValue::Float(self)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.partial_cmp(other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }

    fn less(&self, other: &Self) -> bool {
        self < other
    }

    fn same(&self, other: &Self) -> bool {
        self == other
    }

    fn hash64(&self) -> u64 {
        hash(if *self == 0.0 { 0 } else { self.to_bits() })
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;

    fn add(self, other: Self) -> Self {
        self + other
    }

    fn sub(self, other: Self) -> Self {
        self - other
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn difference(self, other: Self) -> f64 {
        self - other
    }
}

impl Number for i64 {
    const ZERO: Self = 0;

    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn to_f64(self) -> f64 {
        self as f64
    }

    fn difference(self, other: Self) -> f64 {
        self.wrapping_sub(other) as f64
    }
}

impl Number for u64 {
    const ZERO: Self = 0;

    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn to_f64(self) -> f64 {
        self as f64
    }

    fn difference(self, other: Self) -> f64 {
        if self > other { (self - other) as f64 } else { -((other - self) as f64) }
    }
}
