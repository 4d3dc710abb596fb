//! Where the server listens: a TCP port, with TLS where there is a certificate, and a unix socket.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use hyperbytedb_http_api::tls::{TlsOptions, TlsSettings, TlsVersion};
use tokio::net::UnixListener;
use tokio::signal::unix::Signal;

use crate::config::{Config, TlsConfig};

/// The TLS settings; `None` without a certificate.
pub fn tls(config: &TlsConfig) -> Result<Option<TlsSettings>, Box<dyn std::error::Error>> {
    Ok(options(config).map(TlsSettings::load).transpose()?)
}

fn options(config: &TlsConfig) -> Option<TlsOptions> {
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    Some(TlsOptions {
        certificate: path(&config.certificate)?,
        key: path(&config.key).unwrap_or_else(|| config.certificate.clone().into()),
        client_ca: path(&config.client_ca),
        client_required: config.client_required,
        min_version: if config.min_version == "tls1.3" { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
    })
}

/// Without certificates there is nothing to read again at a `hangup`, which must not end the server. Never ends.
pub async fn pass_over_hangups(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: there are no certificates to read again");
    }
}

/// Reads the certificates again at each `hangup`, and when their files have changed. Never ends.
pub async fn keep_certificates_fresh(settings: TlsSettings, config: TlsConfig, mut hangup: Signal) {
    let files = [config.certificate, config.key, config.client_ca];
    let changed = || files.iter().map(|file| changed_at(file)).collect::<Vec<_>>();
    let mut seen = changed();
    loop {
        let is_asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(Duration::from_secs(config.reload_interval_secs)) => false,
        };
        let now = changed();
        if !is_asked && now == seen {
            continue;
        }
        seen = now;
        match settings.reload() {
            Ok(()) => tracing::info!("the certificates were read again"),
            Err(error) => tracing::error!(%error, "the certificates that were read before stay in use"),
        }
    }
}

fn changed_at(file: &str) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// A unix socket, removed when dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens on the configured unix socket, if there is one. What a server that crashed has left there is removed.
pub fn unix(config: &Config) -> Result<Option<(UnixListener, SocketFile)>, String> {
    let path = Path::new(&config.http.unix_socket);
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| format!("cannot listen on {}: {error}", path.display());
    let is_left_over = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
        && UnixStream::connect(path).is_err();
    if is_left_over {
        fs::remove_file(path).map_err(|e| failed(&e))?;
    }
    let mode = u32::from_str_radix(&config.http.unix_socket_permissions, 8).map_err(|e| failed(&e))?;
    let listener = bind(path, mode).map_err(|e| failed(&e))?;
    Ok(Some((listener, SocketFile(path.to_owned()))))
}

/// Nobody may connect before the permissions are set: until then the socket is in a folder that only its owner may enter.
fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if path.exists() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let private = tempfile::Builder::new().prefix(".").tempdir_in(parent)?;
    let socket = private.path().join("s");
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(mode))?;
    fs::rename(&socket, path)?;
    Ok(listener)
}
