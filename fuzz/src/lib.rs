//! What parsers and decoders promise of any input.
//!
//! Each function panics where a promise is broken. cargo-fuzz looks for such inputs (`make fuzz`); the tests try what is
//! close to valid ones.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hyperbytedb_application::Parameter;
use hyperbytedb_application::auth::tokens::user_name;
use hyperbytedb_clickhouse_sql::raw::{RawSelect, RawStatement};
use hyperbytedb_columnar::KnownSeries;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::ports::{BodyFormat, Credentials};
use hyperbytedb_graphite::GraphiteParser;
use hyperbytedb_http_api::untrusted;
use hyperbytedb_influx_files::meta::Meta;
use hyperbytedb_influx_files::tombstones::Tombstones;
use hyperbytedb_influx_files::tsm::TsmFile;
use hyperbytedb_influx_files::wal::Wal;
use hyperbytedb_influx_files::{Points, block};
use hyperbytedb_line_protocol::{ParseOptions, Parsed, body_without, parse, print_batch};
use hyperbytedb_opentsdb::{Said, print_json, read_line};
use hyperbytedb_storage_rocksdb::{decode_record, encode_record};
use hyperbytedb_timeseriesql::ast::{Expr, Statement};
use hyperbytedb_timeseriesql::quote::{quote_ident, quote_string};
use hyperbytedb_timeseriesql::reduce::{condition_expr, reduce};
use hyperbytedb_timeseriesql::{BindValue, Params, parse_expr, parse_query, parse_query_with_params};
use jiff::tz::TimeZone;
use sha2::Sha256;
use tempfile::NamedTempFile;

/// Where a log record has its checksum, which covers everything but itself.
const CHECKSUM: Range<usize> = 2..6;

/// Line protocol is read without a panic, and what is read prints to text that is read as the same points.
pub fn line_protocol(body: &[u8]) {
    let options = ParseOptions::new(Precision::Nanosecond, 1_000);
    let first = parse(body, &options);
    let _ = first.error_text(&first.drops());

    let text = printed(&first);
    let second = parse(text.as_bytes(), &options);
    assert_eq!(second.errors, []);
    assert_eq!(printed(&second), text);

    let accepted = body_without(body, &first.lines, &[]);
    let again = parse(&accepted, &options);
    assert_eq!(printed(&again), text);
}

fn printed(parsed: &Parsed) -> String {
    let mut text = String::new();
    for batch in &parsed.batches {
        print_batch(batch, &mut text);
    }
    text
}

/// Bytes are columns or they are not, in each form and in the log's; what is taken can be stored, and is there again.
pub fn columns(bytes: &[u8]) {
    let options = ParseOptions { max_points: 10_000, ..ParseOptions::new(Precision::Second, 1_000) };
    let body = Bytes::copy_from_slice(bytes);
    for format in [BodyFormat::ArrowStream, BodyFormat::MessagePack] {
        let Ok(parsed) = hyperbytedb_columnar::read(format, &body, "m", &options, &KnownSeries::none())
        else {
            continue;
        };
        let _ = parsed.error_text(&parsed.drops());
        let text = printed(&parsed);
        // What is taken can be said in lines, and stands in the log as it is.
        let accepted = ParseOptions::accepted(Precision::Nanosecond, 0);
        assert_eq!(parse(text.as_bytes(), &accepted).errors, []);
        let stored = hyperbytedb_columnar::encode(&parsed.batches).expect("batches can be stored");
        let again = hyperbytedb_columnar::decode(&stored).expect("what was stored can be read");
        assert_eq!(printed(&Parsed { batches: again, ..Parsed::default() }), text);
    }
    let _ = hyperbytedb_columnar::decode(bytes);
}

/// A text selects something or it does not; said in another way, it selects the same.
pub fn delete_predicate(text: &str) {
    let Some((measurement, tags)) = untrusted::delete_predicate(text) else { return };
    let named = measurement.iter().map(|name| ("_measurement", name.as_str()));
    let tagged = tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let terms: Vec<String> = named
        .chain(tagged)
        .map(|(key, value)| format!("{} = {}", quote_ident(key), quote_string(value)))
        .collect();
    let again = untrusted::delete_predicate(&terms.join(" AND "));
    assert_eq!(again, Some((measurement, tags)));
}

const SECRET: &str = "secret";
const NOW: f64 = 1000.0;

