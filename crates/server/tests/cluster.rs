//! Three real processes: they agree on the schema, send each other what they take, and lose nothing when one is killed.

mod support;

use std::time::{Duration, Instant};

use hyperbytedb_test_support::Tmpfs;
use support::cluster::{DB, Nodes, PATIENCE, write};
use support::{Server, signal, until};

#[test]
fn any_node_changes_the_schema_and_any_may_be_killed() {
    let mut nodes = Nodes::start();
    for id in 1..=3 {
        nodes.change(id, &format!("CREATE DATABASE db{id}"));
        nodes.agree("SHOW DATABASES", &format!("[\"db{id}\"]"));
    }
    nodes.change(2, "CREATE USER u WITH PASSWORD 'p'");
    nodes.agree("SHOW USERS", "[\"u\",false]");
    let twice = nodes.node(3).client().query_raw(DB, "CREATE USER u WITH PASSWORD 'q'");
    assert!(twice.body.contains("user already exists"), "{}", twice.body);
    for round in 0..3 {
        until("a leader", PATIENCE, || nodes.leader().is_some());
        // The leader first, then others.
        let victim = if round == 0 { nodes.leader().expect("a leader") } else { round + 1 };
        nodes.kill(victim);
        let (killed, asked) = (Instant::now(), nodes.running()[0]);
        nodes.change(asked, &format!("CREATE DATABASE without_{round}"));
        // About two seconds (scripts/bench-cluster.py measures it); the machine may be busy.
        assert!(killed.elapsed() < Duration::from_secs(10), "after {:?}", killed.elapsed());
        nodes.agree("SHOW DATABASES", &format!("[\"without_{round}\"]"));
        nodes.restart(victim);
        nodes.agree("SHOW DATABASES", &format!("[\"without_{round}\"]"));
    }
    let answer = nodes.node(2).try_get("/cluster/nodes").expect("an answer").json();
    let roles: Vec<&str> =
        answer["nodes"].as_array().expect("nodes").iter().filter_map(|node| node["role"].as_str()).collect();
    assert_eq!((roles.len(), roles.iter().filter(|role| **role == "leader").count()), (3, 1), "{answer}");
}

#[test]
fn points_reach_all_nodes_and_none_is_lost() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    nodes.agree("SHOW DATABASES", "[\"db\"]");
    for id in 1..=3 {
        let (status, body) = write(nodes.node(id), "all", &format!("m,node={id} v={id},n={id}i {id}"));
        assert_eq!(status, 204, "{body}");
        // `all`: every node has it now.
        for other in 1..=3 {
            let rows = nodes.node(other).client().rows(DB, "SELECT count(v) FROM m");
            assert_eq!(rows[0][1], id, "node {other} after a write to {id}");
        }
    }
    // While one is away, a quorum goes on, and all does not.
    nodes.kill(3);
    let mut written = 3;
    for second in 10..30 {
        let (status, body) = write(nodes.node(1 + second % 2), "quorum", &format!("m,node=x v=1 {second}"));
        assert_eq!(status, 204, "{body}");
        written += 1;
    }
    nodes.agree("SELECT count(v) FROM m", &format!(",{written}]"));
    nodes.restart(3);
    nodes.agree("SELECT count(v) FROM m", &format!(",{written}]"));
    // Killed at once behind its answers, each node has what it acknowledged, and the others get it.
    for id in 1..=3 {
        for second in 0..20 {
            let time = 1000 * id + second;
            let (status, body) = write(nodes.node(id), "one", &format!("m,node={id} v=2 {time}"));
            assert_eq!(status, 204, "{body}");
            written += 1;
        }
        nodes.kill(id);
        nodes.restart(id);
        nodes.agree("SELECT count(v) FROM m", &format!(",{written}]"));
    }
    nodes.change(2, "DELETE FROM m WHERE \"node\" = 'x'");
    nodes.agree("SELECT count(v) FROM m", &format!(",{}]", written - 20));
    nodes.agree("SELECT count(n) FROM m", ",3]");
}

