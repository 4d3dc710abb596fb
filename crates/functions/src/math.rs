//! Mathematical functions on single values.

use hyperbytedb_domain::{FieldType, FieldValue};

use super::go_math;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        use MathFunction::*;
        Some(match name {
            "abs" => Abs,
            "acos" => Acos,
            "asin" => Asin,
            "atan" => Atan,
            "atan2" => Atan2,
            "ceil" => Ceil,
            "cos" => Cos,
            "exp" => Exp,
            "floor" => Floor,
            "ln" => Ln,
            "log" => Log,
            "log2" => Log2,
            "log10" => Log10,
            "pow" => Pow,
            "round" => Round,
            "sin" => Sin,
            "sqrt" => Sqrt,
            "tan" => Tan,
            _ => return None,
        })
    }

    /// How many arguments it takes: 1 or 2.
    pub fn arity(self) -> usize {
        match self {
            Self::Atan2 | Self::Log | Self::Pow => 2,
            _ => 1,
        }
    }

    /// The type of the result when the first argument has type `first`.
    pub fn result_type(self, first: FieldType) -> FieldType {
        match self {
            Self::Abs | Self::Ceil | Self::Floor | Self::Round => first,
            _ => FieldType::Float,
        }
    }

    /// `Null` for arguments it does not take. Results may be NaN or infinite: rendering shows them as null.
    pub fn apply(self, arguments: &[FieldValue]) -> FieldValue {
        use FieldValue::{Float, Integer, Null, Unsigned};
        match (self, arguments) {
            (Self::Abs, [Integer(n)]) => Integer(n.wrapping_abs()),
            (Self::Abs | Self::Ceil | Self::Floor | Self::Round, [Integer(_) | Unsigned(_)]) => {
                arguments[0].clone()
            }
            (_, [x]) if self.arity() == 1 => as_float(x).map_or(Null, |x| Float(self.of_one(x))),
            (_, [x, y]) if self.arity() == 2 => match (as_float(x), as_float(y)) {
                (Some(x), Some(y)) => Float(self.of_two(x, y)),
                _ => Null,
            },
            _ => Null,
        }
    }

    fn of_one(self, x: f64) -> f64 {
        match self {
            Self::Abs => x.abs(),
            Self::Acos => x.acos(),
            Self::Asin => x.asin(),
            Self::Atan => x.atan(),
            Self::Ceil => x.ceil(),
            Self::Cos => x.cos(),
            Self::Exp => x.exp(),
            Self::Floor => x.floor(),
            Self::Ln => x.ln(),
            Self::Log2 => go_math::log2(x),
            Self::Log10 => go_math::log2(x) * (std::f64::consts::LN_2 / std::f64::consts::LN_10),
            Self::Round => x.round(),
            Self::Sin => x.sin(),
            Self::Sqrt => x.sqrt(),
            Self::Tan => x.tan(),
            Self::Atan2 | Self::Log | Self::Pow => f64::NAN,
        }
    }

    fn of_two(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Atan2 => x.atan2(y),
            Self::Log => x.ln() / y.ln(),
            Self::Pow => go_math::pow(x, y),
            _ => f64::NAN,
        }
    }
}

fn as_float(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(x) => Some(*x),
        FieldValue::Integer(n) => Some(*n as f64),
        FieldValue::Unsigned(n) => Some(*n as f64),
        _ => None,
    }
}
