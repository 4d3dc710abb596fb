//! JSON as Go's `encoding/json` takes it, for its error texts: clients of InfluxDB see them.
//!
//! The scanner goes over one value, byte by byte, and finds the first that does not fit. What it lets pass is read by
//! serde, which takes the same JSON but for lone surrogates: these Go replaces.

use std::borrow::Cow;

use thiserror::Error;

/// Objects and arrays within each other, as in Go.
const DEPTH_MAX: usize = 10_000;
/// How Go calls what InfluxDB reads an object of parameters into.
const GO_MAP: &str = "map[string]interface {}";

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    #[error("EOF")]
    Empty,
    #[error("unexpected EOF")]
    UnexpectedEnd,
    /// `place`: where in the grammar.
    #[error("invalid character {} {place}", go_char(*.found))]
    Character { found: u8, place: &'static str },
    #[error("json: cannot unmarshal {0} into Go value of type {GO_MAP}")]
    NotAnObject(&'static str),
}

/// The object or `null` that the text begins with; what follows is not looked at.
pub fn object(text: &str) -> Result<Cow<'_, str>, JsonError> {
    let value = first_value(text)?;
    let kind = match value.as_bytes().first() {
        Some(b'{' | b'n') => return Ok(without_lone_surrogates(value)),
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        _ => "number",
    };
    Err(JsonError::NotAnObject(kind))
}

/// The first value of the text, without the blanks around it.
fn first_value(text: &str) -> Result<&str, JsonError> {
    let start = text.find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).ok_or(JsonError::Empty)?;
    let text = &text[start..];
    let mut scanner = Scanner { state: State::Value, open: Vec::new() };
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if scanner.may_end() && !scanner.continues_number(byte) {
            return Ok(&text[..at]);
        }
        scanner.step(byte)?;
    }
    if scanner.may_end() { Ok(text) } else { Err(JsonError::UnexpectedEnd) }
}

/// What a value is part of, and in an object whether it is the key or the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Key,
    Value,
    Array,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    /// A value has ended.
    End,
    String,
    Escape,
    /// So many hexadecimal digits.
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// The rest of a literal, and the place an error in it names.
    Literal(&'static [(u8, &'static str)]),
}

const TRUE: &[(u8, &str)] = &[
    (b'r', "in literal true (expecting 'r')"),
    (b'u', "in literal true (expecting 'u')"),
    (b'e', "in literal true (expecting 'e')"),
];
const FALSE: &[(u8, &str)] = &[
    (b'a', "in literal false (expecting 'a')"),
    (b'l', "in literal false (expecting 'l')"),
    (b's', "in literal false (expecting 's')"),
    (b'e', "in literal false (expecting 'e')"),
];
const NULL: &[(u8, &str)] = &[
    (b'u', "in literal null (expecting 'u')"),
    (b'l', "in literal null (expecting 'l')"),
    (b'l', "in literal null (expecting 'l')"),
];

struct Scanner {
    state: State,
    open: Vec<Container>,
}

