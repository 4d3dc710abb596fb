//! Line protocol over UDP, in batches as InfluxDB makes them. Nobody is answered: what is refused is logged and counted.

use hyperbytedb_metrics as metrics;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_application::commands::CommandService;
use hyperbytedb_application::threads::Stop;
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::ports::{Caller, CatalogPort, IngestionPort, WriteRequest};
use hyperbytedb_domain::{Precision, QueryContext};

use crate::config::UdpConfig;

/// A datagram has no more.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Bytes from which a batch does not wait for further lines.
const BATCH_BYTES: usize = 4 << 20;
/// How often a listener without datagrams looks whether it must end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub struct UdpListener {
    pub socket: UdpSocket,
    pub config: UdpConfig,
    pub catalog: Arc<dyn CatalogPort>,
    pub commands: Arc<CommandService>,
    pub ingestion: Arc<dyn IngestionPort>,
}

/// Opens the port.
pub fn bind(config: &UdpConfig) -> std::io::Result<UdpSocket> {
    let address = &config.bind_address;
    let socket = UdpSocket::bind(address).map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("cannot listen on UDP {address} (udp.bind_address): {error}"),
        )
    })?;
    socket.set_read_timeout(Some(LOOK_INTERVAL))?;
    Ok(socket)
}

/// Lines that wait to be written.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    count: usize,
    since: Option<Instant>,
}

impl Batch {
    fn add(&mut self, datagram: &[u8]) {
        self.since.get_or_insert_with(Instant::now);
        self.lines.extend_from_slice(datagram);
        if !datagram.ends_with(b"\n") {
            self.lines.push(b'\n');
        }
        self.count += datagram.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    }

    fn is_due(&self, config: &UdpConfig) -> bool {
        let waited = self.since.is_some_and(|since| since.elapsed() >= config.batch_timeout());
        self.count >= config.batch_size || self.lines.len() >= BATCH_BYTES || waited
    }
}

impl UdpListener {
    pub fn run(&self, stop: &Stop) {
        self.create_database();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let mut batch = Batch::default();
        while !stop.is_set() {
            let patience = match batch.since {
                // Zero would mean to wait for ever.
                Some(since) => {
                    self.config.batch_timeout().saturating_sub(since.elapsed()).max(Duration::from_millis(1))
                }
                None => LOOK_INTERVAL,
            };
            let received = self
                .socket
                .set_read_timeout(Some(patience.min(LOOK_INTERVAL)))
                .and_then(|()| self.socket.recv_from(&mut datagram));
            match received {
                Ok((length, _)) => batch.add(&datagram[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => {
                    tracing::warn!(%error, "UDP: cannot receive");
                    stop.wait(LOOK_INTERVAL);
                }
            }
            if batch.is_due(&self.config) {
                self.write(std::mem::take(&mut batch));
            }
        }
        if batch.count > 0 {
            self.write(batch);
        }
    }

    fn create_database(&self) {
        let name = self.config.database.clone();
        if self.catalog.catalog().database(&name).is_some() {
            return;
        }
        let command = Command::CreateDatabase { name, policy: None };
        if let Err(error) = self.commands.run(command, &QueryContext::unbounded()) {
            tracing::warn!(%error, database = self.config.database, "UDP: the database cannot be created");
        }
    }

    fn write(&self, batch: Batch) {
        metrics::UDP_LINES.increment(batch.count as u64);
        let request = WriteRequest {
            caller: Caller::Trusted,
            database: self.config.database.clone(),
            retention_policy: self.config.retention_policy.clone(),
            precision: Precision::parse(&self.config.precision),
            body: batch.lines.into(),
            consistency: None,
            default_time: None,
            internal: false,
        };
        if let Err(error) = self.ingestion.write(request) {
            metrics::UDP_WRITE_ERRORS.increment(1);
            tracing::warn!("UDP: points were refused: {error}");
        }
    }
}
