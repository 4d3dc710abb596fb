//! ClickHouse servers as the engine.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use hyperbytedb_clickhouse_node::Nodes;
use support::{Server, borrowed, database, engine_answers, until};

const LIMIT: Duration = Duration::from_secs(30);

fn settings(nodes: &Nodes) -> Vec<(&'static str, String)> {
    engine_answers(nodes.settings())
}

fn start(nodes: &Nodes) -> Server {
    Server::start_with(&borrowed(&settings(nodes)))
}

/// Points of 40 series, ten of each.
fn points(value: i64) -> String {
    let point =
        |n: i64| format!("m,host=h{},zone=z{} v={value}i,w={}.5 {}\n", n % 40, n % 3, n, n * 1_000_000_000);
    (0..400).map(|n| point(n * 3 % 400)).collect()
}

fn number(rows: &[Vec<serde_json::Value>]) -> f64 {
    rows[0][1].as_f64().unwrap()
}

#[test]
fn one_server_and_two_shards_answer_as_one_engine() {
    for nodes in [Nodes::single(), Nodes::start(2, 1)] {
        let server = start(&nodes);
        let client = server.client();
        client.query("", "CREATE DATABASE db");
        client.write("db", &points(1));
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 400.0);
        // Flushed by the query at the latest; each server has its part.
        let database = database(&server.data_dir);
        let rows = nodes.rows(&database);
        assert_eq!(rows.iter().sum::<u64>(), 400, "{rows:?}");
        assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");

        // The same points again, with another value, then another column.
        client.write("db", &points(2));
        client.write("db", "m,host=h1,zone=z1 x=\"new\" 1000000000\nm,rack=r v=5i 5");
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 401.0);
        assert_eq!(number(&client.rows("db", "SELECT sum(v) FROM m")), 805.0);
        let by_host = client.query("db", "SELECT mean(w), last(v) FROM m WHERE host =~ /^h/ GROUP BY host");
        assert_eq!(by_host["results"][0]["series"].as_array().unwrap().len(), 40);
        assert_eq!(client.rows("db", "SELECT v, x FROM m WHERE host = 'h1' AND time = 1s")[0][2], "new");
        assert_eq!(client.rows("db", "SELECT w FROM m ORDER BY time DESC LIMIT 3")[0][1], 399.5);

        client.query("db", "DELETE FROM m WHERE host = 'h1'");
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 391.0);
        client.query("db", "DELETE FROM m WHERE time < 100s");
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 293.0);
        let plan = client.query("db", "EXPLAIN SELECT mean(v) FROM m").to_string();
        assert!(plan.contains(&nodes.url(0)), "{plan}");

        // What is stored is stored there.
        let dir = server.data_dir.clone();
        let kept = settings(&nodes);
        let folder = server.into_folder();
        let server = Server::start_in(&dir, &borrowed(&kept));
        assert_eq!(number(&server.client().rows("db", "SELECT count(v) FROM m")), 293.0);
        server.client().query("db", "DROP MEASUREMENT m");
        until("the rows are gone", LIMIT, || nodes.rows(&database).iter().all(|rows| *rows == 0));
        drop((server, folder));
    }
}

#[test]
fn points_wait_for_servers_that_are_away() {
    let mut nodes = Nodes::start(2, 1);
    nodes.kill(1);
    // It starts all the same.
    let server = start(&nodes);
    let database = database(&server.data_dir);
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", &points(1));
    assert!(server.log().contains(&nodes.url(1)), "{}", server.log());
    nodes.restart(1);
    let all = |server: &Server| number(&server.client().rows("db", "SELECT count(v) FROM m"));
    until("the points are there", LIMIT, || nodes.rows(&database).iter().sum::<u64>() == 400);
    assert_eq!(all(&server), 400.0);

    // A shard goes: its series are told of by name, others are answered, and writes go on.
    nodes.kill(1);
    let answer = client.query_raw("db", "SELECT count(v) FROM m").body;
    assert!(answer.contains("the engine is unavailable") && answer.contains("shard 2"), "{answer}");
    assert!(!answer.contains("DB::Exception"), "{answer}");
    let of_host = |n: i64| client.query_raw("db", &format!("SELECT sum(v) FROM m WHERE host = 'h{n}'")).body;
    let answered = (0..40).filter(|n| of_host(*n).contains(",10]")).count();
    assert!(0 < answered && answered < 40, "{answered} of 40");
    client.write("db", &points(2));
    nodes.restart(1);
    until("all is there again", LIMIT, || {
        client.query_raw("db", "SELECT sum(v) FROM m").body.contains(",800]")
    });
}

