//! Users and passwords on the built server. `auth_matrix.rs` has who may do what.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Answer, Server};

const ON: (&str, &str) = ("AUTH__ENABLED", "true");

fn ask(server: &Server, user: &str, password: &str, statement: &str) -> Answer {
    let query = [("u", user), ("p", password), ("q", statement), ("db", "a")];
    server.client().post("/query", &query, b"").expect("an answer")
}

fn run(server: &Server, statement: &str) -> String {
    let answer = ask(server, "adm", "s3cret", statement);
    assert!(answer.status == 200 && !answer.body.contains("error"), "{statement}: {}", answer.body);
    answer.body
}

fn with_admin(settings: &[(&str, &str)]) -> Server {
    let admin = [ON, ("AUTH__ADMIN_USER", "adm"), ("AUTH__ADMIN_PASSWORD", "s3cret")];
    let server = Server::start_with(&[&admin, settings].concat());
    run(&server, "CREATE DATABASE a");
    server
}

fn with_header(server: &Server, header: &str, path: &str) -> u16 {
    let request = ureq::get(format!("{}{path}", server.url())).header("Authorization", header);
    let config = request.config().http_status_as_error(false).build();
    config.call().expect("an answer").status().as_u16()
}

#[test]
fn the_first_admin_opens_the_server_and_the_configuration_opens_it_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(dir.path(), &[ON]);
    let client = server.client();
    let refused = client.query_raw("a", "SHOW DATABASES");
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("create admin user first or disable authentication"), "{}", refused.body);
    assert_eq!(client.query_raw("a", "CREATE USER joe WITH PASSWORD 'p'").status, 403);
    client.query("", "CREATE USER adm WITH PASSWORD 's3cret' WITH ALL PRIVILEGES");
    let unknown = client.query_raw("a", "SHOW DATABASES");
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.headers["www-authenticate"], "Basic realm=\"InfluxDB\"");
    run(&server, "CREATE DATABASE a; CREATE USER joe WITH PASSWORD 'p'; GRANT ALL ON a TO joe");
    run(&server, "DROP USER adm");
    let locked = ask(&server, "joe", "p", "SELECT v FROM m");
    assert!(locked.status == 403 && locked.body.contains("no user provided"), "{}", locked.body);
    let write = client.post("/write", &[("db", "a"), ("u", "joe"), ("p", "p")], b"m v=1").expect("write");
    assert!(
        write.status == 403 && write.body.contains("user is required to write to database"),
        "{}",
        write.body
    );
    assert_eq!(server.stop(), Some(0));

    let settings = [ON, ("AUTH__ADMIN_USER", "joe"), ("AUTH__ADMIN_PASSWORD", "new")];
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(ask(&server, "joe", "p", "SHOW USERS").status, 401);
    assert!(ask(&server, "joe", "new", "SHOW USERS").body.contains("[\"joe\",true]"));
}

#[test]
fn the_variables_of_influxdbs_image_set_up_a_first_start_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let variables = [
        ("INFLUXDB_HTTP_AUTH_ENABLED", "true"),
        ("INFLUXDB_DB", "a"),
        ("INFLUXDB_ADMIN_USER", "adm"),
        ("INFLUXDB_ADMIN_PASSWORD", "s3cret"),
        ("INFLUXDB_USER", "telegraf"),
        ("INFLUXDB_USER_PASSWORD", "t"),
        ("INFLUXDB_READ_USER", "grafana"),
        ("INFLUXDB_READ_USER_PASSWORD", "g"),
    ];
    let server = Server::start_in(dir.path(), &variables);
    let write = [("db", "a"), ("u", "telegraf"), ("p", "t")];
    assert_eq!(server.client().post("/write", &write, b"m v=1").expect("write").status, 204);
    assert_eq!(ask(&server, "grafana", "g", "SELECT v FROM m").status, 200);
    assert_eq!(ask(&server, "grafana", "g", "DELETE FROM m").status, 403);
    run(&server, "DROP USER grafana; SET PASSWORD FOR telegraf = 'x'");
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &variables);
    assert_eq!(ask(&server, "grafana", "g", "SHOW DATABASES").status, 401);
    assert_eq!(ask(&server, "telegraf", "x", "SHOW DATABASES").status, 200);
}

#[test]
fn every_way_to_log_in() {
    let server = with_admin(&[
        ("AUTH__SHARED_SECRET", "secret"),
        ("AUTH__PING_AUTH_ENABLED", "true"),
        ("AUTH__METRICS_AUTH_ENABLED", "true"),
    ]);
    // {"username":"adm","exp":32503680000}, signed with `secret`.
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VybmFtZSI6ImFkbSIsImV4cCI6MzI1MDM2ODAwMDB9";
    let bearer = format!("Bearer {token}.-_RDrUBUr2yxqIZKVBcbDRQ2yVfDXMKTm8Xmn1F3-pY");
    for header in ["Basic YWRtOnMzY3JldA==", "Token adm:s3cret", &bearer] {
        for (path, status) in [("/query?q=SHOW+USERS", 200), ("/ping", 204), ("/metrics", 200)] {
            assert_eq!(with_header(&server, header, path), status, "{header} {path}");
        }
    }
    let forged = bearer.replace("eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJub25lIn0");
    for header in ["Basic YWRtOnM=", "Token adm:s", "Token adm", "Bearer a.b.c", "Digest x", &forged] {
        for path in ["/query?q=SHOW+USERS", "/ping", "/metrics", "/query?q=SHOW+USERS&u=adm&p=wrong"] {
            assert_eq!(with_header(&server, header, path), 401, "{header} {path}");
        }
    }
    let in_the_body = server.client().post("/query", &[], b"q=SHOW+USERS&u=adm&p=s3cret").expect("an answer");
    assert_eq!(in_the_body.status, 401);
    assert_eq!(server.client().get("/health/ready").expect("an answer").status, 200);
}

