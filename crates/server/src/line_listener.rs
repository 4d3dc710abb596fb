//! TCP connections whose lines are points, which are gathered and written together. Each has a thread of its own; who sends waits
//! while a batch is written.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyperbytedb_application::threads::{Stop, Threads};
use parking_lot::{Mutex, MutexGuard};

use crate::batch::{Batch, BatchOptions, BatchWriter, warn_where_open};

/// How often who waits for bytes looks whether he must end.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 64 << 10;
/// A longer line ends its connection.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A protocol of lines, and what is counted of it.
pub trait Lines: Send + Sync + Sized + 'static {
    /// For the log.
    const NAME: &'static str;
    /// What its threads are named after.
    const THREADS: &'static str;

    /// Looks at a new connection, and may keep it for itself until it ends.
    fn serve(_: &LineListener<Self>, stream: TcpStream, _: &Stop) -> std::io::Result<Option<TcpStream>> {
        Ok(Some(stream))
    }

    /// A connection has begun to send lines, or ended.
    fn connections_changed(&self, by: i64);
    fn received(&self, bytes: usize);
    /// Appends the point of a line, if it is one, and says what the sender is answered.
    fn take(&self, line: &str, point: &mut String) -> Option<&'static str>;
    fn was_too_long(&self);
    /// A batch was written, or refused.
    fn written(&self, points: usize, is_taken: bool);
}

pub struct LineListener<L> {
    pub lines: L,
    pub options: BatchOptions,
    pub writer: BatchWriter,
    /// More wait in the system's backlog.
    pub max_connections: usize,
    batch: Mutex<Batch>,
    connections: AtomicUsize,
}

/// Opens a port for connections; `setting` says which.
pub fn bind(address: &str, setting: &str) -> std::io::Result<TcpListener> {
    let named = |error: std::io::Error| {
        std::io::Error::new(error.kind(), format!("cannot listen on {address} ({setting}): {error}"))
    };
    let listener = TcpListener::bind(address).map_err(named)?;
    listener.set_nonblocking(true)?;
    warn_where_open(listener.local_addr()?, setting);
    Ok(listener)
}

impl<L: Lines> LineListener<L> {
    pub fn new(lines: L, options: BatchOptions, writer: BatchWriter, max_connections: usize) -> Arc<Self> {
        let (batch, connections) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { lines, options, writer, max_connections, batch, connections })
    }

    /// One thread listens, one writes what has waited long enough.
    pub fn start(self: Arc<Self>, socket: TcpListener, threads: &Threads) -> std::io::Result<()> {
        self.start_writer(threads)?;
        threads.spawn(L::THREADS, move |stop| {
            self.writer.create_database();
            self.accept(&socket, stop);
        })
    }

    pub fn start_writer(self: &Arc<Self>, threads: &Threads) -> std::io::Result<()> {
        let listener = self.clone();
        threads.spawn(&format!("{}-batches", L::THREADS), move |stop| listener.write_batches(stop))
    }

    fn accept(self: &Arc<Self>, socket: &TcpListener, stop: &Stop) {
        while !stop.is_set() {
            if self.connections.load(Ordering::Acquire) < self.max_connections {
                match socket.accept() {
                    Ok((stream, _)) => {
                        self.begin(stream, stop);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => tracing::warn!(%error, "{}: cannot accept a connection", L::NAME),
                }
            }
            stop.wait(ACCEPT_PAUSE);
        }
    }

    fn begin(self: &Arc<Self>, stream: TcpStream, stop: &Stop) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.clone());
        let stop = stop.clone();
        let thread = std::thread::Builder::new().name(format!("{}-connection", L::THREADS));
        let started = thread.spawn(move || {
            if let Err(error) = place.0.serve(stream, &stop) {
                tracing::debug!(%error, "{}: a connection has ended", L::NAME);
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "{}: no thread for a connection", L::NAME);
        }
    }

    fn serve(&self, stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOOK_INTERVAL))?;
        let Some(stream) = L::serve(self, stream, stop)? else { return Ok(()) };
        self.lines.connections_changed(1);
        let read = self.read(stream, stop);
        self.lines.connections_changed(-1);
        read
    }

    /// Until the sender or the server ends it.
    fn read(&self, mut stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
        let mut unread = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        while !stop.is_set() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    self.lines.received(length);
                    unread.extend_from_slice(&buffer[..length]);
                    self.take_lines(&mut unread, &mut stream)?;
                }
                Err(error) if is_nothing_yet(&error) => {}
                Err(error) => return Err(error),
            }
            if unread.len() > LINE_BYTES_MAX {
                self.lines.was_too_long();
                tracing::warn!("{}: a line of more than {LINE_BYTES_MAX} bytes ends its connection", L::NAME);
                return Ok(());
            }
        }
        if !unread.is_empty() {
            self.take(&unread);
        }
        Ok(())
    }

    /// Takes the whole lines.
    fn take_lines(&self, unread: &mut Vec<u8>, sender: &mut impl Write) -> std::io::Result<()> {
        let end = unread.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let Some((_, lines)) = unread[..end].split_last() else { return Ok(()) };
        for line in lines.split(|&byte| byte == b'\n') {
            if let Some(answer) = self.take(line) {
                sender.write_all(answer.as_bytes())?;
            }
        }
        unread.drain(..end);
        Ok(())
    }

    pub fn take(&self, line: &[u8]) -> Option<&'static str> {
        let mut point = String::new();
        let answer = self.lines.take(String::from_utf8_lossy(line).trim(), &mut point);
        if !point.is_empty() {
            let mut batch = self.batch.lock();
            batch.add(point.as_bytes(), 1);
            // Who sends waits meanwhile; others go on gathering.
            self.write_due(batch);
        }
        answer
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
        let points = batch.count;
        if points > 0 {
            self.lines.written(points, self.writer.write(batch));
        }
    }
}

/// Whether a read has ended without bytes, and another one may find some.
pub fn is_nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Of a connection; given up when its thread ends.
struct Place<L>(Arc<LineListener<L>>);

impl<L> Drop for Place<L> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
