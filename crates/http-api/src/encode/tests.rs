//! Answers byte for byte as InfluxDB 1.6.7 gave them for the same results.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::field::FieldValue::{self, Boolean, Float, Integer, Null, Time, Unsigned};
use hyperbytedb_domain::result::{Message, SeriesBlock};

use super::*;

enum Event {
    Series(usize, SeriesBlock),
    Documents(usize, Vec<Vec<SeriesBlock>>),
    End(StatementEnd),
}

fn text(s: &str) -> FieldValue {
    FieldValue::String(s.into())
}

fn block(name: &str, tags: &[(&str, &str)], columns: &[&str], values: Vec<FieldValue>) -> SeriesBlock {
    let tags: Arc<[_]> = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    SeriesBlock {
        name: name.into(),
        tags: Some(tags),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        values,
        partial: false,
        zone: None,
    }
}

fn partial(mut block: SeriesBlock) -> SeriesBlock {
    block.partial = true;
    block
}

fn series(id: usize, block: SeriesBlock) -> Event {
    Event::Series(id, block)
}

fn end(statement_id: usize) -> Event {
    Event::End(StatementEnd { statement_id, ..Default::default() })
}

fn failed(statement_id: usize, error: &str) -> Event {
    Event::End(StatementEnd { statement_id, error: Some(error.to_owned()), ..Default::default() })
}

fn warned(statement_id: usize, warning: &str) -> Event {
    let messages = vec![Message { level: "warning", text: warning.to_owned() }];
    Event::End(StatementEnd { statement_id, messages, error: None })
}

fn bytes(shape: Shape, events: Vec<Event>) -> Vec<u8> {
    let mut encoder = encoder(&shape);
    let mut out = Vec::new();
    for event in events {
        match event {
            Event::Series(id, block) => encoder.series(&mut out, id, block),
            Event::Documents(id, documents) => encoder.documents(&mut out, id, documents),
            Event::End(end) => encoder.end(&mut out, end),
        }
    }
    encoder.finish(&mut out);
    if shape.pretty {
        let mut indented = Vec::new();
        let mut indenter = Indenter::default();
        // Cut anywhere.
        for piece in out.chunks(7) {
            indenter.push(&mut indented, piece);
        }
        return indented;
    }
    out
}

fn json(events: Vec<Event>) -> String {
    String::from_utf8(bytes(Shape::default(), events)).unwrap()
}

fn chunked(events: Vec<Event>) -> String {
    String::from_utf8(bytes(Shape { chunked: true, ..Shape::default() }, events)).unwrap()
}

fn csv(epoch: Option<Precision>, events: Vec<Event>) -> String {
    String::from_utf8(bytes(Shape { format: Format::Csv, epoch, ..Shape::default() }, events)).unwrap()
}

fn msgpack(events: Vec<Event>) -> Vec<u8> {
    let shape = Shape { format: Format::MessagePack, max_buffered_bytes: 1 << 20, ..Shape::default() };
    bytes(shape, events)
}

fn cpu() -> SeriesBlock {
    block(
        "cpu",
        &[],
        &["time", "b", "f", "host", "i", "r", "s"],
        vec![
            Time(1_000_000_001),
            Boolean(true),
            Float(1.5),
            text("a"),
            Integer(3),
            text("x"),
            text("a<b>&\u{2028}\"q"),
            Time(2_000_000_000),
            Null,
            Float(1e21),
            text("b"),
            Integer(9_007_199_254_740_993),
            Null,
            Null,
        ],
    )
}

fn one(id: usize, name: &str, rows: &[i64]) -> Event {
    let values = rows.iter().flat_map(|&n| [Time(n), Integer(n)]).collect();
    series(id, block(name, &[], &["time", "v"], values))
}