/// One server of a shard has carried out a delete, another was away: asked for what is left to do, the first says nothing.
#[test]
fn a_delete_reaches_the_servers_that_were_away() {
    let mut nodes = Nodes::start(1, 2);
    let server = start(&nodes);
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", &points(1));
    assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 400.0);
    let database = database(&server.data_dir);
    let tables = format!("database = '{database}' AND engine LIKE '%MergeTree'");
    let table = nodes.query(0, &format!("SELECT name FROM system.tables WHERE {tables}"));
    nodes.kill(1);
    let answer = client.query_raw("db", "DELETE FROM m WHERE host = 'h1'").body;
    assert!(answer.contains("the engine is unavailable"), "{answer}");
    nodes.restart(1);
    let left = format!("SELECT count() FROM {database}.{table} SETTINGS apply_mutations_on_fly = 1");
    until("both have carried it out", LIMIT, || (0..2).all(|node| nodes.query(node, &left) == "390"));
    (0..4).for_each(|_| assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 390.0));
}

/// The server in front knows nothing from before then.
#[test]
fn queries_go_on_behind_a_start_with_one_server_of_a_shard_away() {
    let mut nodes = Nodes::start(2, 2);
    let folder = tempfile::tempdir().unwrap();
    let kept = settings(&nodes);
    let server = Server::start_in(folder.path(), &borrowed(&kept));
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &points(1));
    assert_eq!(number(&server.client().rows("db", "SELECT count(v) FROM m")), 400.0);
    server.stop();
    nodes.kill(1);
    let server = Server::start_in(folder.path(), &borrowed(&kept));
    for _ in 0..4 {
        for query in ["SELECT count(v) FROM m", "SELECT sum(v) FROM m WHERE w >= 0"] {
            assert_eq!(number(&server.client().rows("db", query)), 400.0);
        }
        assert_eq!(server.client().rows("db", "SELECT v FROM m WHERE host = 'h1'").len(), 10);
        assert_eq!(server.client().rows("db", "SHOW SERIES FROM m").len(), 120);
    }
}

/// Nobody sees its points any more, whether the server that answers has dropped them or waits for the other one.
#[test]
fn a_shard_that_is_dropped_in_part_holds_up_no_query() {
    for away in [0, 1] {
        let mut nodes = Nodes::start(1, 2);
        let folder = tempfile::tempdir().unwrap();
        let kept = settings(&nodes);
        let mut server = Server::start_in(folder.path(), &borrowed(&kept));
        let client = server.client();
        client.query("", "CREATE DATABASE db");
        client.write("db", "m,host=a v=1 0\nm,host=a v=2 86400000000000000\nm,host=b v=3 86400000000000001");
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 3.0);
        let shards = client.rows("db", "SHOW SHARDS");
        let first = shards.iter().map(|row| row[0].as_u64().unwrap()).min().unwrap();
        nodes.kill(away);
        let answer = client.query_raw("db", &format!("DROP SHARD {first}")).body;
        assert!(answer.contains("the engine is unavailable"), "{answer}");
        for start in 0..2 {
            for _ in 0..4 {
                for query in ["SELECT count(v) FROM m", "SELECT sum(v) FROM m WHERE host = 'a'"] {
                    let found = number(&server.client().rows("db", query));
                    assert_eq!(found, 2.0, "server {away} away, start {start}: {query}");
                }
                assert_eq!(server.client().rows("db", "SELECT v FROM m").len(), 2);
            }
            if start == 0 {
                // The points are stored, and the drop is in the log.
                server.stop();
                server = Server::start_in(folder.path(), &borrowed(&kept));
            }
        }
        nodes.restart(away);
        let database = database(folder.path());
        until("both have dropped it", LIMIT, || nodes.rows(&database) == [2, 2]);
    }
}