fn refuse<T>(found: u8, place: &'static str) -> Result<T, JsonError> {
    Err(JsonError::Character { found, place })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Scanner {
    /// Whether what has been read is a whole value. A number may still go on.
    fn may_end(&self) -> bool {
        use State::*;
        self.open.is_empty() && matches!(self.state, End | Zero | Digits | Fraction | ExponentDigits)
    }

    fn continues_number(&self, byte: u8) -> bool {
        use State::*;
        match byte {
            b'0'..=b'9' => matches!(self.state, Digits | Fraction | ExponentDigits),
            b'.' => matches!(self.state, Zero | Digits),
            b'e' | b'E' => matches!(self.state, Zero | Digits | Fraction),
            _ => false,
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), JsonError> {
        use State::*;
        self.state = match self.state {
            state @ (Value | ValueOrEnd | Key | KeyOrEnd | End) if is_blank(byte) => state,
            ValueOrEnd if byte == b']' => self.close(),
            KeyOrEnd if byte == b'}' => self.close(),
            Value | ValueOrEnd => self.begin_value(byte)?,
            Key | KeyOrEnd if byte == b'"' => String,
            Key | KeyOrEnd => refuse(byte, "looking for beginning of object key string")?,
            String => match byte {
                b'"' => End,
                b'\\' => Escape,
                0..0x20 => refuse(byte, "in string literal")?,
                _ => String,
            },
            Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => String,
                b'u' => Hex(4),
                _ => refuse(byte, "in string escape code")?,
            },
            Hex(_) if !byte.is_ascii_hexdigit() => refuse(byte, "in \\u hexadecimal character escape")?,
            Hex(1) => String,
            Hex(left) => Hex(left - 1),
            Literal([(wanted, _), rest @ ..]) if byte == *wanted => {
                if rest.is_empty() {
                    End
                } else {
                    Literal(rest)
                }
            }
            Literal([(_, place), ..]) => refuse(byte, place)?,
            End | Literal([]) => self.after_value(byte)?,
            Minus | Zero | Digits | Point | Fraction | Exponent | ExponentSign | ExponentDigits => {
                self.number(byte)?
            }
        };
        Ok(())
    }

    fn begin_value(&mut self, byte: u8) -> Result<State, JsonError> {
        Ok(match byte {
            b'{' => self.enter(byte, Container::Key, State::KeyOrEnd)?,
            b'[' => self.enter(byte, Container::Array, State::ValueOrEnd)?,
            b'"' => State::String,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' => State::Literal(TRUE),
            b'f' => State::Literal(FALSE),
            b'n' => State::Literal(NULL),
            _ => refuse(byte, "looking for beginning of value")?,
        })
    }

    fn enter(&mut self, byte: u8, container: Container, inside: State) -> Result<State, JsonError> {
        if self.open.len() == DEPTH_MAX {
            return refuse(byte, "exceeded max depth");
        }
        self.open.push(container);
        Ok(inside)
    }

    fn close(&mut self) -> State {
        self.open.pop();
        State::End
    }

    fn number(&mut self, byte: u8) -> Result<State, JsonError> {
        use State::*;
        Ok(match (self.state, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Digits, b'0'..=b'9') => Digits,
            (Minus, _) => refuse(byte, "in numeric literal")?,
            (Zero | Digits, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Point, _) => refuse(byte, "after decimal point in numeric literal")?,
            (Zero | Digits | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Exponent | ExponentSign, _) => refuse(byte, "in exponent of numeric literal")?,
            _ => self.after_value(byte)?,
        })
    }

    fn after_value(&mut self, byte: u8) -> Result<State, JsonError> {
        if is_blank(byte) {
            return Ok(State::End);
        }
        Ok(match (self.open.last_mut(), byte) {
            (Some(Container::Value), b'}') | (Some(Container::Array), b']') => self.close(),
            (Some(container @ Container::Key), b':') => {
                *container = Container::Value;
                State::Value
            }
            (Some(container @ Container::Value), b',') => {
                *container = Container::Key;
                State::Key
            }
            (Some(Container::Array), b',') => State::Value,
            (Some(Container::Key), _) => refuse(byte, "after object key")?,
            (Some(Container::Value), _) => refuse(byte, "after object key:value pair")?,
            (Some(Container::Array), _) => refuse(byte, "after array element")?,
            (None, _) => State::End,
        })
    }
}

/// A byte as Go prints it: as the character of that number.
fn go_char(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        0x07 => "'\\a'".to_owned(),
        0x08 => "'\\b'".to_owned(),
        0x0b => "'\\v'".to_owned(),
        0x0c => "'\\f'".to_owned(),
        b'\t' | b'\n' | b'\r' | b'\\' => format!("'{}'", char::from(byte).escape_default()),
        0x00..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

/// JSON whose escapes stand for characters only.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let surrogate = |at: usize| {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..0xe000).contains(unit))
    };
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = backslash(json, at) {
        at = found + "\\u".len();
        let Some(unit) = surrogate(found) else { continue };
        at += 4;
        match surrogate(at) {
            Some(0xdc00..) if unit < 0xdc00 => at += "\\udc00".len(),
            _ => {
                out.push_str(&json[copied..found]);
                out.push_str("\\ufffd");
                copied = at;
            }
        }
    }
    if copied == 0 { Cow::Borrowed(json) } else { Cow::Owned(out + &json[copied..]) }
}

/// The next backslash from `at` on.
fn backslash(json: &str, at: usize) -> Option<usize> {
    json.get(at..)?.find('\\').map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/cases/go_json.txt`: a text and what a real influxd says about it, a line each.
    #[test]
    fn errors_read_as_gos() {
        let cases = include_str!("../tests/cases/go_json.txt").lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = cases.collect();
        for case in lines.chunks_exact(3) {
            let text: String = serde_json::from_str(case[0]).unwrap();
            let answer = object(&text).map_or_else(|error| error.to_string(), |_| "taken".to_owned());
            let expected: String = serde_json::from_str(case[1]).unwrap();
            assert_eq!((answer, case[2]), (expected, ""), "{text:?}");
        }
        assert!(lines.len() > 300);
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        for (text, expected) in [
            (r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\ud83d\ude00"}"#),
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"\ude00\ud83d\u0041":"x"}"#, r#"{"\ufffd\ufffd\u0041":"x"}"#),
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
        ] {
            assert_eq!(object(text).unwrap(), expected);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(object(&nested(DEPTH_MAX)).is_ok());
        let error = object(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.to_string(), "invalid character '[' exceeded max depth");
    }
}