#[test]
fn json_documents() {
    let cases = [
        (vec![], "{}\n"),
        (vec![end(0)], "{\"results\":[{\"statement_id\":0}]}\n"),
        (
            vec![series(0, cpu()), end(0)],
            concat!(
                r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","columns":["time","b","f","host","i","r","s"],"values":"#,
                r#"[["1970-01-01T00:00:01.000000001Z",true,1.5,"a",3,"x","a\u003cb\u003e\u0026\u2028\"q"],"#,
                r#"["1970-01-01T00:00:02Z",null,1e+21,"b",9007199254740993,null,null]]}]}]}"#,
                "\n"
            ),
        ),
        (
            vec![warned(0, "deprecated")],
            "{\"results\":[{\"statement_id\":0,\"messages\":[{\"level\":\"warning\",\"text\":\"deprecated\"}]}]}\n",
        ),
        (
            vec![one(0, "a", &[1]), warned(0, "w"), failed(1, "bad <x>")],
            concat!(
                r#"{"results":[{"statement_id":0,"series":[{"name":"a","columns":["time","v"],"values":[["1970-01-01T00:00:00.000000001Z",1]]}],"#,
                r#""messages":[{"level":"warning","text":"w"}]},{"statement_id":1,"error":"bad \u003cx\u003e"}]}"#,
                "\n"
            ),
        ),
        // The second of two ends of one statement is the one that shows.
        (
            vec![end(0), failed(1, "undefined function bad()"), failed(1, "not executed")],
            "{\"results\":[{\"statement_id\":0},{\"statement_id\":1,\"error\":\"not executed\"}]}\n",
        ),
        (
            vec![
                series(0, block("d", &[], &["name", "query"], vec![])),
                series(0, block("e", &[], &["name", "query"], vec![])),
                end(0),
            ],
            concat!(
                r#"{"results":[{"statement_id":0,"series":[{"name":"d","columns":["name","query"]},{"name":"e","columns":["name","query"]}]}]}"#,
                "\n"
            ),
        ),
        (
            vec![series(0, block("", &[], &["key"], vec![text("cpu,host=a")])), end(0)],
            "{\"results\":[{\"statement_id\":0,\"series\":[{\"columns\":[\"key\"],\"values\":[[\"cpu,host=a\"]]}]}]}\n",
        ),
        (
            vec![
                series(
                    0,
                    block("m", &[("z", ""), ("a", "1")], &["time", "u"], vec![Time(0), Unsigned(u64::MAX)]),
                ),
                end(0),
            ],
            concat!(
                r#"{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"a":"1","z":""},"columns":["time","u"],"#,
                r#""values":[["1970-01-01T00:00:00Z",18446744073709551615]]}]}]}"#,
                "\n"
            ),
        ),
    ];
    for (events, expected) in cases {
        assert_eq!(json(events), expected);
    }
}

#[test]
fn blocks_of_one_series_become_one_series() {
    let value = |n: i64| vec![Time(n), Integer(n)];
    let part = |host: &str, n| block("m", &[("host", host)], &["time", "v"], value(n));
    let got = json(vec![
        series(0, partial(part("a", 1))),
        series(0, part("a", 2)),
        series(0, part("b", 3)),
        end(0),
        series(1, part("b", 4)),
        end(1),
    ]);
    let expected = concat!(
        r#"{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"host":"a"},"columns":["time","v"],"#,
        r#""values":[["1970-01-01T00:00:00.000000001Z",1],["1970-01-01T00:00:00.000000002Z",2]],"partial":true},"#,
        r#"{"name":"m","tags":{"host":"b"},"columns":["time","v"],"values":[["1970-01-01T00:00:00.000000003Z",3]]}]},"#,
        r#"{"statement_id":1,"series":[{"name":"m","tags":{"host":"b"},"columns":["time","v"],"values":[["1970-01-01T00:00:00.000000004Z",4]]}]}]}"#,
        "\n"
    );
    assert_eq!(got, expected);
}

