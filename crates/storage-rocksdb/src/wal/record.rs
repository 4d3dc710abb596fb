//! How a record is stored.
//!
//! ```text
//! version u8 | kind u8 | crc32 u32 | origin u64 | clock u64 | payload        (little-endian)
//! ```
//!
//! The checksum covers everything but itself. It is made of those of head and payload, so that the payload, with its
//! checksum, is ready before origin and clock are known. The payload of a write is a postcard header and the body, as it
//! came or LZ4-compressed; that of a command is postcard.

use std::borrow::Cow;

use bytes::Bytes;
use crc32fast::Hasher;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::cluster::AgreedEntry;
use hyperbytedb_domain::ports::{EncodedEntry, NewRecord};
use hyperbytedb_domain::wal::{BodyForm, TableVersion, WalEntry, WalRecord, WriteEntry};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;
const KIND_WRITE: u8 = 1;
const KIND_COMMAND: u8 = 2;
const KIND_AGREED: u8 = 3;
const CHECKSUM: std::ops::Range<usize> = 2..6;
const ORIGIN: std::ops::Range<usize> = 6..14;
const CLOCK: std::ops::Range<usize> = 14..22;
const PAYLOAD_START: usize = 22;

/// Room behind a record for what the log appends to it.
const SPARE_BYTES: usize = 16;
/// Smaller bodies are stored as they are.
const COMPRESSED_BODY_BYTES_MIN: usize = 512;
/// LZ4 cannot do better, so a stored length beyond this is a lie.
const COMPRESSION_RATIO_MAX: usize = 255;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("{0} bytes are too few")]
    Truncated(usize),
    #[error("version {0} is unknown; was it written by a newer server?")]
    Version(u8),
    #[error("kind {0} is unknown; was it written by a newer server?")]
    Kind(u8),
    #[error("the checksum does not match")]
    Checksum,
    #[error("{0}")]
    Payload(String),
}

#[derive(Serialize, Deserialize)]
struct WriteHeader<'a> {
    database: &'a str,
    retention_policy: &'a str,
    precision: Precision,
    default_time: i64,
    tables: Cow<'a, [TableVersion]>,
    shards: Cow<'a, [u64]>,
    body: StoredBody,
}

/// The numbers are the length of the body before compression.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum StoredBody {
    Lines,
    Lz4Lines(u32),
    Columns,
    Lz4Columns(u32),
    ArrowStream,
    Lz4ArrowStream(u32),
    MessagePack,
    Lz4MessagePack(u32),
}

impl StoredBody {
    fn new(form: BodyForm, length_before: Option<u32>) -> Self {
        match (form, length_before) {
            (BodyForm::Lines, None) => Self::Lines,
            (BodyForm::Lines, Some(length)) => Self::Lz4Lines(length),
            (BodyForm::Columns, None) => Self::Columns,
            (BodyForm::Columns, Some(length)) => Self::Lz4Columns(length),
            (BodyForm::ArrowStream, None) => Self::ArrowStream,
            (BodyForm::ArrowStream, Some(length)) => Self::Lz4ArrowStream(length),
            (BodyForm::MessagePack, None) => Self::MessagePack,
            (BodyForm::MessagePack, Some(length)) => Self::Lz4MessagePack(length),
        }
    }

    /// What the body is, and its length before compression.
    const fn parts(self) -> (BodyForm, Option<u32>) {
        match self {
            Self::Lines => (BodyForm::Lines, None),
            Self::Lz4Lines(length) => (BodyForm::Lines, Some(length)),
            Self::Columns => (BodyForm::Columns, None),
            Self::Lz4Columns(length) => (BodyForm::Columns, Some(length)),
            Self::ArrowStream => (BodyForm::ArrowStream, None),
            Self::Lz4ArrowStream(length) => (BodyForm::ArrowStream, Some(length)),
            Self::MessagePack => (BodyForm::MessagePack, None),
            Self::Lz4MessagePack(length) => (BodyForm::MessagePack, Some(length)),
        }
    }
}

