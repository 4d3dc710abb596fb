//! The server's life: listen, replay, serve, stop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::Phase;
use hyperbytedb_domain::settings;
use hyperbytedb_http_api::{BoundedListener, ConnectionLimits, Peer, Socket};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::compose::Application;
use crate::config::Config;
use crate::listeners;

/// Runs until SIGTERM or SIGINT. A second signal exits at once.
pub fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let application = Arc::new(Application::open(config)?);
    let served = runtime.block_on(listen(config, &application));
    application.readiness.set(Phase::Stopping);
    // Requests that were cut off must not hold up the final flush.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Err(error) = served {
        application.end_threads();
        return Err(error);
    }
    application.stop()?;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(config: &Config, application: &Arc<Application>) -> Result<(), Box<dyn Error>> {
    let address = config.server.address();
    let listener =
        TcpListener::bind(&address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
    let local = listener.local_addr()?;
    let tls = listeners::tls(&config.tls)?;
    let unix = listeners::unix(config)?;
    let (stop, stopping) = watch::channel(false);
    spawn_signal_handler(stop)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("hyperbytedb listening on {scheme}://{local}, data in {}", config.storage.data_dir);
    if !config.auth.enabled && !local.ip().is_loopback() {
        tracing::warn!(
            address = %local,
            "anybody who reaches this address may read, change and delete everything: see auth.enabled"
        );
    }
    tracing::info!(address = %local, data_dir = config.storage.data_dir, "listening");
    let replay = spawn_replay(application.clone());
    let hangup = signal(SignalKind::hangup())?;
    match tls.clone() {
        Some(tls) => {
            tokio::spawn(listeners::keep_certificates_fresh(tls, config.tls.clone(), hangup));
        }
        None => {
            tokio::spawn(listeners::pass_over_hangups(hangup));
        }
    }
    let router = hyperbytedb_http_api::router(application.http_state(config)?);
    let send_timeout = Duration::from_secs(config.http.send_timeout_secs);
    let limits = ConnectionLimits::new(config.server.max_connections, send_timeout, stopping.clone());
    let serve = |socket| {
        let listener = BoundedListener::new(socket, limits.clone());
        let server = axum::serve(listener, router.clone().into_make_service_with_connect_info::<Peer>())
            .with_graceful_shutdown(wait_for(stopping.clone()));
        server.into_future()
    };
    let (unix, _socket_file) = unix.unzip();
    let serve_unix = unix.map(|listener| serve(Socket::Unix(listener)));
    let serve_tcp = serve(Socket::Tcp(listener, tls));
    let served = async {
        tokio::try_join!(serve_tcp, async {
            match serve_unix {
                Some(server) => server.await,
                None => Ok(()),
            }
        })
    };
    let limit = Duration::from_secs(config.server.shutdown_timeout_secs);
    tokio::select! {
        ended = served => ended.map(|_| ())?,
        () = after(stopping, limit) => {
            let setting = settings::SERVER_SHUTDOWN_TIMEOUT_SECS;
            tracing::warn!(setting, "requests that still run after the time to shut down are cut off");
        }
        failed = replay => return Err(failed),
    }
    Ok(())
}

/// Replays the log beside the listener, so that `/ping` and `/health` answer meanwhile. Ends only on failure.
async fn spawn_replay(application: Arc<Application>) -> Box<dyn Error> {
    match tokio::task::spawn_blocking(move || application.replay().map_err(|e| e.to_string())).await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => format!("the server could not start: {error}").into(),
        Err(error) => format!("the replay ended abnormally: {error}").into(),
    }
}

pub fn spawn_signal_handler(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for first in [true, false] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if first {
                tracing::info!(signal = name, "stopping: no new requests");
                stop.send_replace(true);
            } else {
                tracing::warn!(signal = name, "second signal: exiting at once");
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

pub async fn wait_for(mut stopping: watch::Receiver<bool>) {
    // An error means that the handler is gone: stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

pub async fn after(stopping: watch::Receiver<bool>, limit: Duration) {
    wait_for(stopping).await;
    tokio::time::sleep(limit).await;
}