#[test]
fn chunked_documents() {
    let row = |n: i64| vec![Time(n * 1_000_000_000), Float(n as f64)];
    let events = vec![
        series(0, block("cpu", &[("host", "a")], &["time", "f"], row(1))),
        series(0, partial(block("cpu", &[("host", "b")], &["time", "f"], row(2)))),
        series(0, block("cpu", &[("host", "b")], &["time", "f"], row(3))),
        end(0),
        series(1, block("mem", &[], &["time", "f"], row(3))),
        end(1),
        end(2),
        failed(3, "undefined function bad()"),
        failed(3, "not executed"),
    ];
    let expected = concat!(
        r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"a"},"columns":["time","f"],"values":[["1970-01-01T00:00:01Z",1]]}],"partial":true}]}"#,
        "\n",
        r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"b"},"columns":["time","f"],"values":[["1970-01-01T00:00:02Z",2]],"partial":true}],"partial":true}]}"#,
        "\n",
        r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","tags":{"host":"b"},"columns":["time","f"],"values":[["1970-01-01T00:00:03Z",3]]}]}]}"#,
        "\n",
        r#"{"results":[{"statement_id":1,"series":[{"name":"mem","columns":["time","f"],"values":[["1970-01-01T00:00:03Z",3]]}]}]}"#,
        "\n",
        r#"{"results":[{"statement_id":2}]}"#,
        "\n",
        r#"{"results":[{"statement_id":3,"error":"undefined function bad()"}]}"#,
        "\n",
        r#"{"results":[{"statement_id":3,"error":"not executed"}]}"#,
        "\n",
    );
    assert_eq!(chunked(events), expected);
    assert_eq!(chunked(vec![]), "");
}

/// SHOW TAG KEYS gives a document a measurement, SHOW CONTINUOUS QUERIES one for all databases; none is partial.
#[test]
fn documents_of_results_that_are_there_at_once() {
    let keys = |name, key| block(name, &[], &["tagKey"], vec![text(key)]);
    let events = || {
        vec![
            Event::Documents(0, vec![vec![keys("cpu", "host")], vec![keys("mem", "host")]]),
            end(0),
            Event::Documents(
                1,
                vec![vec![block("a", &[], &["name"], vec![]), block("b", &[], &["name"], vec![])]],
            ),
            end(1),
            Event::Documents(2, vec![vec![]]),
            end(2),
        ]
    };
    let expected = concat!(
        r#"{"results":[{"statement_id":0,"series":[{"name":"cpu","columns":["tagKey"],"values":[["host"]]}]}]}"#,
        "\n",
        r#"{"results":[{"statement_id":0,"series":[{"name":"mem","columns":["tagKey"],"values":[["host"]]}]}]}"#,
        "\n",
        r#"{"results":[{"statement_id":1,"series":[{"name":"a","columns":["name"]},{"name":"b","columns":["name"]}]}]}"#,
        "\n",
        r#"{"results":[{"statement_id":2}]}"#,
        "\n",
    );
    assert_eq!(chunked(events()), expected);
    let one = json(events());
    assert!(
        one.contains(r#"{"name":"mem","columns":["tagKey"],"values":[["host"]]}]},{"statement_id":1"#),
        "{one}"
    );
}

#[test]
fn an_error_after_rows_closes_the_document() {
    let got = json(vec![one(0, "a", &[1]), failed(0, "query interrupted")]);
    let parsed: serde_json::Value = serde_json::from_str(&got).unwrap();
    assert_eq!(parsed["results"][0]["error"], "query interrupted");
    assert_eq!(parsed["results"][0]["series"][0]["values"][0][1], 1);
    // An answer that is cut short is a document, too.
    let cut = json(vec![one(0, "a", &[1])]);
    assert!(serde_json::from_str::<serde_json::Value>(&cut).is_ok());
}

#[test]
fn pretty_documents() {
    let shape = Shape { pretty: true, ..Shape::default() };
    let events = vec![
        series(0, block("m", &[("h", "{[\"\\")], &["time", "v"], vec![Time(0), Integer(1)])),
        end(0),
        end(1),
    ];
    let expected = r#"{
    "results": [
        {
            "statement_id": 0,
            "series": [
                {
                    "name": "m",
                    "tags": {
                        "h": "{[\"\\"
                    },
                    "columns": [
                        "time",
                        "v"
                    ],
                    "values": [
                        [
                            "1970-01-01T00:00:00Z",
                            1
                        ]
                    ]
                }
            ]
        },
        {
            "statement_id": 1
        }
    ]
}
"#;
    assert_eq!(String::from_utf8(bytes(shape, events)).unwrap(), expected);
    assert_eq!(String::from_utf8(bytes(shape, vec![])).unwrap(), "{}\n");
}

