//! Numbers and timestamps as InfluxDB reads them.

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};

use crate::error::Reason;

/// A numeric field value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
}

/// Reads a whole numeric token: `-12i`, `12u`, or a float of digits, one point and an exponent. There
/// is no plus sign but in the exponent, no infinity and no NaN.
pub(crate) fn parse_number(token: &str) -> Result<Number, Reason> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    if let Some(whole) = digits.strip_suffix('i') {
        require_digits(whole)?;
        let text = &token[..token.len() - 1];
        return text.parse().map(Number::Integer).map_err(|_| Reason::IntegerOutOfRange(text.to_owned()));
    }
    if let Some(whole) = token.strip_suffix('u') {
        require_digits(whole)?;
        return whole.parse().map(Number::Unsigned).map_err(|_| Reason::UnsignedOutOfRange(whole.to_owned()));
    }
    parse_float(token, digits).map(Number::Float)
}

fn require_digits(text: &str) -> Result<(), Reason> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits { Ok(()) } else { Err(Reason::InvalidNumber) }
}

/// A float; `digits` is `token` without its sign. What has no exponent and no digit, or a byte that
/// floats do not have, is an invalid number; what only looks like a float is an invalid float.
fn parse_float(token: &str, digits: &str) -> Result<f64, Reason> {
    let (mut point, mut exponent, mut any_digit) = (false, false, false);
    let mut previous = None;
    for (at, byte) in digits.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => any_digit = true,
            b'.' if !point => point = true,
            b'e' | b'E' if at > 0 || token.len() > digits.len() => exponent = true,
            b'+' | b'-' if matches!(previous, Some(b'e' | b'E')) => {}
            _ => return Err(Reason::InvalidNumber),
        }
        previous = Some(byte);
    }
    if !exponent && !any_digit {
        return Err(Reason::InvalidNumber);
    }
    match fast_float2::parse::<f64, _>(token) {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Reason::InvalidFloat),
    }
}

/// Reads the digits of a timestamp, with an optional minus sign, as nanoseconds since 1970.
pub(crate) fn parse_time(digits: &str, precision: Precision) -> Result<i64, Reason> {
    if digits == "-" {
        return Err(Reason::TimestampSyntax(digits.to_owned()));
    }
    let value: i64 = digits.parse().map_err(|_| Reason::TimestampOverflow(digits.to_owned()))?;
    to_nanoseconds(value, precision).ok_or(Reason::TimeOutsideRange)
}

/// `value` units of `precision` in nanoseconds, when a point may have that time.
#[inline]
pub(crate) fn to_nanoseconds(value: i64, precision: Precision) -> Option<i64> {
    let time = value.checked_mul(precision.nanoseconds())?;
    (MIN_TIME..=MAX_TIME).contains(&time).then_some(time)
}

/// The powers of ten that 64 bits hold.
const INTEGER_POWERS: [u64; 20] = {
    let mut powers = [1u64; 20];
    let mut at = 1;
    while at < 20 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads the float at the start of `text`: its value and length. May give up on floats that
/// [`parse_number`] takes.
///
/// The common ones, without exponent and with digits that make an integer of at most 53 bits, are that
/// integer divided by a power of ten: both are exact, so the quotient is rounded correctly.
#[inline]
pub(crate) fn leading_float(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(text.first() == Some(&b'-'));
    if !matches!(text.get(sign), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    if let Some((value, length)) = exact_quotient(text.get(sign..)?) {
        return Some((if sign == 0 { value } else { -value }, sign + length));
    }
    let (value, length): (f64, usize) = fast_float2::parse_partial(text).ok()?;
    value.is_finite().then_some((value, length))
}

#[inline]
fn exact_quotient(text: &[u8]) -> Option<(f64, usize)> {
    let (whole, whole_length) = leading_digits(text)?;
    let mut length = whole_length;
    let (mut mantissa, mut scale) = (whole, 0);
    if text.get(length) == Some(&b'.') {
        let (fraction, digits) = leading_digits(text.get(length + 1..)?)?;
        if whole_length + digits > 19 {
            return None;
        }
        mantissa = whole * INTEGER_POWERS[digits] + fraction;
        scale = digits;
        length += 1 + digits;
    }
    let has_exponent = matches!(text.get(length), Some(b'e' | b'E'));
    (mantissa <= 1 << 53 && !has_exponent).then(|| (mantissa as f64 / EXACT_POWERS[scale], length))
}

/// Reads up to 19 decimal digits from the start of `text`: the number, and how many digits it has.
/// Nothing when there are no digits or more than 19.
#[inline]
pub(crate) fn leading_digits(text: &[u8]) -> Option<(u64, usize)> {
    let (first, length) = digits_of_block(block_at(text, 0));
    if length < 8 {
        return (length > 0).then_some((first, length));
    }
    let (second, length) = digits_of_block(block_at(text, 8));
    let value = first * INTEGER_POWERS[length] + second;
    if length < 8 {
        return Some((value, 8 + length));
    }
    let (third, length) = digits_of_block(block_at(text, 16));
    (length <= 3).then(|| (value * INTEGER_POWERS[length] + third, 16 + length))
}

/// Eight bytes of `text`, the first in the lowest byte, zeros past its end.
#[inline]
fn block_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(block) => u64::from_le_bytes(*block),
        None => rest.iter().rev().fold(0, |block, &byte| block << 8 | u64::from(byte)),
    }
}

