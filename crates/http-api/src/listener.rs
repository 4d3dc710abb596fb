//! A listener, on a TCP port or a unix socket, that serves a bounded number of connections; one more waits for its place, others in
//! the system's backlog. A connection whose client takes nothing of what is sent to it for too long breaks, so that it holds nothing for ever.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use hyperbytedb_domain::{limits, settings};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::tls::TlsSettings;

/// Time that a client gets to take something while the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Where connections come from.
pub enum Socket {
    /// With TLS settings the port speaks TLS.
    Tcp(TcpListener, Option<TlsSettings>),
    Unix(UnixListener),
}

/// Accepts up to a number of connections at one time.
pub struct BoundedListener {
    socket: Socket,
    limits: ConnectionLimits,
}

/// How long a client may take nothing.
#[derive(Clone)]
struct Patience {
    timeout: Duration,
    stopping: watch::Receiver<bool>,
}

impl Patience {
    async fn run_out(mut self) {
        let stop = async {
            // An error means that nobody can stop the server any more: it is on its way down.
            let _ = self.stopping.wait_for(|stop| *stop).await;
            sleep(STOP_GRACE).await;
        };
        tokio::select! {
            () = sleep(self.timeout) => {}
            () = stop => {}
        }
    }
}

/// What all listeners of a server share.
#[derive(Clone)]
pub struct ConnectionLimits {
    permits: Arc<Semaphore>,
    patience: Patience,
}

impl ConnectionLimits {
    /// A client may take nothing of an answer for `send_timeout`, or for a moment once `stopping`.
    pub fn new(max_connections: usize, send_timeout: Duration, stopping: watch::Receiver<bool>) -> Self {
        let permits = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { permits, patience: Patience { timeout: send_timeout, stopping } }
    }
}

impl ConnectionLimits {
    /// A place for a connection that is there: a listener without one holds no place that another could use.
    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        limits::exceeded(settings::SERVER_MAX_CONNECTIONS);
        // The semaphore is never closed.
        self.permits.clone().acquire_owned().await.ok()
    }
}

impl BoundedListener {
    pub fn new(socket: Socket, limits: ConnectionLimits) -> Self {
        Self { socket, limits }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    /// `None`: the unix socket.
    type Addr = Option<SocketAddr>;

    async fn accept(&mut self) -> (Connection, Option<SocketAddr>) {
        let (stream, peer): (Box<dyn Stream>, Option<SocketAddr>) = match &mut self.socket {
            Socket::Tcp(listener, tls) => {
                let (stream, address) = Listener::accept(listener).await;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("TCP_NODELAY: {error}");
                }
                let peer = Some(address);
                match tls {
                    Some(tls) => (Box::new(tls.accept(stream)), peer),
                    None => (Box::new(stream), peer),
                }
            }
            Socket::Unix(listener) => (Box::new(Listener::accept(listener).await.0), None),
        };
        let permit = self.limits.enter().await;
        let patience = self.limits.patience.clone();
        (Connection { stream, patience, stalled: None, _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(listener, _) => listener.local_addr().map(Some),
            Socket::Unix(_) => Ok(None),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection and its place among them.
pub struct Connection {
    stream: Box<dyn Stream>,
    patience: Patience,
    /// Ends when the client has taken nothing for too long.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = &self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(patience.clone().run_out()));
        ready!(stalled.as_mut().poll(context));
        limits::exceeded(settings::HTTP_SEND_TIMEOUT_SECS);
        tracing::warn!(
            "a client that took nothing of its answer is cut off ({})",
            settings::HTTP_SEND_TIMEOUT_SECS
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