#[test]
fn csv_documents() {
    let values = vec![
        Time(1_000_000_001),
        Float(1.5),
        text("x"),
        Time(2_000_000_000),
        Float(1e21),
        text("a,\"q\"\n"),
        Time(3_000_000_000),
        Float(1e-7),
        Null,
    ];
    let events = || {
        vec![
            series(0, block("cpu", &[("host", "a"), ("r", "x y")], &["time", "f", "s"], values.clone())),
            end(0),
            end(1),
            series(
                2,
                block("mem", &[("host", "b"), ("nope", "")], &["time", "f"], vec![Time(0), Integer(-1)]),
            ),
            series(2, block("mem", &[], &["time", "f"], vec![Time(0), Boolean(false)])),
            series(2, block("mem", &[], &["time", "g"], vec![Time(0), Unsigned(1)])),
            end(2),
            failed(3, "bad"),
        ]
    };
    let expected = concat!(
        "name,tags,time,f,s\n",
        "cpu,\"host=a,r=x\\ y\",1000000001,1.5,x\n",
        "cpu,\"host=a,r=x\\ y\",2000000000,1000000000000000000000,\"a,\"\"q\"\"\n\"\n",
        "cpu,\"host=a,r=x\\ y\",3000000000,0.0000001,\n",
        "\n",
        "name,tags,time,f\n",
        "mem,host=b,0,-1\n",
        "mem,,0,false\n",
        "\n",
        "name,tags,time,g\n",
        "mem,,0,1\n",
    );
    assert_eq!(csv(None, events()), expected);
    assert!(csv(Some(Precision::Millisecond), events()).contains("r=x\\ y\",1000,1.5,x\n"));
}