/// Kills of the servers and of the one in front, while points come.
#[test]
fn nothing_acknowledged_is_lost_or_stored_twice() {
    let mut nodes = Nodes::start(2, 1);
    let kept = settings(&nodes);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &borrowed(&kept));
    server.client().query("", "CREATE DATABASE db");
    let mut written = 0;
    for kill in 0..6 {
        let client = server.client();
        for _ in 0..20 {
            let line = |n: i64| format!("m,host=h{} v={n}i {n}\n", n % 40);
            let body: String = (written..written + 50).map(line).collect();
            client.write("db", &body);
            written += 50;
        }
        match kill % 3 {
            2 => {
                server.kill();
                server = Server::start_in(folder.path(), &borrowed(&kept));
            }
            node => {
                nodes.kill(node);
                client.write("db", &format!("m,host=h0 v={written}i {written}"));
                written += 1;
                nodes.restart(node);
            }
        }
    }
    let client = server.client();
    let expected = format!(",{written}]");
    until("all points are there", LIMIT, || {
        client.query_raw("db", "SELECT count(v) FROM m").body.contains(&expected)
    });
    let database = database(folder.path());
    let stored = || nodes.rows(&database).iter().sum::<u64>();
    until("all points are stored", LIMIT, || stored() >= written as u64);
    // What was flushed when the server was killed comes again, as what it was: a merge is all that it takes.
    let table = nodes.query(
        0,
        &format!("SELECT name FROM system.tables WHERE database = '{database}' AND name LIKE 'm%_all'"),
    );
    let distinct = nodes.query(0, &format!("SELECT count() FROM {database}.{table} FINAL"));
    assert_eq!(distinct, written.to_string());
    let sum: i64 = (0..written).sum();
    assert_eq!(number(&client.rows("db", "SELECT sum(v) FROM m")), sum as f64);
}

#[test]
fn a_data_folder_keeps_to_its_engine() {
    let nodes = Nodes::single();
    let folder = tempfile::tempdir().unwrap();
    let kept = settings(&nodes);
    drop(Server::start_in(folder.path(), &borrowed(&kept)));
    let said = Server::spawn_in(folder.path(), &[]).failure();
    assert!(said.contains("engine.kind"), "{said}");
    // A new data folder does not get at the tables of another one.
    let other = tempfile::tempdir().unwrap();
    let mut taken = borrowed(&kept);
    let of_the_first = database(folder.path());
    taken.push(("CLICKHOUSE__DATABASE", &of_the_first));
    let said = Server::spawn_in(other.path(), &taken).failure();
    assert!(said.contains("belongs to installation"), "{said}");
    let embedded = Server::start();
    let dir = embedded.data_dir.clone();
    let own = embedded.into_folder();
    let said = Server::spawn_in(&dir, &borrowed(&kept)).failure();
    assert!(said.contains("embedded engine"), "{said}");
    drop(own);
}

/// Tables and series have numbers that each data folder gives by itself, so a database belongs to one.
#[test]
fn a_database_has_one_server_in_front() {
    let mut nodes = Nodes::start(2, 1);
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let settings: Vec<(&str, String)> = settings(&nodes)
        .into_iter()
        .chain([("CLICKHOUSE__DATABASE", "hyperbyte_shared".to_owned())])
        .collect();
    let settings = borrowed(&settings);
    // Two at once: one has it, the other does not start.
    let [one, other] = [0, 1].map(|n| Server::spawn_in(folders[n].path(), &settings));
    let is_ready = |server: &Server| server.try_get("/health/ready").is_ok_and(|answer| answer.status == 200);
    until("one of them is ready", LIMIT, || is_ready(&one) || is_ready(&other));
    let (first, refused) = if is_ready(&one) { (one, other) } else { (other, one) };
    let said = refused.failure();
    assert!(said.contains("belongs to installation"), "{said}");
    let client = first.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", &points(1));
    assert_eq!(number(&client.rows("db", "SELECT sum(v) FROM m")), 400.0);
    // One that could not ask at its start stores nothing when it can, and removes nothing that it does not know.
    (0..nodes.len()).for_each(|node| nodes.kill(node));
    let late = Server::start_in(folders[2].path(), &settings);
    late.client().query("", "CREATE DATABASE db");
    late.client().write("db", &points(7));
    (0..nodes.len()).for_each(|node| nodes.restart(node));
    until("the late one says why", LIMIT, || late.log().contains("belongs to installation"));
    let answer = late.client().query_raw("db", "SELECT sum(v) FROM m").body;
    assert!(answer.contains("error") && !answer.contains("values"), "{answer}");
    late.client().query_raw("db", "DELETE FROM m");
    until("the first goes on", LIMIT, || {
        client.query_raw("db", "SELECT sum(v) FROM m").body.contains(",400]")
    });
    assert_eq!(nodes.rows("hyperbyte_shared").iter().sum::<u64>(), 400);
}

