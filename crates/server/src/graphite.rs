//! Graphite's plaintext protocol over TCP or UDP.

use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::GRAPHITE;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyperbytedb_application::threads::{Stop, Threads};
use hyperbytedb_application::waiting::now_ns;
use hyperbytedb_domain::settings;
use hyperbytedb_graphite::{GraphiteParser, LineError};
use parking_lot::{Mutex, MutexGuard};

use crate::batch::{Batch, BatchOptions, BatchWriter};
use crate::config::GraphiteConfig;
use crate::udp::{self, Datagrams};

/// How often who waits for bytes looks whether he must end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 64 << 10;
/// A longer line ends its connection.
const LINE_BYTES_MAX: usize = 64 << 10;

pub enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Opens the port.
pub fn bind(config: &GraphiteConfig) -> std::io::Result<Socket> {
    let address = &config.bind_address;
    if config.protocol == "udp" {
        return udp::bind(address, settings::GRAPHITE_BIND_ADDRESS).map(Socket::Udp);
    }
    let named = |error: std::io::Error| {
        let setting = settings::GRAPHITE_BIND_ADDRESS;
        std::io::Error::new(error.kind(), format!("cannot listen on {address} ({setting}): {error}"))
    };
    let listener = TcpListener::bind(address).map_err(named)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener))
}

pub struct GraphiteListener {
    pub socket: Socket,
    pub parser: GraphiteParser,
    pub options: BatchOptions,
    pub writer: BatchWriter,
    /// More wait in the system's backlog.
    pub max_connections: usize,
    pub batch: Mutex<Batch>,
    pub connections: AtomicUsize,
}

impl GraphiteListener {
    /// One thread listens, one writes what has waited long enough; each connection has its own.
    pub fn start(self, threads: &Threads) -> std::io::Result<()> {
        let listener = Arc::new(self);
        let writing = listener.clone();
        threads.spawn("graphite-batches", move |stop| writing.write_batches(stop))?;
        threads.spawn("graphite", move |stop| listener.run(stop))
    }

    fn run(self: &Arc<Self>, stop: &Stop) {
        self.writer.create_database();
        match &self.socket {
            Socket::Udp(socket) => {
                let mut datagrams = Datagrams::of(socket, || metrics::GRAPHITE_READ_ERRORS.increment(1));
                while !stop.is_set() {
                    let datagram = datagrams.next(stop, None);
                    GRAPHITE.bytes_rx.add(datagram.len() as i64);
                    datagram.split(|&byte| byte == b'\n').for_each(|line| self.take(line));
                }
            }
            Socket::Tcp(listener) => self.accept(listener, stop),
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, stop: &Stop) {
        while !stop.is_set() {
            if self.connections.load(Ordering::Acquire) < self.max_connections {
                match listener.accept() {
                    Ok((stream, _)) => {
                        self.serve(stream, stop);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => tracing::warn!(%error, "Graphite: cannot accept a connection"),
                }
            }
            stop.wait(ACCEPT_PAUSE);
        }
    }

    fn serve(self: &Arc<Self>, stream: TcpStream, stop: &Stop) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        GRAPHITE.conns_active.increment();
        GRAPHITE.conns_handled.increment();
        let place = Place(self.clone());
        let stop = stop.clone();
        let thread = std::thread::Builder::new().name("graphite-connection".to_owned());
        let started = thread.spawn(move || {
            if let Err(error) = place.0.read(stream, &stop) {
                tracing::debug!(%error, "Graphite: a connection has ended");
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "Graphite: no thread for a connection");
        }
    }

    /// Until the sender or the server ends it.
    fn read(&self, mut stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOOK_INTERVAL))?;
        let mut unread = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        while !stop.is_set() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    GRAPHITE.bytes_rx.add(length as i64);
                    unread.extend_from_slice(&buffer[..length]);
                    self.take_lines(&mut unread);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
            if unread.len() > LINE_BYTES_MAX {
                GRAPHITE.points_parse_fail.increment();
                tracing::warn!("Graphite: a line of more than {LINE_BYTES_MAX} bytes ends its connection");
                return Ok(());
            }
        }
        self.take(&unread);
        Ok(())
    }

    /// Takes the whole lines.
    fn take_lines(&self, unread: &mut Vec<u8>) {
        let end = unread.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        unread[..end].split(|&byte| byte == b'\n').for_each(|line| self.take(line));
        unread.drain(..end);
    }

    fn take(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        metrics::GRAPHITE_LINES.increment(1);
        GRAPHITE.points_rx.increment();
        let mut point = String::new();
        match self.parser.print(line, now_ns(), &mut point) {
            Ok(()) => self.add(&point),
            // Graphite's clients send it for what they do not know.
            Err(LineError::Unsupported { value: "NaN", .. }) => GRAPHITE.points_nan_fail.increment(),
            Err(error) => {
                GRAPHITE.points_parse_fail.increment();
                tracing::info!(line, %error, "Graphite: unable to parse line");
            }
        }
    }

    fn add(&self, point: &str) {
        let mut batch = self.batch.lock();
        batch.add(point.as_bytes(), 1);
        // Who sends waits meanwhile; others go on gathering.
        self.write_due(batch);
    }

    fn write_batches(&self, stop: &Stop) {
        while stop.wait(self.options.timeout.clamp(ACCEPT_PAUSE, LOOK_INTERVAL)) {
            self.write_due(self.batch.lock());
        }
        // What they have read is written behind them.
        while self.connections.load(Ordering::Acquire) > 0 {
            std::thread::sleep(ACCEPT_PAUSE);
        }
        let rest = std::mem::take(&mut *self.batch.lock());
        self.write(rest);
    }

    fn write_due(&self, mut batch: MutexGuard<'_, Batch>) {
        if batch.is_due(self.options) {
            let due = std::mem::take(&mut *batch);
            drop(batch);
            self.write(due);
        }
    }

    fn write(&self, batch: Batch) {
        let count = batch.count as i64;
        if count == 0 {
            return;
        }
        if self.writer.write(batch) {
            GRAPHITE.batches_tx.increment();
            GRAPHITE.points_tx.add(count);
        } else {
            GRAPHITE.batches_tx_fail.increment();
            metrics::GRAPHITE_WRITE_ERRORS.increment(1);
        }
    }
}

/// Of a connection; given up when its thread ends.
struct Place(Arc<GraphiteListener>);

impl Drop for Place {
    fn drop(&mut self) {
        GRAPHITE.conns_active.add(-1);
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
