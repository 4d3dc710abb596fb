//! `hyperbytedb proxy`: the listener in front of a cluster's nodes. It has no data, and no part of a server runs.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::map_request;
use axum::serve::IncomingStream;
use hyperbytedb_domain::settings;
use hyperbytedb_http_api::{BoundedListener, ConnectionLimits, Socket, VERSION};
use hyperbytedb_proxy::{Peer, ProxyOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::listeners;
use crate::serve::{after, spawn_signal_handler, wait_for};

/// Runs until SIGTERM or SIGINT. A second signal exits at once.
pub fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(listen(config))
}

fn options(config: &Config) -> Result<ProxyOptions, String> {
    let proxy = &config.proxy;
    if proxy.nodes.is_empty() {
        return Err("proxy.nodes is empty: it must have the base URLs of the nodes".to_owned());
    }
    if proxy.health_interval_ms == 0 || proxy.health_timeout_ms == 0 {
        return Err("proxy.health_interval_ms and proxy.health_timeout_ms must be greater than 0".to_owned());
    }
    let node_ca = if proxy.node_ca.is_empty() {
        Vec::new()
    } else {
        std::fs::read(&proxy.node_ca).map_err(|e| format!("proxy.node_ca: {}: {e}", proxy.node_ca))?
    };
    Ok(ProxyOptions {
        nodes: proxy.nodes.clone(),
        node_ca,
        health_interval: Duration::from_millis(proxy.health_interval_ms),
        health_timeout: Duration::from_millis(proxy.health_timeout_ms),
        retry_timeout: Duration::from_secs(proxy.retry_timeout_secs),
        max_held_body_bytes: proxy.max_held_body_bytes,
        max_held_bytes: proxy.max_held_bytes,
        body_timeout: Duration::from_secs(config.http.body_timeout_secs),
        version: VERSION,
    })
}

async fn listen(config: &Config) -> Result<(), Box<dyn Error>> {
    let options = options(config)?;
    let address = &config.proxy.bind_address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} (proxy.bind_address): {error}"))?;
    let local = listener.local_addr()?;
    let tls = listeners::tls(&config.tls)?;
    let (stop, stopping) = watch::channel(false);
    spawn_signal_handler(stop)?;
    if let Some(tls) = tls.clone() {
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(listeners::keep_certificates_fresh(tls, config.tls.clone(), hangup));
    }
    let router = with_peers(hyperbytedb_proxy::router(options)?);
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("hyperbytedb proxy listening on {scheme}://{local}, nodes {}", config.proxy.nodes.join(" "));
    let send_timeout = Duration::from_secs(config.http.send_timeout_secs);
    let limits = ConnectionLimits::new(config.server.max_connections, send_timeout, stopping.clone());
    let listener = BoundedListener::new(Socket::Tcp(listener, tls), limits);
    let service = router.into_make_service_with_connect_info::<Client>();
    let served = axum::serve(listener, service).with_graceful_shutdown(wait_for(stopping.clone()));
    let limit = Duration::from_secs(config.server.shutdown_timeout_secs);
    tokio::select! {
        ended = served.into_future() => ended?,
        () = after(stopping, limit) => {
            let setting = settings::SERVER_SHUTDOWN_TIMEOUT_SECS;
            tracing::warn!(setting, "requests that still run after the time to shut down are cut off");
        }
    }
    Ok(())
}

/// The address of a connection's client, as the listener knows it.
#[derive(Debug, Clone, Copy)]
struct Client(Option<SocketAddr>);

impl Connected<IncomingStream<'_, BoundedListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

fn with_peers(router: Router) -> Router {
    let name_peer = |ConnectInfo(Client(peer)): ConnectInfo<Client>, mut request: Request| {
        request.extensions_mut().insert(Peer(peer));
        std::future::ready(request)
    };
    router.layer(map_request(name_peer))
}
