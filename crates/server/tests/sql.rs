//! SQL for operators: what it can read, and that it can do nothing else.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Answer, Server, until};

const ENABLED: [(&str, &str); 1] = [("SQL__ENABLED", "always")];

fn sql(server: &Server, text: &str, parameters: &[(&str, &str)]) -> Answer {
    let mut query = vec![("database", "db")];
    query.extend_from_slice(parameters);
    server.client().post("/api/v1/sql", &query, text.as_bytes()).unwrap()
}

/// The answer as tab-separated text.
fn tsv(server: &Server, text: &str, parameters: &[(&str, &str)]) -> String {
    let answer = sql(server, text, parameters);
    assert_eq!(answer.status, 200, "{text}: {}", answer.body);
    answer.body
}

#[test]
fn what_there_is_can_be_asked() {
    let server = with_points(&ENABLED);
    assert_eq!(tsv(&server, "SHOW DATABASES", &[]), "db\nsecret\n");
    assert_eq!(tsv(&server, "show tables;", &[]), "\"odd name\"\nm\n");
    let columns = "time\tDateTime64(9, \\'UTC\\')\t\t\t\t\t\nhost\tString\t\t\t\t\t\n";
    for text in ["DESCRIBE TABLE m", "desc m", "DESCRIBE `m`"] {
        let answer = tsv(&server, text, &[]);
        assert!(answer.starts_with(columns) && answer.contains("v\tNullable(Float64)\t"), "{answer}");
    }
    let json = sql(&server, "DESCRIBE `\"odd name\"` FORMAT JSON", &[]).json();
    let names: Vec<_> =
        json["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["time", "host_1", "host", "time2"]);
    let unknown = sql(&server, "DESCRIBE o", &[]);
    assert!(unknown.status == 400 && unknown.body.contains("measurement not found: o"), "{}", unknown.body);
    tsv(&server, "SELECT v FROM m WHERE n IN (1, 2, 3)", &[]);
    tsv(&server, "SELECT v FROM m WHERE n IN (4)", &[]);
    sql(&server, "SELECT nothing FROM m", &[]);
    let rows = server.client().get_with("/api/v1/statements", &[("stmt_type", "SQL")]).unwrap().json();
    let of = |text: &str| {
        let rows = rows["statements"].as_array().unwrap();
        let row = rows.iter().find(|row| row["normalized_query"] == text);
        row.map(|row| (row["exec_count"].as_u64(), row["error_count"].as_u64(), row["db"].clone()))
    };
    assert_eq!(of("SELECT v FROM m WHERE n IN ( ? )"), Some((Some(2), Some(0), "db".into())), "{rows}");
    assert_eq!(of("SELECT nothing FROM m"), Some((Some(1), Some(1), "db".into())), "{rows}");
}

fn with_points(settings: &[(&str, &str)]) -> Server {
    let server = Server::start_with(settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db; CREATE DATABASE secret; CREATE RETENTION POLICY week ON db DURATION 7d REPLICATION 1");
    client.write(
        "db",
        "m,host=a v=1.5,n=1i,s=\"x\",b=true 1500000000000000001\nm,host=b v=2 1500000001000000000",
    );
    client.write("db", "\"odd\\ name\",host=a host=1,time2=2 1500000000000000000");
    client.write("secret", "o v=42 1");
    server
}

#[test]
fn measurements_are_tables() {
    let server = with_points(&ENABLED);
    let all = tsv(&server, "SELECT * FROM m ORDER BY time", &[]);
    assert_eq!(
        all,
        "2017-07-14 02:40:00.000000001\ta\t1.5\t1\tx\ttrue\n2017-07-14 02:40:01.000000000\tb\t2\t\\N\t\\N\t\\N\n"
    );
    // What is written or deleted is seen at once, and a field that is written twice has its last value.
    let client = server.client();
    client.write("db", "m,host=b n=7i 1500000001000000000");
    client.write("db", "m,host=b v=3 1500000001000000000");
    assert_eq!(tsv(&server, "SELECT v, n FROM m WHERE host = 'b'", &[]), "3\t7\n");
    client.query("db", "DELETE FROM m WHERE host = 'a'");
    assert_eq!(tsv(&server, "SELECT count() FROM m;", &[]), "1\n");
    client.write("db", "m,host=c v=4 1500000002000000000");
    for (text, expected) in [
        ("SELECT `host`, host_1 FROM `\"odd name\"`", "1\ta\n"),
        ("SELECT host FROM (SELECT host FROM m UNION ALL SELECT host FROM m) ORDER BY host", "b\nb\nc\nc\n"),
        (
            "WITH m2 AS (SELECT host, v FROM m) SELECT m2.host FROM m2 JOIN m ON m.host = m2.host WHERE m.v > 3",
            "c\n",
        ),
        ("SELECT 'c' IN (SELECT host FROM m), (SELECT max(v) FROM m)", "1\t4\n"),
        (
            "SELECT toStartOfMinute(time) AS t, quantileExact(0.5)(v), sumIf(v, host = 'b') FROM m GROUP BY t",
            "2017-07-14 02:40:00\t4\t3\n",
        ),
        ("SELECT v FROM m WHERE time >= '2017-07-14 02:40:02'", "4\n"),
        (
            "SELECT row_number() OVER (ORDER BY time) AS n, lagInFrame(v) OVER (ORDER BY time) FROM m ORDER BY n",
            "1\t\\N\n2\t3\n",
        ),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT sum(n) FROM t",
            "6\n",
        ),
        ("SELECT 'it''s', 'a\\'b', 1.5e1, [1, 2][1], (1, 'x').2 -- a comment", "it\\'s\ta\\'b\t15\t1\tx\n"),
        (
            "SELECT toTypeName(time), toTypeName(v) FROM m LIMIT 1",
            "DateTime64(9, \\'UTC\\')\tNullable(Float64)\n",
        ),
        ("SELECT sum(number) FROM numbers(10)", "45\n"),
    ] {
        assert_eq!(tsv(&server, text, &[]), expected, "{text}");
    }
    let bound = [("param_h", "c'); DROP"), ("param_n", "[1,2]")];
    assert_eq!(tsv(&server, "SELECT {h:String}, {n:Array(Int64)}", &bound), "c\\'); DROP\t[1,2]\n");
    // ClickHouse's ways to name the format.
    assert_eq!(tsv(&server, "SELECT 1 AS a FORMAT CSVWithNames", &[]), "\"a\"\n1\n");
    let json = server
        .client()
        .get_with(
            "/api/v1/chdb",
            &[("db", "db"), ("query", "SELECT v FROM m LIMIT 1"), ("default_format", "JSON")],
        )
        .unwrap();
    assert_eq!(json.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(json.json()["rows"], 1);
}

/// `PORT` is a listener that must not hear of anybody, `OUT` a file that must not be made.
#[test]
fn nothing_else_can_be_reached() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/refused.txt");
    let cases = std::fs::read_to_string(cases).unwrap();
    let cases: Vec<&str> = cases.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    let server = with_points(&ENABLED);
    tsv(&server, "SELECT * FROM m", &[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let out = server.data_dir.join("out");
    let mut passed = Vec::new();
    for case in cases {
        let text = case.replace("PORT", &port).replace("OUT", out.to_str().unwrap());
        let answer = sql(&server, &text, &[("param_p", "system")]);
        if answer.status != 400 {
            passed.push(format!("{case}: {} {}", answer.status, answer.body));
        }
        assert!(!answer.body.contains("root:"), "{case}: {}", answer.body);
    }
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(listener.accept().is_err(), "a connection");
    assert!(!out.exists(), "a file");
    assert_eq!(tsv(&server, "SELECT count() FROM m", &[]), "2\n");
    assert_eq!(server.client().rows("secret", "SELECT v FROM o").len(), 1);
}

#[test]
fn statements_are_bounded_and_can_be_killed() {
    let settings = [("QUERY__TIMEOUT_SECS", "20"), ("SQL__MAX_RESULT_BYTES", "100000"), ENABLED[0]];
    let server = with_points(&settings);
    for large in ["repeat('x', 1000)", "randomPrintableASCII(1000)"] {
        let answer = sql(&server, &format!("SELECT {large} FROM numbers(1000)"), &[]);
        assert!(
            answer.status == 400 && answer.body.contains("sql.max_result_bytes"),
            "{large}: {}",
            answer.status
        );
    }
    let long = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)";
    std::thread::scope(|threads| {
        let running = threads.spawn(|| {
            let answer = sql(&server, long, &[]);
            (answer.status, answer.body, Instant::now())
        });
        let client = server.client();
        let find = || {
            let rows = client.rows("", "SHOW QUERIES");
            rows.into_iter().find(|row| row[1].as_str().is_some_and(|text| text.contains("sipHash64")))
        };
        until("the statement runs", Duration::from_secs(20), || find().is_some());
        let killed = Instant::now();
        client.query("", &format!("KILL QUERY {}", find().unwrap()[0]));
        let (status, body, ended) = running.join().unwrap();
        assert!(status == 400 && body.contains("query interrupted"), "{status} {body}");
        assert!(ended.duration_since(killed) < Duration::from_secs(5));
    });
}

#[test]
fn only_admins_may_send_it_and_without_authentication_nobody() {
    let server = with_points(&[]);
    let off = sql(&server, "SELECT 1", &[]);
    assert!(off.status == 403 && off.body.contains("sql.enabled"), "{}", off.body);
    let auth = [("AUTH__ENABLED", "true"), ("AUTH__ADMIN_USER", "adm"), ("AUTH__ADMIN_PASSWORD", "secret")];
    let server = Server::start_with(&auth);
    let client = server.client();
    let run = |user: &str, password: &str| {
        let query = [("query", "SELECT 1"), ("u", user), ("p", password)];
        client.get_with("/api/v1/sql", &query).unwrap().status
    };
    let make = [("q", "CREATE USER joe WITH PASSWORD 'p'"), ("u", "adm"), ("p", "secret")];
    assert_eq!(client.post("/query", &make, b"").unwrap().status, 200);
    assert_eq!((run("adm", "secret"), run("joe", "p"), run("joe", "x")), (200, 403, 401));
}
