//! Line protocol over UDP.

use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::UDP;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use hyperbytedb_application::threads::Stop;

use crate::batch::{Batch, BatchOptions, BatchWriter, warn_where_open};

/// A datagram has no more.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// How often a listener without datagrams looks whether it must end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Zero would mean to wait for ever.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// Opens a port for datagrams; `setting` says which.
pub fn bind(address: &str, setting: &str) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).map_err(|error| {
        std::io::Error::new(error.kind(), format!("cannot listen on UDP {address} ({setting}): {error}"))
    })?;
    warn_where_open(socket.local_addr()?, setting);
    Ok(socket)
}

/// What comes in at a socket.
pub struct Datagrams<'a> {
    socket: &'a UdpSocket,
    /// Counts what could not be received.
    count_failure: fn(),
    buffer: Vec<u8>,
}

impl<'a> Datagrams<'a> {
    pub fn of(socket: &'a UdpSocket, count_failure: fn()) -> Self {
        Self { socket, count_failure, buffer: vec![0; DATAGRAM_BYTES_MAX] }
    }

    /// The next one; empty if none has come for as long as `patience` says, or until it is time to look at `stop`.
    pub fn next(&mut self, stop: &Stop, patience: Option<Duration>) -> &[u8] {
        let patience = patience.unwrap_or(LOOK_INTERVAL).clamp(PATIENCE_MIN, LOOK_INTERVAL);
        let waiting = self.socket.set_read_timeout(Some(patience));
        match waiting.and_then(|()| self.socket.recv_from(&mut self.buffer)) {
            Ok((length, _)) => &self.buffer[..length],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => &[],
            Err(error) => {
                (self.count_failure)();
                tracing::warn!(%error, "UDP: cannot receive");
                stop.wait(LOOK_INTERVAL);
                &[]
            }
        }
    }
}

pub struct UdpListener {
    pub socket: UdpSocket,
    pub options: BatchOptions,
    pub writer: BatchWriter,
}

impl UdpListener {
    pub fn run(&self, stop: &Stop) {
        self.writer.create_database();
        let (mut batch, mut datagrams) =
            (Batch::default(), Datagrams::of(&self.socket, || UDP.read_fail.increment()));
        while !stop.is_set() {
            let datagram = datagrams.next(stop, batch.patience(self.options));
            if !datagram.is_empty() {
                UDP.bytes_rx.add(datagram.len() as i64);
                batch.add(datagram, count_lines(datagram));
            }
            if batch.is_due(self.options) {
                self.write(std::mem::take(&mut batch));
            }
        }
        if batch.count > 0 {
            self.write(batch);
        }
    }

    fn write(&self, batch: Batch) {
        let count = batch.count;
        metrics::UDP_LINES.increment(count as u64);
        UDP.points_rx.add(count as i64);
        if self.writer.write(batch) {
            UDP.batches_tx.increment();
            UDP.points_tx.add(count as i64);
        } else {
            UDP.batches_tx_fail.increment();
            metrics::UDP_WRITE_ERRORS.increment(1);
        }
    }
}

fn count_lines(datagram: &[u8]) -> usize {
    datagram.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count()
}
