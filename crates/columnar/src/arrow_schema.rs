//! The schema of an Arrow stream, looked at before Arrow's reader, which ends the thread where a part of it is missing.

use arrow::ipc::{Endianness, Field, Precision, TimeUnit, Type, root_as_message};

/// In front of a message's length; earlier versions of the format lack it.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Whether the stream begins with a schema of columns that can be taken. A stream that is too short is left to the reader.
pub fn check(body: &[u8]) -> Result<(), String> {
    let rest = body.strip_prefix(&CONTINUATION).unwrap_or(body);
    let Some((length, rest)) = rest.split_first_chunk() else { return Ok(()) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some(message) = rest.get(..length).filter(|message| !message.is_empty()) else { return Ok(()) };
    let message = root_as_message(message).map_err(|error| error.to_string())?;
    let schema = message.header_as_schema().ok_or("it does not begin with a schema")?;
    if schema.endianness() != Endianness::Little {
        return Err("its numbers are not little-endian".to_owned());
    }
    schema.fields().ok_or("the schema has no fields")?.iter().try_for_each(check_field)
}

fn check_field(field: Field<'_>) -> Result<(), String> {
    let failed = |what: &str| Err(format!("column {:?}: {what}", field.name().unwrap_or_default()));
    let is_width = |bits: i32| matches!(bits, 8 | 16 | 32 | 64);
    let is_dictionary = field.dictionary().is_some();
    if let Some(dictionary) = field.dictionary()
        && !dictionary.indexType().is_some_and(|keys| is_width(keys.bitWidth()))
    {
        return failed("the dictionary has no keys");
    }
    let is_whole = match field.type_type() {
        Type::Int => field.type_as_int().is_some_and(|int| is_width(int.bitWidth())),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .is_some_and(|float| matches!(float.precision(), Precision::SINGLE | Precision::DOUBLE)),
        Type::Timestamp => {
            let units = TimeUnit::SECOND..=TimeUnit::NANOSECOND;
            field.type_as_timestamp().is_some_and(|time| units.contains(&time.unit()))
        }
        Type::Bool | Type::Utf8 | Type::LargeUtf8 => true,
        Type::Utf8View => is_dictionary,
        _ => false,
    };
    if is_whole {
        Ok(())
    } else {
        failed("a field is float, integer, boolean or string; a tag is a dictionary of strings")
    }
}