/// Node 2 takes something that node 3 has not got when it takes the same points; then it comes late to node 3.
#[test]
fn of_conflicting_values_the_later_one_stays_whichever_comes_first() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m,k=a v=0,w=0 1\ngone,k=a v=0 1\ngone,k=b v=0 1").0, 204);
    nodes.kill(3);
    assert_eq!(write(nodes.node(2), "one", "m,k=a v=1,w=5 10\nm,k=b v=1 10").0, 204);
    assert_eq!(write(nodes.node(2), "one", "gone,k=a v=1 10\ngone,k=b v=1 10").0, 204);
    nodes.kill(2);
    nodes.restart(3);
    assert_eq!(write(nodes.node(3), "one", "m,k=a v=2 10").0, 204);
    nodes.change(3, "DELETE FROM gone WHERE k = 'a'");
    assert_eq!(write(nodes.node(3), "one", "gone,k=a v=3 20").0, 204);
    // What it must know of this survives, too.
    nodes.kill(3);
    nodes.restart(3);
    nodes.restart(2);
    assert_eq!(write(nodes.node(2), "all", "last v=1 1").0, 204);
    nodes.agree("SELECT sum(v), sum(w) FROM m WHERE k = 'a'", ",2,5]");
    nodes.agree("SELECT sum(v) FROM m WHERE k = 'b'", ",1]");
    nodes.agree("SELECT sum(v), count(v) FROM gone WHERE k = 'a'", ",3,1]");
    nodes.agree("SELECT sum(v), count(v) FROM gone WHERE k = 'b'", ",1,2]");
}

#[test]
fn nodes_that_write_the_same_points_at_the_same_time_end_with_the_same() {
    let nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    nodes.agree("SHOW DATABASES", "[\"db\"]");
    assert_eq!(write(nodes.node(1), "all", "m,k=0 v=0 0").0, 204);
    std::thread::scope(|scope| {
        for id in 1..=3 {
            let server = nodes.node(id);
            scope.spawn(move || {
                for round in 0..100 {
                    let line =
                        |row: usize| format!("m,k={} v={},f{id}=1 {row}\n", row % 3, id * 1000 + round);
                    let lines: String = (0..20).map(line).collect();
                    assert_eq!(write(server, "one", &lines).0, 204);
                    if round % 40 == 20 {
                        let answer =
                            server.client().query_raw(DB, &format!("DELETE FROM m WHERE k = '{}'", id - 1));
                        assert_eq!(answer.status, 200, "{}", answer.body);
                    }
                }
            });
        }
    });
    let answer = |id: usize| nodes.node(id).client().query_raw(DB, "SELECT * FROM m GROUP BY k").body;
    let mut answers = Vec::new();
    until("the same on all nodes", PATIENCE, || {
        answers = (1..=3).map(answer).collect();
        answers[0] == answers[1] && answers[1] == answers[2]
    });
    assert!(answers[0].contains("f1"), "{}", answers[0]);
}

#[test]
fn too_few_nodes_are_an_error_that_says_how_many() {
    let mut nodes =
        Nodes::with(&[("CLUSTER__WRITE_TIMEOUT_SECS", "1"), ("CLUSTER__PROPOSE_TIMEOUT_SECS", "2")]);
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m v=1 1").0, 204);
    nodes.kill(2);
    let (status, body) = write(nodes.node(1), "all", "m v=1 2");
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("partial write: 2 of the 3 nodes"), "{body}");
    assert_eq!(write(nodes.node(1), "quorum", "m v=1 3").0, 204);
    assert_eq!(write(nodes.node(1), "some", "m v=1 3").0, 400);
    nodes.kill(3);
    // Known series go on; a change of the schema needs a majority.
    assert_eq!(write(nodes.node(1), "one", "m v=1 4").0, 204);
    let (status, body) = write(nodes.node(1), "one", "other v=1 4");
    assert!(status == 503 && body.contains("timeout"), "{status} {body}");
    nodes.restart(2);
    nodes.restart(3);
    nodes.agree("SELECT count(v) FROM m", ",4]");
    assert_eq!(write(nodes.node(3), "all", "other v=1 4").0, 204);
}

#[test]
fn nodes_come_and_go() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    nodes.agree("SHOW DATABASES", "[\"db\"]");
    let lines: String = (0..5000).map(|n| format!("m,series={} v={n} {n}\n", n % 50)).collect();
    assert_eq!(write(nodes.node(2), "quorum", &lines).0, 204);
    nodes.add();
    nodes.agree("SELECT count(v) FROM m", ",5000]");
    assert_eq!(write(nodes.node(4), "all", "m,series=new v=1 9000").0, 204);
    nodes.agree("SELECT count(v) FROM m", ",5001]");
    // A node that is to go hands over what it has; the others go on without it.
    let drained = nodes.node(1).client().post("/cluster/membership/drain/2", &[], b"").expect("an answer");
    assert_eq!(drained.status, 200, "{}", drained.body);
    assert_eq!(write(nodes.node(2), "one", "m,series=new v=1 9001").0, 503);
    nodes.kill(2);
    let removed = nodes.node(1).client().post("/cluster/membership/remove/2", &[], b"").expect("an answer");
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(write(nodes.node(3), "all", "m,series=new v=1 9002").0, 204);
    nodes.agree("SELECT count(v) FROM m", ",5002]");
    let answer = nodes.node(3).try_get("/cluster/nodes").expect("an answer").json();
    let ids: Vec<u64> =
        answer["nodes"].as_array().expect("nodes").iter().filter_map(|node| node["id"].as_u64()).collect();
    assert_eq!(ids, [1, 3, 4], "{answer}");
}

