//! Backups restored into running servers and as data folders: what comes back, and in which order.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::backups::{SMALL_FLUSHES, back_up, everything, refused, restored, run, text};
use support::{Client, Server, until};

#[test]
fn databases_are_restored_into_a_running_server() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query(
        "",
        "CREATE DATABASE d WITH DURATION INF SHARD DURATION 2h NAME first; CREATE DATABASE other; \
         CREATE RETENTION POLICY \"a b\" ON d DURATION 52w REPLICATION 1 SHARD DURATION 1d; \
         CREATE CONTINUOUS QUERY cq ON d BEGIN SELECT mean(v) INTO d.\"a b\".target FROM d.first.m GROUP BY time(1m), * END",
    );
    client.write(
        "d",
        "m,h=a\\ b,i=c f=1.5,i=7i,s=\"x\\\"y\",b=true,h=\"field\" 1\nm f=-0.0 2\n\"q\",t=\\ü v=1 3",
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let in_policy =
        client.post("/write", &[("db", "d"), ("rp", "a b")], format!("m,h=z f=2 {now}").as_bytes());
    assert_eq!(in_policy.unwrap().status, 204);
    client.write("other", "x v=1 1");
    let backup = back_up(&server, "backup", &["--database", "d"]);
    let url = server.url();
    let said = refused(&["restore", "--url", &url, "--input", text(&backup), "--database", "d"]);
    assert!(said.contains("the server has a database d already"), "{said}");
    let said =
        refused(&["restore", "--url", &url, "--input", text(&backup), "--database", "other", "--as", "o2"]);
    assert!(said.contains("the points of d alone"), "{said}");
    let said = run(&["restore", "--url", &url, "--input", text(&backup), "--database", "d", "--as", "e"]);
    assert!(said.contains("4 points"), "{said}");
    for statement in [
        "SELECT * FROM /.*/ GROUP BY *",
        "SELECT * FROM \"a b\".m GROUP BY *",
        "SHOW FIELD KEYS",
        "SHOW SERIES",
    ] {
        assert_eq!(client.query("e", statement), client.query("d", statement), "{statement}");
    }
    let policies = |db| client.query("", &format!("SHOW RETENTION POLICIES ON {db}"));
    assert_eq!(policies("e"), policies("d"));
    let queries = client.query("", "SHOW CONTINUOUS QUERIES").to_string();
    assert!(
        queries.contains(
            "CREATE CONTINUOUS QUERY cq ON e BEGIN SELECT mean(v) INTO e.\\\"a b\\\".target FROM e.first.m"
        ),
        "{queries}"
    );

    // As a data folder it is that database alone.
    let (_dir, copy) = restored(&backup);
    assert_eq!(everything(&copy.client(), "d"), everything(&client, "d"));
    assert_eq!(copy.client().rows("", "SHOW DATABASES"), [["d"]]);
}

fn nanoseconds_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    i64::try_from(now).unwrap()
}

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

#[test]
fn points_that_expire_during_a_restore_are_counted() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query("", "CREATE DATABASE d WITH DURATION 1h SHARD DURATION 1h NAME hour");
    // One expires every millisecond, for half a minute; one each hour does not in this test.
    let first = nanoseconds_now() - HOUR + 2 * SECOND;
    let expiring: String = (0..30_000).map(|at| format!("m v={at}i {}\n", first + at * 1_000_000)).collect();
    client.write("d", &expiring);
    client.write("d", &format!("m v=-1i {}", nanoseconds_now()));
    let visible = || client.rows("d", "SELECT count(v) FROM m")[0][1].as_u64().unwrap();
    until("the first points expire", Duration::from_secs(60), || visible() < 30_001);
    let backup = back_up(&server, "backup", &[]);
    let said =
        run(&["restore", "--url", &server.url(), "--input", text(&backup), "--database", "d", "--as", "e"]);
    let number = |before: &str, after: &str| -> u64 {
        let rest = said.split_once(before).unwrap_or_else(|| panic!("{said}")).1;
        rest.split_once(after).unwrap_or_else(|| panic!("{said}")).0.parse().unwrap()
    };
    let (written, expired) = (number("database e: ", " points"), number("points, ", " points had expired"));
    assert_eq!(written + expired, 30_001, "{said}");
    assert!(expired > 0 && written > 0, "{said}");
    assert_eq!(client.rows("e", "SELECT v FROM m WHERE v < 0").len(), 1);

    // The same points under a policy that keeps them.
    client.query("", "ALTER RETENTION POLICY hour ON d DURATION 2h; DROP DATABASE e");
    let backup = back_up(&server, "longer", &[]);
    let said =
        run(&["restore", "--url", &server.url(), "--input", text(&backup), "--database", "d", "--as", "e"]);
    assert!(said.contains("database e: 30001 points\n"), "{said}");
}

