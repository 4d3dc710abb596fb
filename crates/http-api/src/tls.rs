//! TLS: certificates from PEM files, which are read again while the server runs.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::{Accept, TlsAcceptor, server};

/// Time that a client gets for its part of the handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Where the certificates are, and what is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The server's certificate, followed by those that it is signed with.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Those who sign the certificates of clients; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused, where `client_ca` is set.
    pub client_required: bool,
    pub min_version: TlsVersion,
}

/// The least version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("TLS: {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("TLS: {0}")]
    Settings(String),
}

/// What connections are accepted with, as it was last read.
#[derive(Clone)]
pub struct TlsSettings {
    options: TlsOptions,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl TlsSettings {
    pub fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(options.read()?));
        Ok(Self { options, current })
    }

    /// Reads the files again, for connections that come; on an error all stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(self.options.read()?));
        Ok(())
    }

    pub fn accept(&self, stream: TcpStream) -> TlsStream {
        let accept = TlsAcceptor::from(self.current.load_full()).accept(stream);
        TlsStream::Handshake(Box::new(Handshake { accept, patience: Box::pin(sleep(HANDSHAKE_TIME_MAX)) }))
    }
}

impl TlsOptions {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let chain = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| file_error(&self.key, e))?;
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            TlsVersion::V1_2 => &[&version::TLS12, &version::TLS13],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| TlsError::Settings(e.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(path)? {
                    roots.add(certificate).map_err(|e| file_error(path, e))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = if self.client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| file_error(path, e))?)
            }
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|e| file_error(&self.certificate, e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(certificates) if certificates.is_empty() => Err(file_error(path, "it holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(file_error(path, error)),
    }
}

fn file_error(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// A connection that begins with a handshake, which takes place when it is first read or written: so it holds up no other.
pub enum TlsStream {
    Handshake(Box<Handshake>),
    Open(Box<server::TlsStream<TcpStream>>),
    Failed,
}

pub struct Handshake {
    accept: Accept<TcpStream>,
    patience: Pin<Box<Sleep>>,
}

impl TlsStream {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut server::TlsStream<TcpStream>>>> {
        if let Self::Handshake(handshake) = self {
            let opened = match Pin::new(&mut handshake.accept).poll(context) {
                Poll::Ready(opened) => opened,
                Poll::Pending => {
                    ready!(handshake.patience.as_mut().poll(context));
                    Err(io::ErrorKind::TimedOut.into())
                }
            };
            *self = match opened {
                Ok(stream) => Self::Open(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    Self::Failed
                }
            };
        }
        Poll::Ready(match self {
            Self::Open(stream) => Ok(Pin::new(&mut **stream)),
            Self::Handshake(_) | Self::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Handshake(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }
}