#[test]
fn a_single_node_becomes_the_first_of_a_cluster() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = dir.path().join("1");
    std::fs::create_dir_all(&first).expect("a folder");
    let alone = Server::start_in(&first, &[]);
    alone.client().query("", "CREATE DATABASE db");
    alone.client().write(DB, "m v=1 1\nm v=2 2");
    alone.kill();
    let mut nodes = Nodes::none(dir, &[]);
    nodes.add();
    nodes.add();
    nodes.agree("SELECT sum(v) FROM m", ",3]");
    assert_eq!(write(nodes.node(2), "all", "m v=4 3").0, 204);
    nodes.agree("SELECT sum(v) FROM m", ",7]");
}

#[test]
fn who_leads_and_who_lags_is_told() {
    let nodes = Nodes::with(&[("CLUSTER__MAX_STALENESS_SECS", "1")]);
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m v=1 1").0, 204);
    let servers = nodes.node(2).client().query("", "SHOW SERVERS");
    let series = &servers["results"][0]["series"];
    assert_eq!(
        (series[0]["name"].as_str(), series[1]["name"].as_str()),
        (Some("data_nodes"), Some("meta_nodes"))
    );
    assert_eq!(series[0]["values"].as_array().map(Vec::len), Some(3), "{servers}");
    nodes.agree("SHOW DIAGNOSTICS FOR 'cluster'", "leader");
    // A node that does not answer lags; once it does, it says so until it has everything.
    let pid = nodes.node(3).pid();
    signal(pid, "STOP");
    assert_eq!(write(nodes.node(1), "one", "m v=1 2").0, 204);
    let lag_of_3 = "hyperbytedb_cluster_lag_seconds{node=\"3\"} ";
    until("node 3 lags by seconds", PATIENCE, || {
        let metrics = nodes.node(1).try_get("/cluster/metrics").expect("an answer").body;
        assert!(metrics.lines().all(|line| line.contains("hyperbytedb_cluster_")), "{metrics}");
        let lag = metrics.lines().find_map(|line| line.strip_prefix(lag_of_3));
        lag.and_then(|lag| lag.parse::<f64>().ok()).is_some_and(|lag| lag >= 2.0)
    });
    signal(pid, "CONT");
    until("node 3 has everything", PATIENCE, || {
        nodes.node(3).try_get("/health/ready").is_ok_and(|answer| answer.status == 200)
            && nodes.node(3).client().rows(DB, "SELECT count(v) FROM m")[0][1] == 2
    });
    let drained = nodes.node(1).client().post("/cluster/membership/drain/2", &[], b"").expect("an answer");
    assert_eq!(drained.status, 200, "{}", drained.body);
    let ready = nodes.node(2).try_get("/health/ready").expect("an answer");
    assert!(ready.status == 503 && ready.body.contains("draining"), "{}", ready.body);
}