/// Whom a query and a header name is somebody or nobody; a token is taken only with its signature, whatever is signed.
pub fn credentials(text: &str) {
    let (query, rest) = text.split_once('\n').unwrap_or(("", text));
    if let Credentials::Bearer(token) = untrusted::credentials(query, rest.as_bytes()) {
        assert!(user_name(&token, SECRET, NOW).is_err(), "{token}");
    }
    let (header, claims) = rest.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, rest));
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if let Ok(name) = user_name(&token, SECRET, NOW) {
        assert!(!name.is_empty() && header.contains("HS256") && claims.contains("exp"), "{header} {claims}");
        assert!(user_name(&token, "another", NOW).is_err());
    }
}

/// A text is parameters or it is none; each is a value of one statement, which is read as the same again.
pub fn parameters(text: &str) {
    for (name, value) in untrusted::parameters(text).unwrap_or_default() {
        let operator = if matches!(value, Parameter::Regex(_)) { "=~" } else { "=" };
        let bound = Params::from([("p".to_owned(), bind(value.clone()))]);
        let text = format!("SELECT v FROM m WHERE x {operator} $p");
        if let Ok(query) = parse_query_with_params(&text, &bound) {
            assert!(matches!(&query.statements[..], [Statement::Select(_)]), "{name}: {query}");
            if !can_be_said(&value) {
                continue;
            }
            let printed = query.to_string();
            let again = parse_query(&printed).map(|query| query.to_string());
            assert_eq!(again.as_ref(), Ok(&printed), "{name}: {value:?}");
        }
    }
}

/// InfluxDB's grammar has no text for these: there a NUL is the end, a carriage return that of a line, and a regular expression has one line and no backslash before its
/// end.
fn can_be_said(value: &Parameter) -> bool {
    match value {
        Parameter::String(text) | Parameter::Identifier(text) => !text.contains(['\0', '\r']),
        Parameter::Regex(source) => !source.contains(['\0', '\n', '\r']) && !source.ends_with('\\'),
        _ => true,
    }
}

/// Bytes are a message of Prometheus or they are not, packed or to be packed. Of samples come no more points than they are, and of a
/// query one SELECT, whatever names say.
pub fn prometheus(bytes: &[u8]) {
    prometheus_body(&Bytes::copy_from_slice(bytes));
    if let Ok(packed) = snap::raw::Encoder::new().compress_vec(bytes) {
        prometheus_body(&packed.into());
    }
}

fn prometheus_body(body: &Bytes) {
    if let Some((lines, samples, dropped)) = untrusted::prometheus_write(body) {
        let parsed = parse(lines.as_bytes(), &ParseOptions::new(Precision::Nanosecond, 1));
        let points: usize = parsed.batches.iter().map(|batch| batch.rows()).sum();
        assert!(points + dropped as usize <= samples, "{points} points and {dropped} of {samples} samples");
    }
    let measurements = ["up".to_owned(), "a\" b; DROP DATABASE d".to_owned()];
    for (text, parameters) in untrusted::prometheus_read(body, &measurements).unwrap_or_default() {
        let bound = parameters.into_iter().map(|(name, value)| (name, bind(value))).collect::<Params>();
        // A regular expression may be none.
        if let Ok(query) = parse_query_with_params(&text, &bound) {
            assert!(matches!(&query.statements[..], [Statement::Select(_)]), "{query}");
        }
    }
}

fn bind(value: Parameter) -> BindValue {
    match value {
        Parameter::String(text) => BindValue::String(text),
        Parameter::Identifier(name) => BindValue::Identifier(name),
        Parameter::Regex(source) => BindValue::Regex(source),
        Parameter::Float(number) => BindValue::Number(number),
        Parameter::Integer(number) => BindValue::Integer(number),
        Parameter::Boolean(value) => BindValue::Boolean(value),
        Parameter::Duration(text) => BindValue::Duration(text),
        other => BindValue::Error(format!("{other:?}")),
    }
}