/// The engine refuses to sort more rows at once than a query may; such scans are read in slices. Over two shards the refusal
/// of one ends what the other is doing, and neither may suffer from it.
#[test]
fn scans_that_are_read_in_slices_answer_the_same() {
    const REFUSALS: &str = "SELECT sum(value) FROM system.errors WHERE name = 'TOO_MANY_ROWS_OR_BYTES'";
    let queries = [
        "SELECT percentile(v, 40), percentile(w, 90) FROM m WHERE v > 0 GROUP BY zone",
        "SELECT v, w FROM m ORDER BY time DESC",
        "SELECT * FROM m GROUP BY host",
        "SELECT mode(v), difference(w) FROM m WHERE w != 7.5 GROUP BY zone LIMIT 50",
        "SELECT w FROM m WHERE v = 1 LIMIT 130 OFFSET 17",
    ];
    let mut answers = Vec::new();
    for mut nodes in [Nodes::single(), Nodes::start(2, 1)] {
        let folder = tempfile::tempdir().unwrap();
        for rows in ["0", "30", "150"] {
            let mut settings = settings(&nodes);
            settings.push(("QUERY__MAX_SORT_ROWS", rows.to_owned()));
            let server = Server::start_in(folder.path(), &borrowed(&settings));
            let client = server.client();
            if rows == "0" {
                client.query("", "CREATE DATABASE db");
                client.write("db", &points(1));
            }
            for _ in 0..10 {
                let of_all = queries.map(|query| client.query_raw("db", query).body);
                assert!(
                    of_all.iter().all(|answer| answer.contains("values") && !answer.contains("error")),
                    "{of_all:?}: {:?}: {}",
                    nodes.ended(),
                    server.log()
                );
                answers.push(of_all);
                assert_eq!(answers.first(), answers.last(), "at most {rows} rows");
            }
            server.stop();
        }
        for node in 0..nodes.len() {
            assert_ne!(
                nodes.query(node, REFUSALS),
                "0",
                "server {node} of {} sorted all at once",
                nodes.len()
            );
        }
    }
}

/// Points that wait for a server are answered from memory or not at all: an answer without them would be wrong.
#[test]
fn points_that_wait_are_not_left_out() {
    for (shards, replicas, away) in [(2, 2, 1), (2, 2, 0), (2, 1, 1)] {
        let mut nodes = Nodes::start(shards, replicas);
        let server = start(&nodes);
        let client = server.client();
        client.query("", "CREATE DATABASE db");
        client.write("db", &points(1));
        assert_eq!(number(&client.rows("db", "SELECT count(v) FROM m")), 400.0);
        nodes.kill(away);
        client.write("db", "n,host=a s=\"x\" 1\nn,host=b s=\"y\" 2\nn,host=c s=\"z\" 3");
        client.write("db", "m,host=later v=1i 1");
        for _ in 0..4 {
            for (query, expected) in [
                ("SELECT s FROM n", "[2,\"y\"],[3,\"z\"]"),
                ("SELECT count(v) FROM m", "[0,401]"),
                ("SELECT v FROM m WHERE host = 'later'", "[1,1]"),
                ("SELECT s FROM n WHERE s =~ /x/ GROUP BY host", "[1,\"x\"]"),
            ] {
                let answer = client.query_raw("db", query).body;
                assert!(answer.contains(expected) || answer.contains("unavailable"), "{query}: {answer}");
            }
        }
    }
}
