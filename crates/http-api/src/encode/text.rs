//! Strings and numbers as Go's `encoding/json` prints them, which is what InfluxDB's clients have seen.

/// How a byte of a JSON string is written.
const PLAIN: u8 = 0;
const ESCAPED: u8 = 1;
/// First byte of U+2028 and U+2029, which Go escapes.
const LINE_SEPARATOR_LEAD: u8 = 2;

const CLASS: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = ESCAPED;
        i += 1;
    }
    table[b'"' as usize] = ESCAPED;
    table[b'\\' as usize] = ESCAPED;
    table[b'<' as usize] = ESCAPED;
    table[b'>' as usize] = ESCAPED;
    table[b'&' as usize] = ESCAPED;
    table[0xE2] = LINE_SEPARATOR_LEAD;
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a quoted JSON string; `<`, `>`, `&` and the line separators are escaped too.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut copied = 0;
    let mut i = 0;
    while i < bytes.len() {
        let byte = bytes[i];
        match CLASS[byte as usize] {
            PLAIN => i += 1,
            ESCAPED => {
                out.extend_from_slice(&bytes[copied..i]);
                push_escape(out, byte);
                i += 1;
                copied = i;
            }
            _ => match bytes.get(i..i + 3) {
                Some([0xE2, 0x80, last @ (0xA8 | 0xA9)]) => {
                    out.extend_from_slice(&bytes[copied..i]);
                    out.extend_from_slice(if *last == 0xA8 { b"\\u2028" } else { b"\\u2029" });
                    i += 3;
                    copied = i;
                }
                _ => i += 1,
            },
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

pub fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Shortest digits that read back as `value`: plain between 1e-6 and 1e21, else with an exponent (`1e+21`,
/// `1e-7`). What is not finite becomes `null`.
pub fn push_json_float(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        push_exponent_form(out, value);
    } else {
        push_plain_float(out, value);
    }
}

/// Shortest digits without an exponent, whatever the length; as CSV answers print floats.
pub fn push_plain_float(out: &mut Vec<u8>, value: f64) {
    /// Whole numbers below this are exact as integers.
    const EXACT_INTEGERS: f64 = (1u64 << 53) as f64;
    if !value.is_finite() {
        let name: &[u8] = if value.is_nan() {
            b"NaN"
        } else if value > 0.0 {
            b"+Inf"
        } else {
            b"-Inf"
        };
        out.extend_from_slice(name);
        return;
    }
    if value.abs() < EXACT_INTEGERS && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        push_integer(out, value as i64);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let Some((mantissa, exponent)) = text.split_once('e') else {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        return;
    };
    let (sign, digits, point) = decimal(mantissa, exponent);
    out.extend_from_slice(sign.as_bytes());
    let leading_zeros = usize::try_from(-point).unwrap_or(0);
    let whole = usize::try_from(point).unwrap_or(0);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + leading_zeros, b'0');
        out.extend_from_slice(&digits);
    } else if whole >= digits.len() {
        out.extend_from_slice(&digits);
        out.resize(out.len() + whole - digits.len(), b'0');
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

fn push_exponent_form(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits, point) = decimal(mantissa, exponent);
    out.extend_from_slice(sign.as_bytes());
    let Some((first, rest)) = digits.split_first() else { return };
    out.push(*first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    let exponent = point - 1;
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    push_integer(out, exponent.unsigned_abs());
}

/// Sign, significant digits and the position of the decimal point relative to the first digit of
/// `mantissa`e`exponent`.
fn decimal<'a>(mantissa: &'a str, exponent: &str) -> (&'a str, Vec<u8>, i32) {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let exponent: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let leading = all.iter().take_while(|&&d| d == b'0').count();
    let trailing = all.iter().rev().take_while(|&&d| d == b'0').count();
    let digits = all.get(leading..all.len() - trailing).unwrap_or_default().to_vec();
    (sign, digits, whole.len() as i32 - leading as i32 + exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_print_as_in_go() {
        let cases = [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-1.5, "-1.5", "-1.5"),
            (0.1, "0.1", "0.1"),
            (123_456_789.123_456_79, "123456789.12345679", "123456789.12345679"),
            (1e15, "1000000000000000", "1000000000000000"),
            (1e16, "10000000000000000", "10000000000000000"),
            (1.2345e17, "123450000000000000", "123450000000000000"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (9.999e20, "999900000000000000000", "999900000000000000000"),
            (1e21, "1e+21", "1000000000000000000000"),
            (-1.25e22, "-1.25e+22", "-12500000000000000000000"),
            (1e-5, "0.00001", "0.00001"),
            (1e-6, "0.000001", "0.000001"),
            (1.5e-6, "0.0000015", "0.0000015"),
            (9.99e-7, "9.99e-7", "0.000000999"),
            (1e-7, "1e-7", "0.0000001"),
            (9_007_199_254_740_993.0, "9007199254740992", "9007199254740992"),
            (f64::MAX, "1.7976931348623157e+308", &format!("{}", f64::MAX)),
            (5e-324, "5e-324", &format!("{}", 5e-324)),
        ];
        for (value, json, plain) in cases {
            assert_eq!(written(|o| push_json_float(o, value)), json);
            assert_eq!(written(|o| push_plain_float(o, value)), plain);
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(written(|o| push_json_float(o, value)), "null");
        }
    }

    #[test]
    fn floats_read_back() {
        let mut bits = 0x1234_5678_9abc_def0_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(written(|o| push_json_float(o, value)).parse::<f64>().unwrap(), value);
                assert_eq!(written(|o| push_plain_float(o, value)).parse::<f64>().unwrap(), value);
            }
        }
    }

    #[test]
    fn strings_are_escaped_as_in_go() {
        let cases = [
            ("", r#""""#),
            ("plain é 日本", "\"plain é 日本\""),
            ("a\"b\\c/", r#""a\"b\\c/""#),
            ("<a>&", r#""\u003ca\u003e\u0026""#),
            ("\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}", "\"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u{7f}\""),
            ("x\u{2028}y\u{2029}", r#""x\u2028y\u2029""#),
            ("\u{2027}\u{20ac}", "\"\u{2027}\u{20ac}\""),
        ];
        for (text, expected) in cases {
            assert_eq!(written(|o| push_json_string(o, text)), expected);
        }
    }
}