/// A line is a point, which the parser of line protocol takes or refuses, or it is none; templates as well.
pub fn graphite(text: &str) {
    let (templates, lines) = text.split_once('\n').unwrap_or(("", text));
    let own = |text: &str| text.split(';').map(str::to_owned).collect::<Vec<_>>();
    for templates in
        [own(templates), vec!["a.* .host.measurement* x=y".to_owned(), "measurement.field*".to_owned()]]
    {
        let Ok(parser) = GraphiteParser::new(&templates, &[], ".") else { continue };
        for line in lines.lines() {
            let mut out = String::new();
            if parser.print(line, 1, &mut out).is_ok() {
                let _ = parse(out.as_bytes(), &ParseOptions::new(Precision::Nanosecond, 1));
            }
        }
    }
}

/// Bytes are points of OpenTSDB or they are none, as JSON and as a line; no point is more than one, whatever names say.
pub fn opentsdb(bytes: &[u8]) {
    let rows = |lines: &str| -> usize {
        let parsed = parse(lines.as_bytes(), &ParseOptions::new(Precision::Nanosecond, 1));
        parsed.batches.iter().map(|batch| batch.rows()).sum()
    };
    let mut lines = String::new();
    if let Ok(printed) = print_json(bytes, &mut lines) {
        let points = rows(&lines);
        assert!(points <= printed.points, "{points} of {printed:?}: {lines:?}");
    }
    for line in String::from_utf8_lossy(bytes).lines() {
        let mut point = String::new();
        let said = read_line(line, &mut point);
        assert!(rows(&point) <= usize::from(matches!(said, Ok(Said::Point { .. }))), "{line:?}: {point:?}");
    }
}

/// A text is a query or it is not; a query prints to a text that is read and prints the same, and its conditions fold
/// without a panic.
pub fn timeseriesql(text: &str) {
    if let Ok(query) = parse_query(text) {
        let printed = query.to_string();
        // Passwords are hidden.
        if !printed.contains("[REDACTED]") {
            let again = parse_query(&printed).map(|query| query.to_string());
            assert_eq!(again.as_ref(), Ok(&printed));
        }
        for statement in query.statements {
            if let Statement::Select(select) = statement {
                fold(select.condition);
            }
        }
    }
    fold(parse_expr(text).ok());
}

fn fold(expr: Option<Expr>) {
    let zone = TimeZone::UTC;
    if let Some(expr) = &expr {
        let _ = reduce(expr.clone(), Some(0), &zone).to_string();
    }
    let _ = condition_expr(expr, Some(i64::MAX), &zone);
}

/// A text is a statement that may run or it is not; what runs is read as the same statement.
pub fn raw_sql(text: &str) {
    let print = |text: &str| {
        let statement = RawStatement::parse(text).ok()?;
        Some(RawSelect::new(statement, Vec::new(), &BTreeMap::new()).ok()?.to_string())
    };
    if let Some(printed) = print(text) {
        assert_eq!(print(&printed), Some(printed));
    }
}

/// Bytes, also with a checksum that is right, are a log record or they are not; a record can be stored and read again.
pub fn wal_record(bytes: &[u8]) {
    check_record(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= CHECKSUM.end {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&sealed[..CHECKSUM.start]);
        hasher.update(&sealed[CHECKSUM.end..]);
        sealed[CHECKSUM].copy_from_slice(&hasher.finalize().to_le_bytes());
        check_record(&sealed);
    }
}

fn check_record(bytes: &[u8]) {
    let Ok(record) = decode_record(bytes) else { return };
    let stored = encode_record(&record).expect("what was read can be stored");
    let again = decode_record(&stored).expect("what was stored can be read");
    // Not `==` on the records: a stored NaN is not equal to itself.
    assert_eq!(encode_record(&again).ok(), Some(stored));
}

/// Bytes are one of InfluxDB's files or they are not: no panic, and no memory that they only promise to fill. The first byte
/// says which kind of file they are read as.
pub fn influx_files(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let path = Path::new("file");
    match kind % 5 {
        0 => {
            let mut points = Points::default();
            if block::decode(bytes, &mut points).is_ok() {
                assert_eq!(points.times.len(), points.values.len());
                assert!(points.times.is_sorted_by(|a, b| a < b));
            }
        }
        1 => drop(Wal::default().apply_segment(bytes, path)),
        2 => drop(Tombstones::read(bytes, path)),
        3 => drop(Meta::from_bytes(bytes, path)),
        _ => read_tsm(bytes).expect("a temporary file"),
    }
}

