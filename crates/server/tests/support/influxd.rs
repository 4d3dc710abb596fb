//! A real InfluxDB as a child process, where it is installed (`scripts/setup-test.sh` installs it).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Client, free_port, until};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running InfluxDB. Dropping it kills it.
pub struct Influxd {
    child: Child,
    port: u16,
    backup_port: u16,
}

impl Influxd {
    /// Whether there is one to start; says so if not.
    pub fn is_installed() -> bool {
        let found = Command::new("influxd").arg("version").stdout(Stdio::null()).status().is_ok();
        if !found {
            eprintln!("no influxd: nothing is compared (scripts/setup-test.sh installs it)");
        }
        found
    }

    /// Starts one on a folder that gets `meta`, `data` and `wal`. Caches of more than `cache_bytes` are written out
    /// within a second, smaller ones stay in the WAL.
    pub fn start(folder: &Path, index: &str, cache_bytes: u32) -> Self {
        let settings = [
            ("INFLUXDB_DATA_INDEX_VERSION", index.to_owned()),
            ("INFLUXDB_DATA_CACHE_SNAPSHOT_MEMORY_SIZE", cache_bytes.to_string()),
        ];
        Self::spawn(folder, &settings, "")
    }

    /// The same with a configuration file.
    pub fn start_configured(folder: &Path, configuration: &str) -> Self {
        Self::spawn(folder, &[], configuration)
    }

    fn spawn(folder: &Path, settings: &[(&str, String)], configuration: &str) -> Self {
        let file = folder.join("influxdb.conf");
        std::fs::write(&file, configuration).expect("configuration");
        let (port, backup_port) = (free_port(), free_port());
        let log = std::fs::File::create(folder.join("influxd.log")).expect("log");
        let child = Command::new("influxd")
            .arg("-config")
            .arg(file)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("INFLUXDB_META_DIR", folder.join("meta"))
            .env("INFLUXDB_DATA_DIR", folder.join("data"))
            .env("INFLUXDB_DATA_WAL_DIR", folder.join("wal"))
            .env("INFLUXDB_HTTP_BIND_ADDRESS", format!("127.0.0.1:{port}"))
            .env("INFLUXDB_BIND_ADDRESS", format!("127.0.0.1:{backup_port}"))
            .env("INFLUXDB_REPORTING_DISABLED", "true")
            .env("INFLUXDB_HTTP_LOG_ENABLED", "false")
            .env("INFLUXDB_MONITOR_STORE_ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("influxd");
        let server = Self { child, port, backup_port };
        let client = server.client();
        until("influxd answers", START_TIMEOUT, || client.get("/ping").is_ok());
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// Waits until no shard writes its cache into a file, or is about to: what is deleted meanwhile may come back.
    pub fn wait_for_rest(&self, cache_bytes: u32) {
        let is_at_rest = || {
            let answer = self.client().query("", "SHOW STATS FOR 'tsm1_cache'");
            let shards = answer["results"][0]["series"].as_array().cloned().unwrap_or_default();
            shards.iter().all(|shard| {
                let columns = shard["columns"].as_array().expect("columns");
                let value = |name| {
                    let at = columns.iter().position(|column| column == name).expect("a column");
                    shard["values"][0][at].as_u64().expect("a number")
                };
                value("diskBytes") == 0 && value("memBytes") <= u64::from(cache_bytes)
            })
        };
        until("influxd is at rest", START_TIMEOUT, is_at_rest);
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where `influxd backup` asks.
    pub fn backup_address(&self) -> String {
        format!("127.0.0.1:{}", self.backup_port)
    }

    /// A portable backup into a folder.
    pub fn backup(&self, into: &Path) {
        let output = Command::new("influxd")
            .args(["backup", "-portable", "-host", &self.backup_address()])
            .arg(into)
            .output()
            .expect("influxd backup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// SIGTERM, and wait until it is gone.
    pub fn stop(mut self) {
        super::signal(self.child.id(), "TERM");
        self.child.wait().expect("wait");
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files below a folder with that ending.
pub fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found
}