#[test]
fn write_limits_of_policies_come_behind_the_points() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query(
        "",
        "CREATE DATABASE d; CREATE RETENTION POLICY other ON d DURATION 0s REPLICATION 1 SHARD DURATION 1d",
    );
    let ahead = nanoseconds_now() + 5 * HOUR;
    client.write("d", &format!("m v=1 1\nm v=2 {ahead}"));
    let other =
        client.post("/write", &[("db", "d"), ("rp", "other")], format!("m v=3 1\nm v=4 {ahead}").as_bytes());
    assert_eq!(other.unwrap().status, 204);
    client.query(
        "",
        "ALTER RETENTION POLICY autogen ON d PAST LIMIT 1h; ALTER RETENTION POLICY other ON d FUTURE LIMIT 2h PAST LIMIT 3h",
    );
    let backup = back_up(&server, "backup", &[]);
    let said =
        run(&["restore", "--url", &server.url(), "--input", text(&backup), "--database", "d", "--as", "e"]);
    assert!(said.contains("database e: 4 points\n"), "{said}");
    for statement in ["SELECT * FROM m", "SELECT * FROM other.m"] {
        assert_eq!(client.query("e", statement), client.query("d", statement), "{statement}");
    }
    let policies = |db| client.query("", &format!("SHOW RETENTION POLICIES ON {db}"));
    assert_eq!(policies("e"), policies("d"));
    let refused = client.try_write("e", "m v=1 2").unwrap();
    assert!(refused.body.contains("points beyond retention policy"), "{refused:?}");
}

#[test]
fn an_interrupted_restore_goes_on() {
    let source = Server::start_with(SMALL_FLUSHES);
    let client = source.client();
    client.query(
        "",
        "CREATE DATABASE d; CREATE DATABASE \"second one\"; CREATE USER joe WITH PASSWORD 'j'; GRANT READ ON d TO joe; \
         CREATE CONTINUOUS QUERY cq ON d BEGIN SELECT mean(v) INTO t FROM m GROUP BY time(1m) END; \
         CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ANY 'http://127.0.0.1:1'; \
         CREATE MATERIALIZED VIEW view ON d AS SELECT sum(v) INTO u FROM m GROUP BY time(1m)",
    );
    client.write("d", "m v=1 1\nm v=2 2");
    let many: String = (0..50).map(|at| format!("m,host=h{at} v={at} {at}\n")).collect();
    client.write("second one", &many);
    for database in ["d", "\"second one\""] {
        client.query("", &format!("ALTER RETENTION POLICY autogen ON {database} PAST LIMIT 1h"));
    }
    let backup = back_up(&source, "backup", &[]);

    let dir = tempfile::tempdir().unwrap();
    let target = Server::start_in(dir.path(), &[("LIMITS__MAX_SERIES_PER_DATABASE", "10")]);
    let said = refused(&["restore", "--url", &target.url(), "--input", text(&backup)]);
    assert!(said.contains("max-series-per-database") && said.contains("--resume"), "{said}");
    target.stop();
    let target = Server::start_in(dir.path(), &[]);
    let url = target.url();
    let said = refused(&["restore", "--url", &url, "--input", text(&backup)]);
    assert!(said.contains("has a database d already") && said.contains("--resume"), "{said}");
    // Twice: also one that came to its end changes nothing.
    for _ in 0..2 {
        run(&["restore", "--url", &url, "--input", text(&backup), "--resume"]);
        let copy = target.client();
        for statement in [
            "SHOW RETENTION POLICIES ON d",
            "SHOW RETENTION POLICIES ON \"second one\"",
            "SHOW CONTINUOUS QUERIES",
            "SHOW SUBSCRIPTIONS",
            "SHOW GRANTS FOR joe",
        ] {
            assert_eq!(
                copy.query_raw("", statement).body,
                client.query_raw("", statement).body,
                "{statement}"
            );
        }
        assert_eq!(everything(&copy, "second one"), everything(&client, "second one"));
        assert_eq!(copy.query("d", "SELECT v FROM m"), client.query("d", "SELECT v FROM m"));
        assert!(copy.query("", "SHOW MATERIALIZED VIEWS").to_string().contains("SELECT sum(v)"));
    }

    // Another database of that name is left as it is.
    let limits = |client: &Client| client.query("", "SHOW RETENTION POLICIES ON d");
    target.client().query("", "ALTER RETENTION POLICY autogen ON d DURATION 52w");
    let before = limits(&target.client());
    let said = refused(&["restore", "--url", &url, "--input", text(&backup), "--resume"]);
    assert!(said.contains("its retention policy autogen is another"), "{said}");
    assert_eq!(limits(&target.client()), before);
}