#[test]
fn nodes_speak_tls_with_those_of_their_authority_alone() {
    let certificates = tempfile::tempdir().expect("a folder");
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let path = certificates.path().join(name);
        std::fs::write(&path, made.cert.pem() + &made.signing_key.serialize_pem()).expect("write");
        path.to_str().expect("a path").to_owned()
    };
    let (own, other) = (make("own.pem"), make("other.pem"));
    let settings = [("CLUSTER__TLS_CERTIFICATE", own.as_str()), ("CLUSTER__TLS_CA", own.as_str())];
    let mut nodes = Nodes::none(tempfile::tempdir().expect("a folder"), &settings);
    nodes.add();
    nodes.add();
    nodes.change(2, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(2), "all", "m v=1 1").0, 204);
    nodes.agree("SELECT count(v) FROM m", ",1]");
    let plain = support::Client::new(&format!("http://127.0.0.1:{}", nodes.ports[0]));
    assert!(plain.post("/v1/status", &[], b"").is_err(), "nobody is heard without TLS");
    // A certificate of another authority, and the right secret.
    let address = format!("[\"127.0.0.1:{}\"]", nodes.ports[0]);
    let stranger = tempfile::tempdir().expect("a folder");
    let server = Server::spawn_in(
        stranger.path(),
        &[
            ("CLUSTER__ENABLED", "true"),
            ("CLUSTER__NODE_ID", "3"),
            ("CLUSTER__BIND_ADDRESS", "127.0.0.1:0"),
            ("CLUSTER__JOIN", &address),
            ("CLUSTER__SECRET", "between nodes"),
            ("CLUSTER__TLS_CERTIFICATE", &other),
            ("CLUSTER__TLS_CA", &own),
        ],
    );
    until("it is not let in", PATIENCE, || server.log().contains("could not join yet"));
    nodes.agree("SHOW SERVERS", "data_nodes");
    let servers = nodes.node(1).client().query("", "SHOW SERVERS");
    assert_eq!(servers["results"][0]["series"][0]["values"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_node_that_lacks_megabytes_catches_up() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m,h=h0 v=0 0").0, 204);
    nodes.kill(3);
    // Values that do not compress: more than two requests' worth of log.
    let mut random = 1_u64;
    let mut value = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 8
    };
    for body in 0..5 {
        let mut line = |n: usize| {
            let fields: Vec<String> = (0..5).map(|field| format!("f{field}={}i", value())).collect();
            format!("m,h=h{} {} {}\n", n % 100, fields.join(","), body * 20_000 + n)
        };
        let lines: String = (0..20_000).map(&mut line).collect();
        assert_eq!(write(nodes.node(1), "one", &lines).0, 204);
    }
    nodes.restart(3);
    nodes.agree("SELECT count(f0) FROM m", ",100000]");
}

#[test]
fn a_node_that_cannot_store_what_is_agreed_on_ends_and_says_why() {
    let mut nodes = Nodes::start();
    nodes.stop(3);
    let (raft, before) = (nodes.folder(3).join("data/raft"), nodes.folder(3).join("before"));
    std::fs::rename(&raft, &before).expect("the folder");
    let Some(disk) = Tmpfs::mount(&raft) else {
        return eprintln!("SKIPPED: a small file system cannot be mounted (root can)");
    };
    for entry in std::fs::read_dir(&before).expect("a folder").flatten() {
        std::fs::copy(entry.path(), raft.join(entry.file_name())).expect("a copy");
    }
    nodes.restart(3);
    nodes.change(3, "CREATE DATABASE db");
    disk.fill();
    let name = "long".repeat(50);
    let client = nodes.node(1).client();
    // Each takes some of what a file had left.
    let ended = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            (0..200)
                .map(|n| client.query_raw(DB, &format!("CREATE DATABASE {name}{n}")).status)
                .all(|status| status == 200)
        });
        (nodes.failure(3), asked.join().expect("answers"))
    });
    assert!(ended.0.contains("what the cluster agrees on cannot be stored"), "{}", ended.0);
    assert!(ended.1, "the others go on");
    disk.empty();
    nodes.restart(3);
    nodes.agree("SHOW DATABASES", &format!("{name}199"));
}

#[test]
fn a_node_whose_address_is_taken_ends_and_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let settings = [
        ("CLUSTER__ENABLED", "true"),
        ("CLUSTER__NODE_ID", "1"),
        ("CLUSTER__BIND_ADDRESS", &address),
        ("CLUSTER__SECRET", "between nodes"),
    ];
    let said = Server::spawn_in(dir.path(), &settings).failure();
    assert!(said.contains(&format!("cannot listen on {address} (cluster.bind_address)")), "{said}");
}

#[test]
fn nobody_without_the_secret_is_heard() {
    let mut nodes = Nodes::none(tempfile::tempdir().expect("a folder"), &[]);
    nodes.add();
    let client = support::Client::new(&format!("http://127.0.0.1:{}", nodes.ports[0]));
    for path in ["/v1/propose", "/v1/records", "/v1/remove", "/v1/copy", "/v1/raft/append"] {
        assert_eq!(client.post(path, &[], b"x").expect("an answer").status, 401, "{path}");
        let on_the_public_port = nodes.node(1).client().post(path, &[], b"x").expect("an answer");
        assert_eq!(on_the_public_port.status, 404, "{path}");
    }
}
