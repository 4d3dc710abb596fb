//! The promises of the design that a client can see: visible at once, upsert per field, ordered deletes, bounded input.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::Duration;

use support::{Client, Server, until};

/// Never flushes by itself within a test; small partitions of work elsewhere do it on demand.
const NO_FLUSH: [(&str, &str); 1] = [("FLUSH__INTERVAL_SECS", "3600")];

fn server_with_db() -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    (server, client)
}

fn count(client: &Client, statement: &str) -> u64 {
    client.rows("db0", statement).first().and_then(|row| row[1].as_u64()).unwrap_or(0)
}

#[test]
fn a_point_is_visible_when_it_is_acknowledged() {
    let server = Server::start_with(&NO_FLUSH);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    for i in 1..=200u64 {
        client.write("db0", &format!("m,host=h{} v={i}i {i}\n", i % 5));
        assert_eq!(count(&client, "SELECT count(v) FROM m"), i);
        assert_eq!(count(&client, "SELECT last(v) FROM m"), i);
    }
}

#[test]
fn writers_and_readers_at_once_see_their_own_points() {
    let server = Server::start();
    server.client().query("", "CREATE DATABASE db0");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let client = server.client();
            scope.spawn(move || {
                for i in 1..=50u64 {
                    client.write("db0", &format!("m,w=w{writer} v={i}i {i}\n"));
                    assert_eq!(count(&client, &format!("SELECT count(v) FROM m WHERE w = 'w{writer}'")), i);
                }
            });
        }
    });
}

/// Writes the same point in many ways; the fields must merge, the latest value winning.
fn check_upserts(client: &Client) {
    let rows = client.rows("db0", "SELECT a, b, s FROM m WHERE host = 'x'");
    assert_eq!(serde_json::to_string(&rows).unwrap(), r#"[[1000,3,20,"new"]]"#);
    assert_eq!(count(client, "SELECT count(a) FROM m WHERE host = 'x'"), 1);
    assert_eq!(count(client, "SELECT sum(b) FROM m WHERE host = 'x'"), 20);
}

#[test]
fn fields_of_one_point_merge_across_flush_merge_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    // Without a head each query flushes.
    let settings = [
        ("FLUSH__MERGE_QUIET_SECS", "0"),
        ("FLUSH__CHECKPOINT_INTERVAL_SECS", "1"),
        ("FLUSH__HEAD_BYTES", "0"),
    ];
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    // In one request, in one memtable, and across flushes.
    client.write("db0", "m,host=x a=1 1000\nm,host=x a=2,b=10i 1000\n");
    client.write("db0", "m,host=x s=\"old\" 1000\n");
    assert_eq!(count(&client, "SELECT count(a) FROM m"), 1);
    client.write("db0", "m,host=x b=20i 1000\nm,host=y a=7 1000\n");
    assert_eq!(count(&client, "SELECT count(b) FROM m WHERE host = 'x'"), 1);
    client.write("db0", "m,host=x a=3 1000\n");
    client.write("db0", "m,host=x s=\"new\" 1000\n");
    check_upserts(&client);
    // The background merge.
    until("a merge", Duration::from_secs(30), || {
        let metrics = client.get("/metrics").unwrap().body;
        let merged = metrics.lines().find_map(|l| l.strip_prefix("hyperbytedb_merged_partitions_total "));
        merged.is_some_and(|count| count != "0")
    });
    check_upserts(&client);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &settings);
    check_upserts(&server.client());
    server.kill();
    let server = Server::start_in(dir.path(), &settings);
    check_upserts(&server.client());
}

