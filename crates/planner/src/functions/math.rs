//! Mathematical functions on single values.

use hyperbytedb_domain::{FieldType, FieldValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MathFunction {
    Abs,
    Acos,
    Asin,
    Atan,
    Atan2,
    Ceil,
    Cos,
    Exp,
    Floor,
    Ln,
    Log,
    Log2,
    Log10,
    Pow,
    Round,
    Sin,
    Sqrt,
    Tan,
}

impl MathFunction {
    /// `name` in lower case; `None` if it is no mathematical function.
    pub fn parse(name: &str) -> Option<Self> {
        todo!("{name}")
    }

    /// How many arguments it takes: 1 or 2.
    pub fn arity(self) -> usize {
        todo!()
    }

    /// The type of the result for the types of the arguments.
    pub fn result_type(self, arguments: &[FieldType]) -> FieldType {
        todo!("{arguments:?}")
    }

    /// `Null` for arguments it does not take.
    pub fn apply(self, arguments: &[FieldValue]) -> FieldValue {
        todo!("{arguments:?}")
    }
}