/// The stored form of an entry: a record whose origin and clock are not filled in yet, and whose checksum is that of the
/// payload alone. Fails when a command cannot be stored (a condition nested too deeply).
pub fn encode_entry(entry: &WalEntry) -> Result<EncodedEntry, RecordError> {
    let mut out = vec![0; PAYLOAD_START];
    out[0] = VERSION;
    let mut out = match entry {
        WalEntry::Write(write) => {
            out[1] = KIND_WRITE;
            push_write(out, write)?
        }
        WalEntry::Command(command) => {
            out[1] = KIND_COMMAND;
            postcard::to_extend(command, out).map_err(payload_error)?
        }
        WalEntry::Agreed(entry) => {
            out[1] = KIND_AGREED;
            postcard::to_extend(entry, out).map_err(payload_error)?
        }
    };
    let checksum = crc32fast::hash(&out[PAYLOAD_START..]);
    out[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(EncodedEntry(out))
}

/// Makes an encoded entry a record.
pub fn seal(record: NewRecord) -> Result<Vec<u8>, RecordError> {
    let NewRecord { origin, clock, entry: EncodedEntry(mut out), is_foreign: _ } = record;
    let length = out.len();
    let payload_bytes = length.checked_sub(PAYLOAD_START).ok_or(RecordError::Truncated(length))?;
    let payload = read_array(&out[CHECKSUM]).map(u32::from_le_bytes).unwrap_or_default();
    out[ORIGIN].copy_from_slice(&origin.to_le_bytes());
    out[CLOCK].copy_from_slice(&clock.to_le_bytes());
    let mut checksum = head_checksum(&out[..PAYLOAD_START]);
    checksum.combine(&Hasher::new_with_initial_len(payload, payload_bytes as u64));
    out[CHECKSUM].copy_from_slice(&checksum.finalize().to_le_bytes());
    Ok(out)
}

/// The stored form of a record.
pub fn encode_record(record: &WalRecord) -> Result<Vec<u8>, RecordError> {
    let entry = encode_entry(&record.entry)?;
    seal(NewRecord { origin: record.origin, clock: record.clock, entry, is_foreign: false })
}

/// Reads a stored record. Never panics, whatever the bytes.
pub fn decode_record(bytes: &[u8]) -> Result<WalRecord, RecordError> {
    let Some((head, payload)) = bytes.split_at_checked(PAYLOAD_START) else {
        return Err(RecordError::Truncated(bytes.len()));
    };
    if head[0] != VERSION {
        return Err(RecordError::Version(head[0]));
    }
    if read_array(&head[CHECKSUM]).map(u32::from_le_bytes) != Some(checksum(bytes)) {
        return Err(RecordError::Checksum);
    }
    let entry = match head[1] {
        KIND_WRITE => WalEntry::Write(read_write(payload)?),
        KIND_COMMAND => WalEntry::Command(postcard::from_bytes::<Command>(payload).map_err(payload_error)?),
        KIND_AGREED => WalEntry::Agreed(postcard::from_bytes::<AgreedEntry>(payload).map_err(payload_error)?),
        kind => return Err(RecordError::Kind(kind)),
    };
    Ok(WalRecord {
        origin: read_array(&head[ORIGIN]).map(u64::from_le_bytes).unwrap_or_default(),
        clock: read_array(&head[CLOCK]).map(u64::from_le_bytes).unwrap_or_default(),
        entry,
    })
}

/// A record's head, without a look at the rest.
pub struct RecordHead {
    pub origin: u64,
    pub clock: u64,
    pub is_write: bool,
}

pub fn read_head(bytes: &[u8]) -> Result<RecordHead, RecordError> {
    let head = bytes.get(..PAYLOAD_START).ok_or(RecordError::Truncated(bytes.len()))?;
    if head[0] != VERSION {
        return Err(RecordError::Version(head[0]));
    }
    Ok(RecordHead {
        origin: read_array(&head[ORIGIN]).map(u64::from_le_bytes).unwrap_or_default(),
        clock: read_array(&head[CLOCK]).map(u64::from_le_bytes).unwrap_or_default(),
        is_write: head[1] == KIND_WRITE,
    })
}

/// Makes a record that [`decode_record`] could read an encoded entry again.
pub fn unseal(mut record: Vec<u8>) -> Result<EncodedEntry, RecordError> {
    let length = record.len();
    let payload = record.get(PAYLOAD_START..).ok_or(RecordError::Truncated(length))?;
    let checksum = crc32fast::hash(payload);
    record[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(EncodedEntry(record))
}

fn read_array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn head_checksum(head: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&head[..CHECKSUM.start]);
    hasher.update(&head[CHECKSUM.end..]);
    hasher
}

fn checksum(record: &[u8]) -> u32 {
    let mut hasher = head_checksum(&record[..PAYLOAD_START]);
    hasher.update(&record[PAYLOAD_START..]);
    hasher.finalize()
}

fn payload_error(error: postcard::Error) -> RecordError {
    RecordError::Payload(error.to_string())
}

fn push_write(out: Vec<u8>, write: &WriteEntry) -> Result<Vec<u8>, RecordError> {
    match compressed(&write.body) {
        Some((length, body)) => push_body(out, write, StoredBody::new(write.form, Some(length)), &body),
        None => push_body(out, write, StoredBody::new(write.form, None), &write.body),
    }
}

/// The length of the body and the body compressed, where that saves at least an eighth.
fn compressed(body: &[u8]) -> Option<(u32, Vec<u8>)> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() >= COMPRESSED_BODY_BYTES_MIN)?;
    let compressed = lz4_flex::block::compress(body);
    (compressed.len() <= body.len() / 8 * 7).then_some((length, compressed))
}

