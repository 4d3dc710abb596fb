//! MessagePack: a map of columns, or an array of such maps.
//!
//! ```text
//! { "measurement": "cpu",
//!   "time":   [1700000000, …],                      of the request's precision; without it all points get the time of their arrival
//!   "tags":   { "host": ["a", "b", …], "dc": "x" },  one a row, or one for all; nil: none
//!   "fields": { "usage": [1.5, nil, …] } }           one a row; of one type each
//! ```

use bytes::Bytes;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::points::{FieldColumn, FieldValues, StringValues};
use hyperbytedb_line_protocol::ParseOptions;
use rmp::Marker;
use rmp::decode::{read_array_len, read_int, read_map_len, read_str_from_slice, read_str_len};

use crate::table::{Keys, Table, TagColumn, nanoseconds};

/// Rows that a column has room for from the start.
const FIRST_ROWS: usize = 1 << 16;

/// `measurement` is that of a map without one.
pub fn read(body: &Bytes, measurement: &str, options: &ParseOptions) -> Result<Vec<Table>, String> {
    let mut reader = Reader { rest: body };
    let count = if reader.is_array()? { reader.array()? } else { 1 };
    let mut tables: Vec<Table> = Vec::new();
    for _ in 0..count {
        let table = reader.table(measurement, options.precision)?;
        if tables.iter().any(|other| other.measurement == table.measurement) {
            return Err(format!("the measurement {:?} is there twice", table.measurement));
        }
        tables.push(table);
    }
    if reader.rest.is_empty() {
        Ok(tables)
    } else {
        Err(format!("{} bytes behind the end", reader.rest.len()))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

/// The strings of a column.
struct Texts {
    values: StringValues,
    /// Which of the values each row has.
    codes: Vec<u32>,
}

/// A value of a row.
enum Value<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    String(&'a str),
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl<'a> Reader<'a> {
    fn marker(&self) -> Result<Marker, String> {
        self.rest.first().map(|byte| Marker::from_u8(*byte)).ok_or_else(|| "it ends too early".to_owned())
    }

    fn is_array(&self) -> Result<bool, String> {
        Ok(matches!(self.marker()?, Marker::FixArray(_) | Marker::Array16 | Marker::Array32))
    }

    /// An element takes a byte at least, so a length beyond what is left is a lie.
    fn array(&mut self) -> Result<usize, String> {
        let length = read_array_len(&mut self.rest).map_err(failed)? as usize;
        if length > self.rest.len() { Err("an array is longer than the body".to_owned()) } else { Ok(length) }
    }

    fn map(&mut self) -> Result<usize, String> {
        let length = read_map_len(&mut self.rest).map_err(failed)? as usize;
        if length > self.rest.len() { Err("a map is longer than the body".to_owned()) } else { Ok(length) }
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let (text, rest) = read_str_from_slice(self.rest).map_err(|error| format!("no string: {error:?}"))?;
        self.rest = rest;
        Ok(text)
    }

    fn table(&mut self, measurement: &str, precision: Precision) -> Result<Table, String> {
        let mut table = Table {
            measurement: measurement.to_owned(),
            rows: 0,
            times: None,
            tags: Vec::new(),
            fields: Vec::new(),
        };
        for _ in 0..self.map()? {
            match self.text()? {
                "measurement" => table.measurement = self.text()?.to_owned(),
                "time" => table.times = Some(self.times(precision)?),
                "tags" => self.tags(&mut table.tags)?,
                "fields" => self.fields(&mut table.fields)?,
                other => return Err(format!("{other:?} is none of measurement, time, tags and fields")),
            }
        }
        if table.measurement.is_empty() {
            return Err("there is no measurement".to_owned());
        }
        let rows = table.fields.first().map(|field| field.values.len());
        table.rows = rows.ok_or("there are no fields")?;
        table.check_names()?;
        let lengths = table.tags.iter().filter_map(|tag| Some((&tag.name, tag.rows()?)));
        let mut lengths = lengths.chain(table.fields.iter().map(|field| (&field.name, field.values.len())));
        if let Some((name, length)) = lengths.find(|(_, length)| *length != table.rows) {
            return Err(format!("{name:?} has {length} rows, another column {}", table.rows));
        }
        match &table.times {
            Some(times) if times.len() != table.rows => {
                Err(format!("time has {} rows, another column {}", times.len(), table.rows))
            }
            _ => Ok(table),
        }
    }

    fn times(&mut self, precision: Precision) -> Result<Vec<i64>, String> {
        let unit = precision.nanoseconds();
        let count = self.array()?;
        let mut times = Vec::with_capacity(count.min(FIRST_ROWS));
        for _ in 0..count {
            let time: i64 = read_int(&mut self.rest).map_err(|error| format!("no time: {error}"))?;
            times.push(nanoseconds(time, unit));
        }
        Ok(times)
    }

    fn tags(&mut self, tags: &mut Vec<TagColumn>) -> Result<(), String> {
        for _ in 0..self.map()? {
            let name = self.text()?.to_owned();
            let is_for_each = self.is_array()?;
            let count = if is_for_each { self.array()? } else { 1 };
            let texts = self.texts(count).map_err(|error| format!("tag {name:?}: {error}"))?;
            let keys = if is_for_each { Keys::Codes(texts.codes) } else { Keys::One };
            tags.push(TagColumn { name, values: texts.values, keys });
        }
        Ok(())
    }

    /// So many strings; nil is an empty one. Those that follow their like are read once: tags often stay the same for some rows.
    /// Whether they are UTF-8 is looked at for all at once.
    fn texts(&mut self, count: usize) -> Result<Texts, String> {
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        let mut codes = Vec::with_capacity(count.min(FIRST_ROWS));
        // As it is in the body.
        let mut last: &[u8] = &[];
        for _ in 0..count {
            match self.rest.strip_prefix(last) {
                Some(rest) if !last.is_empty() => self.rest = rest,
                _ => {
                    let before = self.rest;
                    bytes.extend_from_slice(self.raw_text()?);
                    last = &before[..before.len() - self.rest.len()];
                    offsets.push(bytes.len());
                }
            }
            codes.push(offsets.len() as u32 - 2);
        }
        let values = StringValues { bytes: String::from_utf8(bytes).map_err(failed)?, offsets };
        if values.is_sound() { Ok(Texts { values, codes }) } else { Err("a string is not UTF-8".to_owned()) }
    }

    fn raw_text(&mut self) -> Result<&'a [u8], String> {
        let length = match self.rest {
            [0xc0, rest @ ..] => {
                self.rest = rest;
                return Ok(&[]);
            }
            [short @ 0xa0..=0xbf, rest @ ..] => {
                self.rest = rest;
                usize::from(short & 0x1f)
            }
            _ => read_str_len(&mut self.rest).map_err(|error| format!("no string: {error}"))? as usize,
        };
        let (text, rest) = self.rest.split_at_checked(length).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(text)
    }

    fn fields(&mut self, fields: &mut Vec<FieldColumn>) -> Result<(), String> {
        for _ in 0..self.map()? {
            let name = self.text()?.to_owned();
            let count = self.array()?;
            let mut column = Column { values: None, rows: 0, present: None };
            while column.rows < count {
                let value = self.value()?;
                column.push(value).map_err(|error| format!("field {name:?}: {error}"))?;
                column.push_floats(count, &mut self.rest);
            }
            // Without a value it is no field.
            let values = column.values.unwrap_or_else(|| FieldValues::Boolean(vec![false; count]));
            fields.push(FieldColumn { name, values, present: column.present });
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value<'a>, String> {
        Ok(match self.marker()? {
            Marker::Null => self.skip(Value::Nil),
            Marker::True => self.skip(Value::Boolean(true)),
            Marker::False => self.skip(Value::Boolean(false)),
            Marker::F64 => Value::Float(rmp::decode::read_f64(&mut self.rest).map_err(failed)?),
            Marker::F32 => Value::Float(rmp::decode::read_f32(&mut self.rest).map_err(failed)?.into()),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Value::String(self.text()?),
            Marker::U64 => {
                let value = rmp::decode::read_u64(&mut self.rest).map_err(failed)?;
                i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer)
            }
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => Value::Integer(read_int(&mut self.rest).map_err(failed)?),
            other => return Err(format!("{other:?} is no value of a field")),
        })
    }

    fn skip(&mut self, value: Value<'a>) -> Value<'a> {
        self.rest = &self.rest[1..];
        value
    }
}

/// A field while it is read. The first value that is none decides on the type, but integers among floats are floats.
struct Column {
    values: Option<FieldValues>,
    rows: usize,
    present: Option<Vec<bool>>,
}

impl Column {
    /// Takes the floats that follow one, up to so many rows.
    fn push_floats(&mut self, count: usize, rest: &mut &[u8]) {
        let Some(FieldValues::Float(values)) = &mut self.values else { return };
        let before = values.len();
        let (cells, _) = rest.as_chunks::<9>();
        let floats = cells.iter().take(count - before).map_while(|[kind, value @ ..]| match kind {
            0xcb => Some(f64::from_be_bytes(*value)),
            _ => None,
        });
        values.reserve((count - before).min(FIRST_ROWS));
        values.extend(floats);
        *rest = &rest[(values.len() - before) * 9..];
        self.rows += values.len() - before;
        if let Some(present) = &mut self.present {
            present.resize(self.rows, true);
        }
    }

    fn push(&mut self, value: Value<'_>) -> Result<(), String> {
        let is_present = !matches!(value, Value::Nil);
        if !is_present && self.present.is_none() {
            self.present = Some(vec![true; self.rows]);
        }
        if let Some(present) = &mut self.present {
            present.push(is_present);
        }
        if is_present && self.values.is_none() {
            self.values = Some(empty(&value, self.rows));
        }
        self.rows += 1;
        let Some(values) = &mut self.values else { return Ok(()) };
        match (values, value) {
            (FieldValues::Float(values), Value::Float(value)) => values.push(value),
            (FieldValues::Float(values), Value::Integer(value)) => values.push(value as f64),
            (FieldValues::Integer(values), Value::Integer(value)) => values.push(value),
            (FieldValues::Boolean(values), Value::Boolean(value)) => values.push(value),
            (FieldValues::String(values), Value::String(value)) => values.push(value),
            (FieldValues::Unsigned(values), Value::Unsigned(value)) => values.push(value),
            (FieldValues::Unsigned(values), Value::Integer(value)) if value >= 0 => values.push(value as u64),
            (FieldValues::Float(values), Value::Nil) => values.push(0.0),
            (FieldValues::Integer(values), Value::Nil) => values.push(0),
            (FieldValues::Unsigned(values), Value::Nil) => values.push(0),
            (FieldValues::Boolean(values), Value::Nil) => values.push(false),
            (FieldValues::String(values), Value::Nil) => values.push(""),
            (values, _) => return Err(format!("a value is no {}", values.field_type())),
        }
        Ok(())
    }
}

/// A column of the value's type, with so many rows that lack one.
fn empty(value: &Value<'_>, rows: usize) -> FieldValues {
    match value {
        Value::Float(_) => FieldValues::Float(vec![0.0; rows]),
        Value::Integer(_) => FieldValues::Integer(vec![0; rows]),
        Value::Unsigned(_) => FieldValues::Unsigned(vec![0; rows]),
        Value::String(_) => {
            FieldValues::String(StringValues { bytes: String::new(), offsets: vec![0; rows + 1] })
        }
        Value::Boolean(_) | Value::Nil => FieldValues::Boolean(vec![false; rows]),
    }
}