/// Reads all blocks of a file that has these bytes.
fn read_tsm(bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new()?;
    file.write_all(bytes)?;
    let Ok(tsm) = TsmFile::open(file.path()) else { return Ok(()) };
    let (mut index, mut buffer, mut points) = (tsm.index(), Vec::new(), Points::default());
    while index.advance().is_ok_and(|has_more| has_more) {
        for entry in index.entries() {
            let _ = tsm.read(entry, &mut buffer, &mut points);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::{Command, TableId};
    use hyperbytedb_domain::wal::{TableVersion, WalEntry, WalRecord, WriteEntry};

    use super::*;

    /// The input, its beginnings, and what it is with one byte replaced.
    fn try_around(input: &[u8], check: impl Fn(&[u8])) {
        for end in 0..=input.len() {
            check(&input[..end]);
        }
        for place in 0..input.len() {
            for byte in [0, b' ', b'"', b'\\', b',', b'=', b'(', b'9', 0x7f, 0xff] {
                let mut changed = input.to_vec();
                changed[place] = byte;
                check(&changed);
            }
        }
    }

    #[test]
    fn line_protocol_around_valid_lines() {
        let body = "cpu\\ load,host=a\\,b,dc=é v=1.5e3,i=3i,u=4u,b=true,s=\"x \\\" y\" 1434055562000000000\n\
                    # a comment\n\nm v=-0,w=f\nm,t=x v=1 -1\r\n";
        try_around(body.as_bytes(), line_protocol);
    }

    #[test]
    fn columns_around_valid_ones() {
        // {measurement: m, time: [1, 2], tags: {t: [a, nil]}, fields: {v: [1.5, 2], s: ["x", nil]}}
        let packed = b"\x84\xabmeasurement\xa1m\xa4time\x92\x01\x02\xa4tags\x81\xa1t\x92\xa1a\xc0\xa6fields\x82\xa1v\x92\xcb\x3f\xf8\0\0\0\0\0\0\x02\xa1s\x92\xa1x\xc0";
        try_around(packed, columns);
    }

    #[test]
    fn predicates_around_valid_ones() {
        let text = r#"_measurement="m x" AND (host='a\'b' and "r k"="") AND b=c"#;
        try_around(text.as_bytes(), |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                delete_predicate(text);
            }
        });
    }

    #[test]
    fn credentials_around_valid_ones() {
        let token = r#"{"alg":"HS256","typ":"JWT"}
{"username":"joe","exp":2000,"nbf":1,"iat":1.5}"#;
        for text in [
            format!("u=joe&p=s%26x&u=\n{token}").as_str(),
            "\nBasic am9lOnM6Y3J0",
            "u=a\nBearer e30.e30.AAAA",
        ] {
            try_around(text.as_bytes(), |bytes| {
                if let Ok(text) = std::str::from_utf8(bytes) {
                    credentials(text);
                }
            });
        }
    }

    #[test]
    fn parameters_around_valid_ones() {
        let text = r#"{"a":"x'\u00e9","b":-1.5,"c":7,"d":true,"e":{"identifier":"m\"n"},"f":{"regex":"a/b"},
            "g":{"duration":"1h"},"h":{"duration":5},"i":null,"j":[1],"k":{"string":"\ud800"}} rest"#;
        try_around(text.as_bytes(), |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                parameters(text);
            }
        });
    }

    #[test]
    fn prometheus_around_valid_messages() {
        // A series `up{job="a"}` with the sample 1.5 at 1 s.
        let series = b"\x0a\x28\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01a\x12\x0c\x09\0\0\0\0\0\0\xf8\x3f\x10\xe8\x07";
        try_around(series, prometheus);
        // From 1 to 2 with `job =~ "a.*"`.
        try_around(b"\x0a\x12\x08\x01\x10\x02\x1a\x0c\x08\x02\x12\x03job\x1a\x03a.*", prometheus);
        let read = untrusted::prometheus_write(&packed(series)).expect("a message");
        assert_eq!(read, ("up,__name__=up,job=a value=1.5 1000000000\n".to_owned(), 1, 0));
    }

    fn packed(bytes: &[u8]) -> Bytes {
        snap::raw::Encoder::new().compress_vec(bytes).expect("packed").into()
    }

    /// Those that the fuzzer has found, too: a panic of Arrow's reader must not come through.
    #[test]
    fn columns_of_the_seeds() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/columns");
        let files: Vec<_> = std::fs::read_dir(seeds).expect("seeds").collect();
        assert!(files.len() >= 4);
        for file in files {
            columns(&std::fs::read(file.expect("a file").path()).expect("a seed"));
        }
    }

    #[test]
    fn opentsdb_around_valid_points() {
        try_around(
            br#"[{"metric":"a b,c","timestamp":1356998400,"value":1.5,"tags":{"k,=":"v w"}}]"#,
            opentsdb,
        );
        try_around(b"put cpu 1356998400 42.5 host=a x=\nput n 1356998400250 1\nversion", opentsdb);
        // A name is not the end of a line.
        opentsdb(br#"{"metric":"a v=1\nb","tags":{"k\n":"v\nx v=1"}}"#);
    }

    #[test]
    fn graphite_around_valid_lines() {
        try_around(
            b"*.app env.measurement a=b;measurement.field\nx.app.cpu 1.5 100.25\ncpu NaN -1",
            |bytes| {
                if let Ok(text) = std::str::from_utf8(bytes) {
                    graphite(text);
                }
            },
        );
    }

    #[test]
    fn queries_around_valid_ones() {
        for text in [
            "SELECT mean(\"v\"), top(i, 3) INTO \"d\".\"r\".:MEASUREMENT FROM /^m.*$/, (SELECT * FROM n) \
             WHERE time > now() - 1h AND (host =~ /a/ OR v != -1.5e3) GROUP BY time(1m, 5s), * FILL(0) \
             ORDER BY time DESC LIMIT 1 SOFFSET 2 TZ('Europe/Berlin')",
            "CREATE CONTINUOUS QUERY q ON d RESAMPLE EVERY 1h FOR 2h BEGIN SELECT count(v) INTO x FROM m GROUP BY time(1h) END",
            "CREATE USER u WITH PASSWORD 'p' WITH ALL PRIVILEGES; SHOW TAG VALUES FROM m WITH KEY IN (a, \"b\") WHERE c = 'd'",
        ] {
            try_around(text.as_bytes(), |bytes| {
                if let Ok(text) = std::str::from_utf8(bytes) {
                    timeseriesql(text);
                }
            });
        }
    }

    #[test]
    fn raw_sql_around_valid_statements() {
        let text = "WITH x AS (SELECT 'a\\'b''\\x41\\d', `n``m`, \"q\" -- c\n FROM m) /* d */ SELECT t.1, 1.5e-3, 0xfF, \
                    x -> -x, a::Int8 FROM x WHERE v != 1 FORMAT JSON;";
        try_around(text.as_bytes(), |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                raw_sql(text);
            }
        });
    }

    #[test]
    fn influx_files_around_valid_ones() {
        // Times from 1 on, a second apart; integers 5, 6, 7: both as runs.
        let block = b"\x01\x0b\x29\0\0\0\0\0\0\0\x01\x01\x03\x20\0\0\0\0\0\0\0\x0a\x02\x02";
        try_around(&[b"\0", &block[..]].concat(), influx_files);
        let tombstones = b"\x02\0\0\x15\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02";
        try_around(tombstones, influx_files);
        // A delete of the key `a`, compressed.
        try_around(b"\x01\x02\0\0\0\x03\x01\0a", influx_files);
        let mut tsm = b"\x04\x16\xd1\x16\xd1\x01".to_vec();
        tsm.extend(crc32fast::hash(block).to_be_bytes());
        tsm.extend(block);
        let start = tsm.len() as u64 - 1;
        tsm.extend(b"\0\x01a\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0");
        tsm.push(block.len() as u8 + 4);
        tsm.extend(start.to_be_bytes());
        try_around(&tsm, influx_files);
    }

    #[test]
    fn records_around_valid_ones() {
        let write = WalEntry::Write(WriteEntry {
            database: "d".to_owned(),
            retention_policy: "r".to_owned(),
            precision: Precision::Second,
            default_time: 1_000,
            tables: vec![TableVersion { measurement: "m".to_owned(), table: TableId(7), version: 2 }],
            shards: vec![1, 2],
            form: Default::default(),
            body: "m v=1 1\nm v=2 2".into(),
        });
        let command =
            WalEntry::Command(Command::DropMeasurement { database: "d".to_owned(), name: "m".to_owned() });
        for entry in [write, command] {
            let stored = encode_record(&WalRecord { origin: 1, clock: 2, entry }).expect("a record");
            try_around(&stored, wal_record);
        }
    }
}