fn push_body(
    out: Vec<u8>,
    write: &WriteEntry,
    form: StoredBody,
    body: &[u8],
) -> Result<Vec<u8>, RecordError> {
    let mut out = push_header(out, write, form)?;
    out.reserve_exact(body.len() + SPARE_BYTES);
    out.extend_from_slice(body);
    Ok(out)
}

fn push_header(out: Vec<u8>, write: &WriteEntry, body: StoredBody) -> Result<Vec<u8>, RecordError> {
    let header = WriteHeader {
        database: &write.database,
        retention_policy: &write.retention_policy,
        precision: write.precision,
        default_time: write.default_time,
        tables: Cow::Borrowed(&write.tables),
        shards: Cow::Borrowed(&write.shards),
        body,
    };
    postcard::to_extend(&header, out).map_err(payload_error)
}

fn read_write(payload: &[u8]) -> Result<WriteEntry, RecordError> {
    let (header, body) = postcard::take_from_bytes::<WriteHeader>(payload).map_err(payload_error)?;
    let (form, length_before) = header.body.parts();
    let body = match length_before {
        None => Bytes::copy_from_slice(body),
        Some(length) => decompress(body, length as usize)?,
    };
    Ok(WriteEntry {
        database: header.database.to_owned(),
        retention_policy: header.retention_policy.to_owned(),
        precision: header.precision,
        default_time: header.default_time,
        tables: header.tables.into_owned(),
        shards: header.shards.into_owned(),
        form,
        body,
    })
}

