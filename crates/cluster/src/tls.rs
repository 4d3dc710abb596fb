//! TLS between nodes: each shows the others a certificate that a common authority has signed, and asks for theirs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at one time; more connections wait in the system's backlog.
const HANDSHAKES_MAX: usize = 64;
/// After a connection that could not be taken, for lack of files perhaps.
const PAUSE: Duration = Duration::from_millis(100);

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// This node's certificate, followed by those that it is signed with.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Those who sign the certificates of nodes.
    pub ca: PathBuf,
}

/// What nodes speak with.
#[derive(Clone)]
pub struct Tls {
    pub server: Arc<ServerConfig>,
    pub client: ClientConfig,
}

impl TlsFiles {
    pub fn load(&self) -> Result<Tls, String> {
        let at =
            |path: &Path, error: &dyn std::fmt::Display| format!("cluster TLS: {}: {error}", path.display());
        let key = || PrivateKeyDer::from_pem_file(&self.key).map_err(|e| at(&self.key, &e));
        let chain = certificates(&self.certificate).map_err(|e| at(&self.certificate, &e))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca).map_err(|e| at(&self.ca, &e))? {
            roots.add(certificate).map_err(|e| at(&self.ca, &e))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| at(&self.ca, &e))?;
        let versions = |e: rustls::Error| format!("cluster TLS: {e}");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .map_err(|e| at(&self.certificate, &e))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(|e| at(&self.certificate, &e))?;
        Ok(Tls { server: Arc::new(server), client })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err("it holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// Gives connections whose handshake is done: one that takes long holds up no other.
pub struct TlsListener {
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

impl TlsListener {
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(HANDSHAKES_MAX);
        tokio::spawn(accept(listener, TlsAcceptor::from(config), sender));
        Ok(Self { accepted, local })
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while !sender.is_closed() {
        // The semaphore is never closed.
        let turn = turns.clone().acquire_owned().await;
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = sender.closed() => return,
        };
        let (stream, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "a connection of another node could not be taken");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let _turn = turn;
            // It only saves time.
            let _ = stream.set_nodelay(true);
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // Nobody listens any more where it cannot be sent.
                Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS with another node failed"),
                Err(_) => tracing::warn!(%peer, "TLS with another node took too long"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The runtime is on its way down.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