#[test]
fn deletes_are_ordered_with_writes_also_through_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &NO_FLUSH);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m,host=x v=1 1\nm,host=x v=2 2\nm,host=y v=3 3\nn,host=x v=4 4\n");
    client.query("db0", "DELETE FROM m WHERE host = 'x'");
    client.write("db0", "m,host=x v=5 1\n");
    client.query("db0", "DROP MEASUREMENT n");
    client.write("db0", "n,host=z v=6i 4\n");
    server.kill();
    let server = Server::start_in(dir.path(), &NO_FLUSH);
    let client = server.client();
    let rows = client.rows("db0", "SELECT host, v FROM m");
    assert_eq!(serde_json::to_string(&rows).unwrap(), r#"[[1,"x",5],[3,"y",3]]"#);
    let rows = client.rows("db0", "SELECT host, v FROM n");
    assert_eq!(serde_json::to_string(&rows).unwrap(), r#"[[4,"z",6]]"#);
    client.query("db0", "DROP SERIES FROM m WHERE host = 'x'");
    let rows = client.rows("db0", "SHOW SERIES");
    assert_eq!(serde_json::to_string(&rows).unwrap(), r#"[["m,host=y"],["n,host=z"]]"#);
}

/// Of very many deletes each is seen at once; the engine has a bounded number of them left to carry out.
#[test]
fn many_deletes_in_a_row() {
    const HOSTS: usize = 60;
    let server = Server::start_with(&[("FLUSH__HEAD_BYTES", "0")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let week = 7 * 86_400 * 1_000_000_000_u64;
    let points =
        (0..HOSTS).flat_map(|host| (0..6).map(move |n| format!("m,host=h{host} v=1 {}\n", n * week)));
    client.write("db0", &points.collect::<String>());
    for host in 0..HOSTS {
        client.query("db0", &format!("DELETE FROM m WHERE host = 'h{host}'"));
        let left = 6 * (HOSTS - host - 1) as u64;
        assert_eq!(client.rows("db0", "SELECT v FROM m").len() as u64, left);
        let unfinished = unfinished_deletes(&server);
        assert!(unfinished <= 8.0, "{unfinished}");
    }
    assert_eq!(client.rows("db0", "SHOW MEASUREMENTS").len(), 0);
}

/// As the metrics say it; 0 before they do.
fn unfinished_deletes(server: &Server) -> f64 {
    let metrics = server.client().get("/metrics").unwrap().body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("hyperbytedb_unfinished_deletes "));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// As in InfluxDB, a series goes with its last point, and a measurement with its last series.
#[test]
fn series_go_with_the_shard_of_their_last_point() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &NO_FLUSH);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let week = 7 * 86_400 * 1_000_000_000_u64;
    client.write("db0", &format!("m,h=a v=1 1\nm,h=b v=1 2\nm,h=b v=1 {}\nn,h=x v=1 3\n", 2 * week));
    let shards = client.rows("db0", "SHOW SHARDS");
    client.query("db0", &format!("DROP SHARD {}", shards[0][0]));
    let answers = |client: &Client| {
        let rows = ["SHOW SERIES", "SHOW MEASUREMENTS"].map(|statement| client.rows("db0", statement));
        serde_json::to_string(&rows).unwrap()
    };
    assert_eq!(answers(&client), r#"[[["m,h=b"]],[["m"]]]"#);
    server.kill();
    let server = Server::start_in(dir.path(), &NO_FLUSH);
    assert_eq!(answers(&server.client()), r#"[[["m,h=b"]],[["m"]]]"#);
}

#[test]
fn what_one_setting_let_in_another_does_not_lose() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[NO_FLUSH[0], ("WRITE__UINT_SUPPORT", "true")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m,a=1,b=2 u=18446744073709551615u,v=1,w=2 1000\n");
    server.kill();

    let server =
        Server::start_in(dir.path(), &[NO_FLUSH[0], ("WRITE__MAX_TAGS", "1"), ("WRITE__MAX_FIELDS", "1")]);
    let client = server.client();
    let rows = client.rows("db0", "SELECT u, v, w FROM m WHERE b = '2'");
    assert_eq!(serde_json::to_string(&rows).unwrap(), "[[1000,18446744073709551615,1,2]]");
    let refused = client.try_write("db0", "m u=1u 2000\n").unwrap();
    assert_eq!(refused.body, "{\"error\":\"unable to parse 'm u=1u 2000': invalid number\"}\n");
}

#[test]
fn conditions_of_deletes_may_be_long_but_not_too_deep() {
    let (_server, client) = server_with_db();
    client.write("db0", "m,host=a v=1 1\nm,host=b v=2 2\nm,host=h1999 v=3 3\n");
    let chain: Vec<String> = (0..2_000).map(|i| format!("host = 'h{i}'")).collect();
    client.query("db0", &format!("DELETE FROM m WHERE {}", chain.join(" OR ")));
    assert_eq!(count(&client, "SELECT count(v) FROM m"), 2);
    let nested = |levels: usize| {
        let open = "host = 'x' OR host != 'y' AND (".repeat(levels);
        format!("DELETE FROM m WHERE {open}host = 'a'{}", ")".repeat(levels))
    };
    client.query("db0", &nested(60));
    assert_eq!(count(&client, "SELECT count(v) FROM m"), 1);
    for levels in [126, 200] {
        let refused = client.query_raw("db0", &nested(levels)).body;
        assert!(refused.contains("deeper than") || !refused.contains("error"), "{refused}");
    }
    client.write("db0", "m,host=a v=1 1");
    assert_eq!(count(&client, "SELECT count(v) FROM m"), 2);
}

#[test]
fn hostile_bodies_get_errors_and_the_server_lives() {
    let (server, client) = server_with_db();
    let expect = |body: &[u8], status: u16, text: &str| {
        let answer = client.post("/write", &[("db", "db0")], body).unwrap();
        assert_eq!(answer.status, status, "{}", &answer.body[..answer.body.len().min(300)]);
        assert!(answer.body.contains(text), "{}", &answer.body[..answer.body.len().min(300)]);
    };
    expect(b"\x00\x01\x02garbage", 400, "unable to parse");
    expect(b"m v=\"\xff\xfe\" 1", 400, "UTF-8");
    expect(b"m,time=x v=1 1", 400, "time");
    expect(b"m time=1 1", 400, "time");
    let many_tags: String = (0..10_000).map(|i| format!(",t{i}=v")).collect();
    let answer =
        client.post("/write", &[("db", "db0")], format!("tags{many_tags} v=1 1").as_bytes()).unwrap();
    assert!(answer.status == 204 || answer.status == 400, "{}", answer.status);
    let huge = vec![b'x'; 100_000_000];
    let status = client.post("/write", &[("db", "db0")], &huge).map(|a| a.status);
    // The server may close the connection before it has read all of it.
    assert!(status.as_ref().is_ok_and(|s| *s == 413 || *s == 400) || status.is_err(), "{status:?}");
    let client = server.client();
    client.write("db0", "m v=1 1");
    assert_eq!(count(&client, "SELECT count(v) FROM m"), 1);
}

/// Names that mean something elsewhere.
const NAMES: [&str; 16] = [
    "'; DROP TABLE x; --",
    "back`tick",
    "quo\"te",
    "'",
    "back\\slash",
    "per%cent {x:String}",
    "time()",
    "日本",
    "a,b",
    "a=b",
    "select",
    "/re/",
    "$p",
    "tab\there",
    "\u{1}control",
    "NUL\0inside",
];

fn in_line(name: &str) -> String {
    name.chars().flat_map(|c| if " ,=".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn quoted(name: &str, quote: char) -> String {
    let inner = name.replace('\\', "\\\\").replace(quote, &format!("\\{quote}")).replace('\n', "\\n");
    format!("{quote}{inner}{quote}")
}

fn ident(name: &str) -> String {
    quoted(name, '"')
}

/// Whether some row of the answer has this text.
fn has(client: &Client, statement: &str, text: &str) -> bool {
    client.rows("db0", statement).iter().flatten().any(|cell| cell.as_str() == Some(text))
}

#[test]
fn names_of_measurements_tags_and_fields_are_only_names() {
    let (_server, client) = server_with_db();
    // InfluxQL cannot spell a NUL: such names can be written and listed.
    for (i, name) in NAMES.iter().enumerate() {
        let measurement = name.replace(',', "\\,").replace(' ', "\\ ");
        client.write("db0", &format!("{measurement},host=a v={i} 1"));
        assert!(has(&client, "SHOW MEASUREMENTS", name), "{name}");
        let (table, part) = (format!("m{i}"), in_line(name));
        client.write("db0", &format!("{table},{part}={part},host=a {part}={i},text=\"x\" 1"));
        let tag_keys = format!("SHOW TAG KEYS FROM {table}");
        assert!(has(&client, &tag_keys, name), "{name}");
        assert!(has(&client, &format!("SHOW FIELD KEYS FROM {table}"), name), "{name}");
        if name.contains('\0') {
            continue;
        }
        let (name_q, value_q) = (ident(name), quoted(name, '\''));
        assert_eq!(client.rows("db0", &format!("SELECT v FROM {name_q}")).len(), 1, "{name}");
        assert!(has(&client, &format!("SHOW TAG VALUES FROM {table} WITH KEY = {name_q}"), name), "{name}");
        let values = format!("SELECT {name_q}::field FROM {table} WHERE {name_q}::tag = {value_q}");
        assert_eq!(client.rows("db0", &values)[0][1].as_u64(), Some(i as u64), "{name}");
        let grouped = client.query("db0", &format!("SELECT text FROM {table} GROUP BY {name_q}"));
        assert_eq!(grouped["results"][0]["series"][0]["tags"][name].as_str(), Some(*name), "{name}");
        client.query("db0", &format!("DROP SERIES FROM {table} WHERE {name_q}::tag = {value_q}"));
        assert!(client.rows("db0", &tag_keys).is_empty(), "{name}");
        client.query("db0", &format!("DROP MEASUREMENT {name_q}"));
        assert!(!has(&client, "SHOW MEASUREMENTS", name), "{name}");
    }
}

#[test]
fn names_of_databases_policies_and_users_are_only_names() {
    let (_server, client) = server_with_db();
    for name in NAMES.iter().filter(|name| !name.contains('\0')) {
        let name_q = ident(name);
        client.query("", &format!("CREATE USER {name_q} WITH PASSWORD {}", quoted(name, '\'')));
        assert!(has(&client, "SHOW USERS", name), "{name}");
        let created = client.query_raw("", &format!("CREATE DATABASE {name_q}"));
        if name.contains(['/', '\\']) || name.contains(char::is_control) {
            assert!(created.body.contains("invalid name"), "{name}: {}", created.body);
            continue;
        }
        assert!(!created.body.contains("error"), "{name}: {}", created.body);
        client.query("", &format!("CREATE RETENTION POLICY {name_q} ON {name_q} DURATION INF REPLICATION 1"));
        let target = [("db", *name), ("rp", *name)];
        assert_eq!(client.post("/write", &target, b"m v=1 1").unwrap().status, 204, "{name}");
        let rows = client.rows("db0", &format!("SELECT v FROM {name_q}.{name_q}.m"));
        assert_eq!(rows.len(), 1, "{name}");
        client.query("", &format!("GRANT READ ON {name_q} TO {name_q}"));
        assert!(has(&client, &format!("SHOW GRANTS FOR {name_q}"), name), "{name}");
        client.query("", &format!("DROP DATABASE {name_q}"));
        client.query("", &format!("DROP USER {name_q}"));
        assert!(!has(&client, "SHOW DATABASES", name) && !has(&client, "SHOW USERS", name), "{name}");
    }
    let long = "n".repeat(256);
    let refused = client.query_raw("", &format!("CREATE DATABASE {long}"));
    assert!(refused.body.contains("name too long"), "{}", refused.body);
}

#[test]
fn names_may_be_long() {
    let (_server, client) = server_with_db();
    // A series key of the three together stays below InfluxDB's limit of 65,535 bytes.
    let long = "n".repeat(20_000);
    client.write("db0", &format!("{long},t={long} {long}=1 1"));
    client.write("db0", &format!("m,{long}=x text=\"{}\" 1", "s".repeat(64 << 10)));
    assert_eq!(client.rows("db0", &format!("SELECT {long} FROM {long} WHERE t = '{long}'")).len(), 1);
    assert!(has(&client, "SHOW TAG KEYS FROM m", &long));
    let text = client.rows("db0", &format!("SELECT text FROM m GROUP BY {long}"))[0][1].to_string();
    assert_eq!(text.len(), (64 << 10) + 2);
    for line in [format!("{} v=1 1", "n".repeat(64 << 10)), format!("m,t={} v=1 1", "n".repeat(64 << 10))] {
        let refused = client.try_write("db0", &line).unwrap();
        assert_eq!(refused.status, 400);
        assert!(
            refused.body.contains("max key length exceeded"),
            "{}",
            &refused.body[refused.body.len() - 200..]
        );
    }
}

/// InfluxDB takes a longer series apart and puts it together again, and says so.
#[test]
fn a_series_of_more_than_ten_thousand_rows_is_marked_as_partial() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    let rows = |count: usize| -> String {
        (0..count).map(|i| format!("m,host={} v={i}i,w={i}i {i}\nk,n={i} v=1i 1\n", i % 2)).collect()
    };
    client.write("d", &rows(10_001));
    let marked = [
        ("SELECT v FROM m LIMIT 10000", false),
        ("SELECT v FROM m", true),
        ("SELECT v FROM m ORDER BY time DESC LIMIT 10001", true),
        ("SELECT v FROM m GROUP BY host", false),
        ("SELECT mean(v) FROM m", false),
        ("SELECT derivative(v) FROM m", false),
        ("SELECT count(v) FROM m WHERE time >= 0 AND time <= 10000 GROUP BY time(1ns)", true),
        ("SELECT v FROM (SELECT v FROM m)", true),
        ("SHOW SERIES LIMIT 10000", false),
        ("SHOW SERIES", true),
        ("SHOW TAG VALUES WITH KEY = n", false),
    ];
    for (statement, expected) in marked {
        let answer = client.query("d", statement);
        let results = &answer["results"][0];
        assert_eq!(results["series"][0]["partial"].as_bool().unwrap_or(false), expected, "{statement}");
        assert!(results["partial"].is_null(), "{statement}");
    }
}

#[test]
fn a_string_of_more_than_a_mebibyte_is_refused_and_its_neighbours_are_not() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    let line = |length: usize, time: i64| format!("m s=\"{}\" {time}\n", "x".repeat(length));
    let answer =
        client.try_write("d", &[line(1 << 20, 1), line((1 << 20) + 1, 2), line(1, 3)].concat()).unwrap();
    let expected = r#"{"error":"partial write: input field \"s\" on measurement \"m\" is too long, 1048577 \u003e 1048576 dropped=1"}"#;
    assert_eq!((answer.status, answer.body.trim_end()), (400, expected));
    assert_eq!(client.rows("d", "SELECT count(s) FROM m")[0][1], 2);
}

/// After a start the head is filled from the engine: answers are the same as without it, also when points are written and
/// deleted then.
#[test]
fn a_filled_head_answers_as_the_engine_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[("FLUSH__HEAD_BYTES", "0")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let line = |n: i64| {
        let text = if n % 7 == 0 { format!(",s=\"t{n}\"") } else { String::new() };
        format!("m,host=h{} a={n},b={}i{text} {}\n", n % 3, n * 2, n * 10_000_000_000)
    };
    let rows = 3_000;
    client.write("db0", &(0..rows).map(line).collect::<String>());
    let queries = [
        "SELECT * FROM m",
        "SELECT mean(a), count(s), last(b) FROM m WHERE time >= 0 AND time < 40000s GROUP BY time(10m), host fill(none)",
        "SELECT first(a), max(b), count(a) FROM m",
        "SELECT last(s) FROM m GROUP BY host",
        "SELECT a FROM m WHERE host =~ /h[12]/ AND b > 100 ORDER BY time DESC LIMIT 5",
    ];
    let answers = |client: &Client| queries.map(|query| client.query("db0", query).to_string());
    let before = answers(&client);
    assert_eq!(server.stop(), Some(0));

    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    wait_for_metric(&client, &format!("hyperbytedb_head_filled_rows_total {rows}"));
    assert_eq!(answers(&client), before);
    client.write(
        "db0",
        &format!(
            "m,host=h1 a=-1 10000000000\nm,host=h1 s=\"late\" 70000000000\nm,host=h2 a=5 {}",
            rows * 10_000_000_000
        ),
    );
    client.query("db0", "DELETE FROM m WHERE host = 'h0' AND time < 3000s");
    let changed = answers(&client);
    assert_ne!(changed, before);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &[("FLUSH__HEAD_BYTES", "0")]);
    assert_eq!(answers(&server.client()), changed);
}

/// How many rows EXPLAIN ANALYZE says a tier has answered with.
fn rows_from(client: &Client, tier: &str, select: &str) -> u64 {
    let lines = client.rows("db0", &format!("EXPLAIN ANALYZE {select}"));
    let label = format!("rows from {tier}: ");
    let count = lines.iter().find_map(|line| line[0].as_str()?.strip_prefix(&label)).expect("a count");
    count.parse().expect("a number")
}

fn wait_for_metric(client: &Client, line: &str) {
    until(line, Duration::from_secs(30), || client.get("/metrics").unwrap().body.contains(line));
}

/// A range that is older than the head, with points that are not flushed: both tiers answer together.
#[test]
fn a_range_across_both_tiers_has_every_point_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[("FLUSH__HEAD_BYTES", "0")]);
    server.client().query("", "CREATE DATABASE db0");
    let line = |n: i64| format!("m,host=h{},zone=z{} a={n} {}\n", n % 3, n % 2, n * 10_000_000_000);
    server.client().write("db0", &(0..3_000).map(line).collect::<String>());
    assert_eq!(server.stop(), Some(0));

    // Too small for all: the head has what comes now, and a part of what was there.
    let settings = [NO_FLUSH[0], ("FLUSH__SMALL_INTERVAL_SECS", "3600"), ("FLUSH__HEAD_BYTES", "60000")];
    let queries = [
        "SELECT * FROM m",
        "SELECT * FROM m ORDER BY time DESC",
        "SELECT a FROM m GROUP BY host, zone",
        "SELECT a FROM m GROUP BY host ORDER BY time DESC LIMIT 4",
        "SELECT mean(a), count(a) FROM m WHERE time >= 0 AND time < 40000s GROUP BY time(7m)",
        "SELECT max(a) FROM m WHERE time >= 0 AND time < 40000s GROUP BY time(10m), host fill(none) ORDER BY time DESC",
        "SELECT count(a), sum(a) FROM m",
    ];
    let answers = |client: &Client| queries.map(|query| client.query("db0", query).to_string());
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.write("db0", &(3_000..3_500).map(line).collect::<String>());
    let flushed = |client: &Client| {
        let metrics = client.get("/metrics").unwrap().body;
        metrics.lines().find(|line| line.starts_with("hyperbytedb_flush_points_total")).map(str::to_owned)
    };
    // It is filled with all there is at first; then what does not fit goes.
    wait_for_metric(&client, "hyperbytedb_head_filled_rows_total 3000");
    let all = "SELECT * FROM m";
    until("the oldest have left the head", Duration::from_secs(30), || {
        rows_from(&client, "the engine", all) > 0
    });
    assert!(rows_from(&client, "memory", all) >= 500);
    // All but the last, which has no windows.
    for query in &queries[..queries.len() - 1] {
        client.query("db0", query);
    }
    assert_eq!(flushed(&client).as_deref(), Some("hyperbytedb_flush_points_total 0"), "a query flushed");
    let both = answers(&client);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &[("FLUSH__HEAD_BYTES", "0")]);
    assert_eq!(answers(&server.client()), both);
}

/// EXPLAIN says who answers.
#[test]
fn explain_names_the_tier() {
    for (head_bytes, tier) in [("1000000", "from memory"), ("0", "from the engine: SELECT")] {
        let server =
            Server::start_with(&[("FLUSH__INTERVAL_SECS", "3600"), ("FLUSH__HEAD_BYTES", head_bytes)]);
        let client = server.client();
        client.query("", "CREATE DATABASE db0");
        client.write("db0", "m,host=a v=1 1\n");
        for select in ["SELECT v FROM m", "SELECT mean(v) FROM m"] {
            let plan = serde_json::to_string(&client.rows("db0", &format!("EXPLAIN {select}"))).unwrap();
            assert!(plan.contains(tier), "{plan}");
            let rows = ["memory", "the engine"].map(|tier| rows_from(&client, tier, select));
            assert_eq!(rows, if head_bytes == "0" { [0, 1] } else { [1, 0] }, "{select}");
        }
    }
}
