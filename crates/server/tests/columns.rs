//! Points as columns: what is taken, what is refused, and what a restart finds in the log.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use support::{Answer, Server};

const ARROW: &str = "application/vnd.apache.arrow.stream";
const DAY: i64 = 86_400;

fn stream(times: &[i64], hosts: &[Option<&str>], values: ArrayRef) -> Vec<u8> {
    let columns: [(&str, ArrayRef); 3] = [
        ("time", Arc::new(Int64Array::from(times.to_vec()))),
        ("host", Arc::new(hosts.iter().copied().collect::<DictionaryArray<Int32Type>>())),
        ("v", values),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let metadata = [("measurement".to_owned(), "m".to_owned())].into();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn post(server: &Server, content_type: &str, query: &str, body: &[u8]) -> Answer {
    server.client().post_as(&format!("/write?db=db&precision=s{query}"), content_type, body).unwrap()
}

#[test]
fn columns_are_written_as_lines_are() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is flushed: the log alone has it.
    let settings = [("FLUSH__INTERVAL_SECS", "3600"), ("FLUSH__SMALL_INTERVAL_SECS", "3600")];
    let server = Server::start_in(dir.path(), &settings);
    server.client().query("", "CREATE DATABASE db WITH DURATION 30d");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let times = [now - 3, now - 2, now - 1];
    let body = stream(&times, &[Some("a"), None, Some("b")], floats(&[1.0, 2.0, 3.0]));
    assert_eq!(post(&server, ARROW, "", &body).status, 204);
    // One is past the policy, one is not finite, one is taken.
    let partly = stream(
        &[now - 90 * DAY, now, now],
        &[Some("c"), Some("d"), Some("e")],
        floats(&[4.0, f64::NAN, 6.0]),
    );
    let refused = post(&server, ARROW, "", &partly);
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("partial write: points beyond retention policy dropped=1"),
        "{}",
        refused.body
    );
    let lines = server
        .client()
        .post(
            "/write",
            &[("db", "db"), ("precision", "s")],
            format!("m,host=c v=4 {}\nm,host=d v=nan {now}\nm,host=e v=6 {now}", now - 90 * DAY).as_bytes(),
        )
        .unwrap();
    assert_eq!((lines.status, lines.body), (refused.status, refused.body));
    let other =
        post(&server, ARROW, "", &stream(&times, &[None; 3], Arc::new(Int64Array::from(vec![1, 2, 3]))));
    let expected = "partial write: field type conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type integer, already exists as type float dropped=3";
    assert!(other.status == 400 && other.body.contains(expected), "{}", other.body);
    // {fields: {v: [7.5]}, tags: {host: "p"}}
    let packed = b"\x82\xa6fields\x81\xa1v\x91\xcb\x40\x1e\0\0\0\0\0\0\xa4tags\x81\xa4host\xa1p";
    assert_eq!(post(&server, "application/msgpack", "&measurement=m", packed).status, 204);
    let nameless = post(&server, "application/x-msgpack", "", packed);
    assert!(
        nameless.status == 400
            && nameless.body.contains("unable to read MessagePack: there is no measurement")
    );
    let broken = post(&server, ARROW, "", b"m v=1");
    assert!(broken.status == 400 && broken.body.contains("unable to read Arrow stream"), "{}", broken.body);
    // One at which Arrow's reader panics: nobody fills the log with it.
    let hostile = include_bytes!("../../../fuzz/seeds/columns/dictionary-without-data");
    let malformed = post(&server, ARROW, "", hostile);
    assert!(malformed.status == 400 && malformed.body.contains("it is malformed"), "{}", malformed.body);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let missing = server.client().post_as("/write?db=nope", ARROW, &body).unwrap();
    assert_eq!(missing.status, 404);

    let rows = |server: &Server| server.client().rows("db", "SELECT host, v FROM m ORDER BY time");
    let before = rows(&server);
    let values: Vec<_> = before.iter().map(|row| (row[1].clone(), row[2].as_f64().unwrap())).collect();
    let host = |name: &str| serde_json::Value::from(name);
    assert_eq!(values[..3], [(host("a"), 1.0), (serde_json::Value::Null, 2.0), (host("b"), 3.0)]);
    assert_eq!(values.len(), 5, "{values:?}");
    assert!(values.contains(&(host("e"), 6.0)) && values.contains(&(host("p"), 7.5)), "{values:?}");
    server.kill();
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(rows(&server), before);
}