#[test]
fn an_old_password_is_of_no_use() {
    let server = with_admin(&[]);
    run(&server, "CREATE USER joe WITH PASSWORD 'one'");
    assert_eq!(ask(&server, "joe", "one", "SHOW DATABASES").status, 200);
    run(&server, "SET PASSWORD FOR joe = 'two'");
    assert_eq!(ask(&server, "joe", "one", "SHOW DATABASES").status, 401);
    assert_eq!(ask(&server, "joe", "two", "SHOW DATABASES").status, 200);
    run(&server, "DROP USER joe");
    assert_eq!(ask(&server, "joe", "two", "SHOW DATABASES").status, 401);
    run(&server, "CREATE USER joe WITH PASSWORD 'three'");
    assert_eq!(ask(&server, "joe", "two", "SHOW DATABASES").status, 401);
    assert_eq!(ask(&server, "joe", "three", "SHOW DATABASES").status, 200);
}

#[test]
fn users_see_what_is_theirs() {
    let server = with_admin(&[]);
    run(&server, "CREATE DATABASE b; CREATE DATABASE c; CREATE USER joe WITH PASSWORD 'p'");
    run(&server, "GRANT READ ON a TO joe; GRANT WRITE ON b TO joe");
    for database in ["a", "c"] {
        run(
            &server,
            &format!(
                "CREATE CONTINUOUS QUERY q ON {database} BEGIN SELECT mean(v) INTO {database}..t FROM {database}..m GROUP BY time(1h) END"
            ),
        );
    }
    let databases = ask(&server, "joe", "p", "SHOW DATABASES").body;
    assert!(databases.contains("[[\"a\"],[\"b\"]]"), "{databases}");
    let queries = ask(&server, "joe", "p", "SHOW CONTINUOUS QUERIES").body;
    assert!(queries.contains("\"a\"") && !queries.contains("\"c\""), "{queries}");
    assert!(run(&server, "SHOW CONTINUOUS QUERIES").contains("\"c\""));
}

#[test]
fn no_password_is_logged_or_shown() {
    let server = with_admin(&[("LOGGING__LEVEL", "trace")]);
    run(&server, "CREATE USER joe WITH PASSWORD 'hush1'; SET PASSWORD FOR joe = 'hush2'");
    let refused = ask(&server, "joe", "hush2", "set password for joe = 'hush3'");
    assert!(refused.status == 403 && refused.body.contains("[REDACTED]") && !refused.body.contains("hush"));
    let warned =
        server.client().get("/query?u=adm&p=s3cret&q=set+password+for+joe='hush4'").expect("an answer");
    assert!(warned.body.contains("[REDACTED]") && !warned.body.contains("hush"), "{}", warned.body);
    assert_eq!(ask(&server, "joe", "hush5", "SHOW DATABASES").status, 401);
    let log = server.log();
    assert!(log.contains("listening") && !log.contains("hush") && !log.contains("s3cret"));
}

#[test]
fn wrong_logins_keep_nobody_waiting_who_is_known() {
    let server = with_admin(&[]);
    run(&server, "CREATE USER joe WITH PASSWORD 'p'");
    assert_eq!(ask(&server, "joe", "p", "SHOW DATABASES").status, 200);
    let flooding = AtomicBool::new(true);
    let (mut taken, mut new_login) = (Vec::new(), Duration::ZERO);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (server, flooding) = (&server, &flooding);
            scope.spawn(move || {
                for number in (0..).take_while(|_| flooding.load(Ordering::Relaxed)) {
                    let user = if thread % 2 == 0 { "joe" } else { "jim" };
                    let answer = ask(server, user, &format!("wrong {thread} {number}"), "SHOW DATABASES");
                    assert!([401, 503].contains(&answer.status), "{}", answer.body);
                }
            });
        }
        for _ in 0..100 {
            let started = Instant::now();
            assert_eq!(ask(&server, "joe", "p", "SHOW DATABASES").status, 200);
            taken.push(started.elapsed());
        }
        let started = Instant::now();
        run(&server, "CREATE USER new WITH PASSWORD 'p'");
        assert_eq!(ask(&server, "new", "p", "SHOW DATABASES").status, 200);
        new_login = started.elapsed();
        flooding.store(false, Ordering::Relaxed);
    });
    // On a busy machine one or the other may be late.
    taken.sort();
    assert!(
        taken[80] < Duration::from_secs(1) && new_login < Duration::from_secs(10),
        "{taken:?} {new_login:?}"
    );
}

#[test]
fn an_unknown_user_is_refused_as_slowly_as_a_known_one() {
    let server = with_admin(&[]);
    let time = |user: &str| {
        let mut times: Vec<Duration> = (0..9)
            .map(|number| {
                let started = Instant::now();
                assert_eq!(ask(&server, user, &format!("wrong {number}"), "SHOW DATABASES").status, 401);
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[4]
    };
    let (known, unknown) = (time("adm"), time("nobody"));
    assert!(known < 3 * unknown && unknown < 3 * known, "{known:?} {unknown:?}");
    println!("a wrong password takes {known:?}, an unknown user {unknown:?}");
}
