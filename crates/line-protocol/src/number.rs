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

/// Reads up to 19 decimal digits from the start of `text`: the number, and how many digits it has.
/// Nothing when there are no digits or more than 19.
#[inline]
pub(crate) fn leading_digits(text: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut at) = (0u64, 0);
    while at < 16 {
        let Some(block) = text[at..].first_chunk::<8>() else { break };
        let Some(eight) = eight_digits(u64::from_le_bytes(*block)) else { break };
        value = value * 100_000_000 + eight;
        at += 8;
    }
    while let Some(digit) = text.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        if at == 19 {
            return None;
        }
        value = value * 10 + u64::from(digit);
        at += 1;
    }
    (at > 0).then_some((value, at))
}

/// The value of eight ASCII digits, the first in the lowest byte; nothing when one is no digit.
#[inline]
const fn eight_digits(block: u64) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit has high nibble 3, and still has it after adding 6.
    let above_nine = block.wrapping_add(0x0606_0606_0606_0606);
    if (block & HIGH_NIBBLES) != ZEROS || (above_nine & HIGH_NIBBLES) != ZEROS {
        return None;
    }
    // Neighbours are joined into pairs, pairs into fours, fours into the eight.
    let digits = block - ZEROS;
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
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
        fn digits_agree_with_the_standard_library(value: u64, tail in "[a,\n /:]?[0-9]{0,3}") {
            let text = format!("{value}{}", if tail.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &tail });
            let digits = value.to_string().len();
            let expected = (digits <= 19).then_some((value, digits));
            proptest::prop_assert_eq!(leading_digits(text.as_bytes()), expected);
        }
    }
}