#[test]
fn one_database_comes_without_users() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query(
        "",
        "CREATE DATABASE d; CREATE DATABASE other; CREATE USER root WITH PASSWORD 'r' WITH ALL PRIVILEGES; \
         CREATE USER joe WITH PASSWORD 'j'; GRANT READ ON d TO joe; GRANT ALL ON other TO joe",
    );
    client.write("d", "m v=1 1");
    client.write("other", "m v=1 1");
    let one = back_up(&server, "one", &["--database", "d"]);
    let dir = tempfile::tempdir().unwrap();
    let said = run(&["restore", "--input", text(&one), "--data-dir", text(&dir.path().join("data"))]);
    assert!(said.contains("not restored: the 2 users"), "{said}");
    let folder = Server::start_in(dir.path(), &[]);
    let target = Server::start();
    let said = run(&["restore", "--input", text(&one), "--url", &target.url()]);
    assert!(said.contains("not restored: the 2 users"), "{said}");
    for copy in [folder.client(), target.client()] {
        assert!(copy.rows("", "SHOW USERS").is_empty());
        assert_eq!(copy.rows("", "SHOW DATABASES"), [["d"]]);
        assert_eq!(everything(&copy, "d"), everything(&client, "d"));
    }
    let all = back_up(&server, "all", &[]);
    let (_dir, folder) = restored(&all);
    let target = Server::start();
    let said = run(&["restore", "--input", text(&all), "--url", &target.url()]);
    assert!(said.contains("restored user joe") && !said.contains("not restored"), "{said}");
    for copy in [folder.client(), target.client()] {
        for statement in ["SHOW USERS", "SHOW GRANTS FOR joe"] {
            assert_eq!(copy.query("", statement), client.query("", statement), "{statement}");
        }
    }
}

#[test]
fn users_and_what_works_by_itself_are_restored_into_a_running_server() {
    let text_of = |client: &Client, statement: &str| client.query_raw("", statement).body;
    // Its view never gets to work.
    let server = Server::start_with(&[("VIEWS__INTERVAL_MS", "3600000")]);
    let client = server.client();
    client.query(
        "",
        "CREATE DATABASE d; CREATE DATABASE other; \
         CREATE MATERIALIZED VIEW v ON d AS SELECT sum(v) INTO d.autogen.t FROM d.autogen.m GROUP BY time(1m); \
         CREATE MATERIALIZED VIEW out ON d AS SELECT sum(v) INTO other.autogen.t FROM d.autogen.m GROUP BY time(1m); \
         CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ANY 'http://127.0.0.1:1', 'udp://127.0.0.1:2'; \
         CREATE USER root WITH PASSWORD 'r' WITH ALL PRIVILEGES; CREATE USER joe WITH PASSWORD 'j\\'s'; \
         GRANT READ ON d TO joe; GRANT ALL ON other TO joe",
    );
    client.write("d", "m v=1 1600000000000000000\nm v=2 1600000001000000000\nm v=4 1600000100000000000");
    let backup = back_up(&server, "backup", &[]);

    let admin = [("AUTH__ENABLED", "true"), ("AUTH__ADMIN_USER", "adm"), ("AUTH__ADMIN_PASSWORD", "a")];
    let target = Server::start_with(&admin);
    let (url, input) = (target.url(), text(&backup));
    let said = run(&["restore", "--url", &url, "--user", "adm", "--password", "a", "--input", input]);
    assert!(said.contains("restored user joe") && !said.contains("not restored"), "{said}");
    let ask = |user: &str, password: &str, statement: &str| {
        let query = [("u", user), ("p", password), ("db", "d"), ("q", statement)];
        target.client().post("/query", &query, b"").unwrap()
    };
    assert_eq!(ask("joe", "j", "SELECT v FROM m").status, 401);
    until("the view's windows", Duration::from_secs(60), || {
        let sums = ask("joe", "j's", "SELECT sum FROM t").body;
        sums.contains("3]") && sums.contains("4]")
    });
    until("the windows elsewhere", Duration::from_secs(60), || {
        ask("joe", "j's", "SELECT sum FROM other.autogen.t").body.contains("4]")
    });
    for statement in ["SHOW SUBSCRIPTIONS", "SHOW GRANTS FOR joe"] {
        assert_eq!(ask("root", "r", statement).body, text_of(&client, statement), "{statement}");
    }
    assert!(ask("root", "r", "SHOW MATERIALIZED VIEWS").body.contains("INTO other.autogen.t"));
    assert_eq!(
        ask("adm", "a", "SHOW USERS").body.matches("true").count(),
        2,
        "adm and root are admins, joe is none"
    );

    // A copy under another name keeps to itself.
    let said = run(&["restore", "--url", &server.url(), "--input", input, "--database", "d", "--as", "e"]);
    assert!(said.contains("not restored: subscription s"), "{said}");
    assert!(said.contains("not restored: materialized view out"), "{said}");
    assert!(said.contains("not restored: the 2 users"), "{said}");
    let views = text_of(&client, "SHOW MATERIALIZED VIEWS");
    assert!(views.contains("INTO e.autogen.t FROM e.autogen.m"), "{views}");
}