fn decompress(body: &[u8], length: usize) -> Result<Bytes, RecordError> {
    if length / COMPRESSION_RATIO_MAX > body.len() {
        return Err(RecordError::Payload(format!("{} bytes cannot hold a body of {length}", body.len())));
    }
    let plain = lz4_flex::block::decompress(body, length)
        .map_err(|error| RecordError::Payload(format!("body: {error}")))?;
    if plain.len() != length {
        return Err(RecordError::Payload(format!("body of {} bytes instead of {length}", plain.len())));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::{DeleteScope, FieldDef, TableExtension, TableId};
    use hyperbytedb_domain::scan::{CompareOp, Operand, PREDICATE_DEPTH_MAX, Predicate, TagId};
    use hyperbytedb_domain::{FieldType, FieldValue, TimeRange};
    use proptest::prelude::*;

    use super::*;

    fn write(body: impl Into<Bytes>) -> WalRecord {
        let entry = WalEntry::Write(WriteEntry {
            database: "db".into(),
            retention_policy: String::new(),
            precision: Precision::Second,
            default_time: -7,
            tables: vec![TableVersion { measurement: "cpu".into(), table: TableId(5), version: 1 }],
            shards: vec![9],
            form: Default::default(),
            body: body.into(),
        });
        WalRecord { origin: 3, clock: 1 << 40, entry }
    }

    fn delete(filter: Predicate) -> WalRecord {
        let scope = DeleteScope { table: TableId(7), version: 3, time: TimeRange::ALL, filter: Some(filter) };
        let command = Command::DeletePoints { scopes: vec![scope] };
        WalRecord { origin: 1, clock: 2, entry: WalEntry::Command(command) }
    }

    fn nested(levels: usize) -> Predicate {
        (0..levels).fold(Predicate::Constant(true), |inner, _| Predicate::And(vec![inner]))
    }

    #[test]
    fn records_come_back() {
        let filter = Predicate::Compare {
            left: Operand::Tag(TagId(1)),
            op: CompareOp::Ne,
            right: Operand::Literal(FieldValue::String("x".into())),
        };
        let extend = Command::ExtendSchema {
            database: "db".into(),
            retention_policy: String::new(),
            tables: vec![TableExtension {
                measurement: "m\0é".into(),
                tags: vec!["host".into()],
                fields: vec![FieldDef { name: "f".into(), field_type: FieldType::Unsigned }],
            }],
            times: vec![-1, 7],
        };
        let records = [
            write(""),
            write("cpu v=1\n"),
            write("cpu,host=a v=1\n".repeat(1000)),
            delete(Predicate::Or(vec![filter, nested(PREDICATE_DEPTH_MAX - 1)])),
            WalRecord { origin: 0, clock: u64::MAX, entry: WalEntry::Command(extend) },
        ];
        for record in records {
            assert_eq!(decode_record(&encode_record(&record).unwrap()), Ok(record));
        }
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let bytes = encode_record(&write("cpu v=1")).unwrap();
        let expected = b"\x02\x01k\xc0\x04;\x03\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\x02db\0\x03\x0d\x01\x03cpu\x05\x01\x01\x09\0cpu v=1";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_record_can_be_sealed_again_elsewhere() {
        let bytes = encode_record(&write("cpu v=1")).unwrap();
        let head = read_head(&bytes).unwrap();
        assert_eq!((head.origin, head.clock, head.is_write), (3, 1 << 40, true));
        let entry = unseal(bytes.clone()).unwrap();
        assert_eq!(seal(NewRecord { origin: 3, clock: 1 << 40, entry, is_foreign: true }), Ok(bytes));
    }

    #[test]
    fn repetitive_bodies_shrink() {
        let body = "cpu,host=a v=1\n".repeat(1000);
        assert!(encode_record(&write(body.clone())).unwrap().len() < body.len() / 10);
    }

    #[test]
    fn what_cannot_be_read_back_is_not_stored() {
        let error = encode_record(&delete(nested(PREDICATE_DEPTH_MAX + 1))).unwrap_err();
        assert!(matches!(error, RecordError::Payload(_)), "{error}");
    }

    #[test]
    fn damage_is_named() {
        let good = encode_record(&write("cpu v=1")).unwrap();
        let reseal = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let sum = checksum(&bytes);
            bytes[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
            decode_record(&bytes)
        };
        assert_eq!(decode_record(&good[..PAYLOAD_START - 1]), Err(RecordError::Truncated(PAYLOAD_START - 1)));
        assert_eq!(decode_record(&good[..good.len() - 1]), Err(RecordError::Checksum));
        assert_eq!(reseal(0, 9), Err(RecordError::Version(9)));
        assert_eq!(reseal(1, 9), Err(RecordError::Kind(9)));
        let mut flipped = good.clone();
        flipped[PAYLOAD_START] ^= 1;
        assert_eq!(decode_record(&flipped), Err(RecordError::Checksum));
    }

    #[test]
    fn a_false_length_takes_no_memory() {
        let header = WriteHeader {
            database: "",
            retention_policy: "",
            precision: Precision::Second,
            default_time: 0,
            tables: Cow::Borrowed(&[]),
            shards: Cow::Borrowed(&[]),
            body: StoredBody::Lz4Lines(u32::MAX),
        };
        let mut payload = postcard::to_stdvec(&header).unwrap();
        payload.extend_from_slice(b"short");
        assert!(matches!(read_write(&payload), Err(RecordError::Payload(_))));
    }

    proptest! {
        #[test]
        fn any_write_comes_back(
            database in ".{0,20}",
            body in prop_oneof![prop::collection::vec(any::<u8>(), 0..2000), prop::collection::vec(0u8..3, 0..5000)],
            default_time: i64,
            origin: u64,
            clock: u64,
        ) {
            let entry = WriteEntry {
                database,
                retention_policy: "rp".into(),
                precision: Precision::Minute,
                default_time,
                tables: Vec::new(),
                shards: vec![1, 2],
                form: Default::default(),
                body: body.into(),
            };
            let record = WalRecord { origin, clock, entry: WalEntry::Write(entry) };
            prop_assert_eq!(decode_record(&encode_record(&record).unwrap()), Ok(record));
        }

        #[test]
        fn any_payload_is_survived(kind in 0u8..4, payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = vec![0; PAYLOAD_START];
            (bytes[0], bytes[1]) = (VERSION, kind);
            bytes.extend_from_slice(&payload);
            let sum = checksum(&bytes);
            bytes[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
            let _ = decode_record(&bytes);
            let _ = decode_record(&payload);
        }
    }
}
