//! A ZooKeeper for servers that keep each other's rows, where the system has one: libchdb has no Keeper.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyperbytedb_test_support::free_port;
use tempfile::TempDir;

use crate::START_TIMEOUT;

/// Debian's.
const PROGRAM: &str = "/usr/share/zookeeper/bin/zkServer.sh";

/// Dropping it kills it.
pub struct Keeper {
    _folder: TempDir,
    port: u16,
    process: Child,
}

impl Keeper {
    /// `None`: there is none on this system.
    pub fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let path = folder.path().display();
        let configuration = format!(
            "tickTime=2000\ndataDir={path}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n"
        );
        fs::write(folder.path().join("zoo.cfg"), configuration).expect("zoo.cfg");
        let process = Command::new(PROGRAM)
            .arg("start-foreground")
            .arg(folder.path().join("zoo.cfg"))
            .env("JVMFLAGS", "-Xmx128m")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ZooKeeper");
        let keeper = Self { _folder: folder, port, process };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "ZooKeeper did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(keeper)
    }

    /// For the configuration of a server. All servers out of libchdb have the same number, by which sessions are known.
    pub(crate) fn xml(&self, server: usize) -> String {
        format!(
            "<zookeeper><node><host>127.0.0.1</host><port>{}</port></node>\
             <sessions_path>/sessions{server}</sessions_path></zookeeper>",
            self.port
        )
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