#[test]
fn message_pack_documents() {
    let events = vec![
        series(0, block("cpu", &[("nope", "")], &["time", "f"], vec![Time(1_000_000_001), Float(1.5)])),
        end(0),
        warned(1, "w"),
        failed(2, "not executed"),
    ];
    let mut expected = b"\x81\xa7results\x93".to_vec();
    expected.extend_from_slice(b"\x82\xacstatement_id\x00\xa6series\xdd\x00\x00\x00\x01");
    expected.extend_from_slice(
        b"\x84\xa4name\xa3cpu\xa4tags\x81\xa4nope\xa0\xa7columns\x92\xa4time\xa1f\xa6values",
    );
    expected.extend_from_slice(
        b"\xdd\x00\x00\x00\x01\x92\xc7\x0c\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01",
    );
    expected.extend_from_slice(b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
    expected.extend_from_slice(
        b"\x83\xacstatement_id\x01\xa8messages\x91\x82\xa5level\xa7warning\xa4text\xa1w\xa6series\x90",
    );
    expected.extend_from_slice(b"\x81\xa5error\xacnot executed");
    assert_eq!(msgpack(events), expected);

    let events = vec![series(0, partial(one_time(1))), series(0, one_time(2)), end(0)];
    let expected = b"\x81\xa7results\x91\x82\xacstatement_id\x00\xa6series\xdd\x00\x00\x00\x01\x84\xa4name\xa1m\xa7columns\x91\xa1n\xa6values\xdd\x00\x00\x00\x02\x91\x01\x91\x02\xa7partial\xc3";
    assert_eq!(msgpack(events), expected);

    let chunked = Shape { format: Format::MessagePack, chunked: true, ..Shape::default() };
    let events = vec![
        series(0, partial(block("m", &[], &["time"], vec![Time(-1)]))),
        series(0, block("m", &[], &["time"], vec![Time(1)])),
        end(0),
    ];
    let mut expected = b"\x81\xa7results\x91\x83\xacstatement_id\x00\xa6series\x91\x84\xa4name\xa1m\xa7columns\x91\xa4time\xa6values\x91\x91".to_vec();
    expected.extend_from_slice(
        b"\xc7\x0c\x05\xff\xff\xff\xff\xff\xff\xff\xff\x3b\x9a\xc9\xff\xa7partial\xc3\xa7partial\xc3",
    );
    expected.extend_from_slice(b"\x81\xa7results\x91\x82\xacstatement_id\x00\xa6series\x91\x83\xa4name\xa1m\xa7columns\x91\xa4time\xa6values\x91\x91");
    expected.extend_from_slice(b"\xc7\x0c\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01");
    assert_eq!(bytes(chunked, events), expected);
}

fn one_time(n: i64) -> SeriesBlock {
    block("m", &[], &["n"], vec![Integer(n)])
}

#[test]
fn message_pack_integers_are_signed() {
    let cases: [(i64, &[u8]); 9] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0xd1, 0, 128]),
        (1000, &[0xd1, 3, 0xe8]),
        (-1, &[0xff]),
        (-33, &[0xd0, 0xdf]),
        (-129, &[0xd1, 0xff, 0x7f]),
        (1_000_000_001, &[0xd2, 0x3b, 0x9a, 0xca, 1]),
        (9_007_199_254_740_993, &[0xd3, 0, 0x20, 0, 0, 0, 0, 0, 1]),
    ];
    for (value, expected) in cases {
        let got = msgpack(vec![series(0, block("", &[], &["v"], vec![Integer(value)])), end(0)]);
        assert!(got.ends_with(&[&[0x91], expected].concat()), "{value}: {got:?}");
    }
}

#[test]
fn message_pack_is_bounded() {
    let shape = Shape { format: Format::MessagePack, max_buffered_bytes: 100, ..Shape::default() };
    let many = |id| one(id, "m", &[0; 50]);
    let got = bytes(shape, vec![end(0), many(1), many(1), end(1), many(2)]);
    assert!(got.len() < 300);
    assert!(String::from_utf8_lossy(&got).contains("http.max_buffered_answer_bytes"));
}

#[test]
fn errors() {
    let text = "missing required parameter \"q\"";
    let cases: [(Format, bool, &[u8]); 4] = [
        (Format::Json, false, b"{\"error\":\"missing required parameter \\\"q\\\"\"}\n"),
        (Format::Json, true, b"{\n    \"error\": \"missing required parameter \\\"q\\\"\"\n}\n"),
        (Format::Csv, false, b"error\n\"missing required parameter \"\"q\"\"\"\n"),
        (Format::MessagePack, false, b"\x81\xa5error\xbemissing required parameter \"q\""),
    ];
    for (format, pretty, expected) in cases {
        assert_eq!(error_body(format, pretty, text), expected);
    }
}

#[test]
fn negotiation() {
    let cases = [
        ("", Format::Json),
        ("*/*", Format::Json),
        ("application/csv", Format::Csv),
        ("text/csv", Format::Csv),
        ("application/x-msgpack", Format::MessagePack),
        ("application/json, text/csv", Format::Json),
        ("text/csv;q=0.1, application/json", Format::Json),
        ("foo/bar, text/csv;q=0.1", Format::Csv),
        ("foo/*", Format::Json),
    ];
    for (accept, expected) in cases {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(Format::negotiate(&headers), expected, "{accept}");
    }
}
