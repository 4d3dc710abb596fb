//! Watching the servers, so that it is not a statement of somebody which finds out that one has gone or has come back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use hyperbytedb_domain::EngineError;

use crate::client::Client;
use crate::hosts::HostId;
use crate::servers::Servers;

/// The pause between two looks at the servers.
const INTERVAL: Duration = Duration::from_secs(2);
/// A server that is busy may miss one question.
const QUESTIONS: usize = 2;
/// The pause after a server that was late could not be made one of the others.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Ends when it is dropped.
pub(crate) struct Watch {
    _ends: Sender<()>,
}

impl Watch {
    pub(crate) fn start(servers: Arc<Servers>) -> Result<Self, EngineError> {
        let (ends, ended) = channel();
        let watch = move || watch(&servers, &ended);
        let started = thread::Builder::new().name("clickhouse-watch".to_owned()).spawn(watch);
        started.map_err(|error| EngineError::failed("watching the ClickHouse servers", error))?;
        Ok(Self { _ends: ends })
    }
}

fn watch(servers: &Servers, ended: &Receiver<()>) {
    let mut gone = vec![false; servers.client.hosts.all().len()];
    let mut greet_at = Instant::now();
    while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let asked = servers
            .client
            .wait_for_each(servers.client.hosts.all(), async |host| is_gone(&servers.client, host).await);
        let Ok(asked) = asked else { return };
        for (host, is_gone) in asked {
            let url = servers.client.hosts.url(host);
            match (gone[host], is_gone) {
                (false, true) => tracing::warn!("ClickHouse at {url} answers nothing any more"),
                (true, false) => {
                    tracing::info!("ClickHouse at {url} answers again");
                    // It may lack what the others have got meanwhile.
                    servers.tables.forget_all();
                }
                _ => {}
            }
            gone[host] = is_gone;
        }
        if Instant::now() >= greet_at
            && let Err(error) = servers.greet_late()
        {
            tracing::error!("{error}");
            greet_at = Instant::now() + LOOK_AGAIN;
        }
    }
}

/// Whether a server answers nothing. Then nobody waits for its answers any longer.
async fn is_gone(client: &Client, host: HostId) -> bool {
    for _ in 0..QUESTIONS {
        if !client.probe(host).await.is_err_and(|failure| failure.is_unreachable()) {
            return false;
        }
    }
    client.hosts.give_up(host);
    true
}