/// The number that a block's leading ASCII digits make, and how many they are.
#[inline]
const fn digits_of_block(block: u64) -> (u64, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const TEN_TO_HIGH_BIT: u64 = 0x7676_7676_7676_7676;
    // Digits become 0 to 9, everything else is larger: those bytes get their high bit set.
    let digits = block ^ ZEROS;
    let others = (((digits & LOW_BITS) + TEN_TO_HIGH_BIT) | digits) & !LOW_BITS;
    let length = others.trailing_zeros() as usize / 8;
    if length == 0 {
        return (0, 0);
    }
    // Zeros go before the digits, then neighbours are joined into pairs, fours and the eight.
    let digits = digits << (64 - 8 * length);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        use Number::*;
        use Reason::*;
        for (token, expected) in [
            ("1", Ok(Float(1.0))),
            ("-1.", Ok(Float(-1.0))),
            (".5", Ok(Float(0.5))),
            ("-.5", Ok(Float(-0.5))),
            ("1e3", Ok(Float(1e3))),
            ("1.e+3", Ok(Float(1e3))),
            ("1E-400", Ok(Float(0.0))),
            ("12i", Ok(Integer(12))),
            ("-9223372036854775808i", Ok(Integer(i64::MIN))),
            ("18446744073709551615u", Ok(Unsigned(u64::MAX))),
            ("1e400", Err(InvalidFloat)),
            ("1e", Err(InvalidFloat)),
            ("-e5", Err(InvalidFloat)),
            ("1e5e5", Err(InvalidFloat)),
            ("1e5.5", Err(InvalidFloat)),
            ("", Err(InvalidNumber)),
            ("-", Err(InvalidNumber)),
            (".", Err(InvalidNumber)),
            ("1.2.3", Err(InvalidNumber)),
            ("1+2", Err(InvalidNumber)),
            ("nan", Err(InvalidNumber)),
            ("-i", Err(InvalidNumber)),
            ("-1u", Err(InvalidNumber)),
            ("1.0i", Err(InvalidNumber)),
            ("1e5i", Err(InvalidNumber)),
            ("1ii", Err(InvalidNumber)),
            ("1_000", Err(InvalidNumber)),
            ("9223372036854775808i", Err(IntegerOutOfRange("9223372036854775808".into()))),
            ("18446744073709551616u", Err(UnsignedOutOfRange("18446744073709551616".into()))),
        ] {
            assert_eq!(parse_number(token), expected, "{token}");
        }
    }

    proptest::proptest! {
        #[test]
        fn floats_agree_with_the_standard_library(
            text in "-?([0-9]{0,20}(\\.[0-9]{0,20})?|[0-9]{1,3}\\.[0-9]{1,17})([eE][+-]?[0-9]{1,3})?",
            tail in "[, \n]?",
        ) {
            let expected = text.parse::<f64>().ok().filter(|v| v.is_finite());
            let read = leading_float(format!("{text}{tail}").as_bytes()).filter(|(_, length)| *length == text.len());
            let bits = |v: f64| v.to_bits();
            proptest::prop_assert_eq!(read.map(|(v, _)| bits(v)), expected.map(bits));
            if let Some(value) = expected {
                proptest::prop_assert_eq!(parse_number(&text), Ok(Number::Float(value)));
            }
        }

        #[test]
        fn digits_agree_with_the_standard_library(value: u64, tail in "[a,\n /:]?[0-9]{0,3}") {
            let text = format!("{value}{}", if tail.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &tail });
            let digits = value.to_string().len();
            let expected = (digits <= 19).then_some((value, digits));
            proptest::prop_assert_eq!(leading_digits(text.as_bytes()), expected);
        }
    }
}
