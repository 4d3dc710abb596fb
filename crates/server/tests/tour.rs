//! The README's tour: its commands run as written, but for the port.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::Path;
use std::process::Command;

use support::Server;

#[test]
fn the_readme_tour_runs() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).expect("README.md");
    let tour = text
        .split("<!-- tour: begin -->")
        .nth(1)
        .and_then(|t| t.split("<!-- tour: end -->").next())
        .expect("tour");
    let commands: String =
        tour.lines().filter(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect();
    let server = Server::start();
    let commands = commands.replace("127.0.0.1:8086", &format!("127.0.0.1:{}", server.port));
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", &commands]).output().expect("bash");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(!out.contains("\"error\""), "{out}");
    for expected in [
        "204 No Content",
        r#""tags":{"host":"web1"},"columns":["time","mean"],"values":[["1970-01-01T00:00:00Z",15]]"#,
        r#""values":[[1735689600,12.5],[1735689660,17.5]]"#,
        r#"["2025-01-01T00:00:00Z",8,"web1","eu",55,12.5]"#,
        r#"[["host","web1"],["host","web2"]]"#,
    ] {
        assert!(out.contains(expected), "no {expected} in {out}");
    }
}
