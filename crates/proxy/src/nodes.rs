//! The nodes, whether they are ready, and which one is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::sync::watch;

use crate::ProxyOptions;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It does not answer, or must not be asked.
    Down,
    /// It answers from what it has, and others may know better: it is asked where no other one is ready.
    Unready,
    Ready,
}

impl Health {
    fn of(status: StatusCode, body: &[u8]) -> Self {
        /// What a node says of itself.
        #[derive(Deserialize)]
        struct Answer {
            status: String,
        }
        if status == StatusCode::OK {
            return Self::Ready;
        }
        let is_unready = serde_json::from_slice(body).is_ok_and(|Answer { status }| status == "unready");
        if is_unready { Self::Unready } else { Self::Down }
    }
}

/// A node, as the proxy knows it.
pub struct Node {
    url: String,
    health: watch::Sender<Health>,
    requests: AtomicUsize,
}

/// A request that a node works on, until its answer has been sent.
pub struct Turn(Arc<Node>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn health(&self) -> Health {
        *self.health.borrow()
    }

    pub fn is_ready(&self) -> bool {
        self.health() == Health::Ready
    }

    /// Those under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn begin(self: &Arc<Self>) -> Turn {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    /// Returns when the node must not be asked any more.
    pub async fn until_down(&self) {
        // Its sender lives as long as the node.
        let _ = self.health.subscribe().wait_for(|health| *health == Health::Down).await;
    }

    fn set(&self, health: Health, reason: &str) -> bool {
        let changed = self.health.send_if_modified(|known| std::mem::replace(known, health) != health);
        match (changed, health) {
            (true, Health::Ready) => tracing::info!(node = self.url, "a node is ready"),
            (true, Health::Unready | Health::Down) => {
                tracing::warn!(node = self.url, reason, "a node is not ready");
            }
            (false, _) => {}
        }
        changed
    }
}

/// All nodes.
pub struct Nodes {
    nodes: Vec<Arc<Node>>,
    next: AtomicUsize,
    /// Counts what has become ready or has ceased to be.
    changes: watch::Sender<u64>,
}

impl Nodes {
    /// Begins to ask the nodes whether they are ready.
    pub fn watch(options: &ProxyOptions, client: &reqwest::Client) -> Result<Self, String> {
        let changes = watch::Sender::new(0);
        let mut nodes = Vec::with_capacity(options.nodes.len());
        for url in &options.nodes {
            let url = url.trim_end_matches('/').to_owned();
            let parsed = Url::parse(&url).map_err(|error| format!("proxy.nodes: {url:?}: {error}"))?;
            if !["http", "https"].contains(&parsed.scheme()) || parsed.path() != "/" {
                return Err(format!("proxy.nodes: {url:?}: it must be as http://host:8086"));
            }
            let node = Arc::new(Node {
                url,
                health: watch::Sender::new(Health::Down),
                requests: AtomicUsize::new(0),
            });
            let (interval, timeout) = (options.health_interval, options.health_timeout);
            tokio::spawn(ask_again(node.clone(), client.clone(), interval, timeout, changes.clone()));
            nodes.push(node);
        }
        Ok(Self { nodes, next: AtomicUsize::new(0), changes })
    }

    pub fn all(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Tells when a node becomes ready.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Of the nodes in the best health the one with the least to do, by turns where several have. Not one that was tried.
    pub fn choose(&self, tried: &[Arc<Node>]) -> Option<Arc<Node>> {
        let best = self.best();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (head, tail) = self.nodes.split_at(first % self.nodes.len().max(1));
        let is_left =
            |node: &&Arc<Node>| node.health() == best && !tried.iter().any(|other| Arc::ptr_eq(node, other));
        let left = tail.iter().chain(head).filter(is_left);
        left.min_by_key(|node| node.requests()).filter(|_| best > Health::Down).cloned()
    }

    /// The health of the node that has the best.
    pub fn best(&self) -> Health {
        self.nodes.iter().map(|node| node.health()).max().unwrap_or(Health::Down)
    }

    /// Notes that a node took no connection: it is not asked for anything until it answers.
    pub fn mark_down(&self, node: &Node, reason: &str) {
        if node.set(Health::Down, reason) {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

async fn ask(
    client: &reqwest::Client,
    url: &str,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), reqwest::Error> {
    let answer = client.get(url).timeout(timeout).send().await?;
    Ok((answer.status(), answer.bytes().await?))
}

async fn ask_again(
    node: Arc<Node>,
    client: reqwest::Client,
    interval: Duration,
    timeout: Duration,
    changes: watch::Sender<u64>,
) {
    let url = format!("{}/health/ready", node.url);
    loop {
        let (health, reason) = match ask(&client, &url, timeout).await {
            Ok((status, body)) => (Health::of(status, &body), String::from_utf8_lossy(&body).into_owned()),
            Err(error) => (Health::Down, error.to_string()),
        };
        if node.set(health, reason.trim()) {
            changes.send_modify(|count| *count += 1);
        }
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(health: &[Health]) -> Nodes {
        let node = |health: &Health| {
            let health = watch::Sender::new(*health);
            Arc::new(Node { url: String::new(), health, requests: AtomicUsize::new(0) })
        };
        let nodes = health.iter().map(node).collect();
        Nodes { nodes, next: AtomicUsize::new(0), changes: watch::Sender::new(0) }
    }

    #[test]
    fn the_ready_node_with_the_least_to_do_is_next() {
        let nodes = nodes(&[Health::Ready, Health::Unready, Health::Ready]);
        let is = |chosen: Option<Arc<Node>>, index: usize| {
            chosen.is_some_and(|node| Arc::ptr_eq(&node, &nodes.nodes[index]))
        };
        assert!(is(nodes.choose(&[]), 0) && is(nodes.choose(&[]), 2), "by turns");
        let turn = nodes.nodes[0].begin();
        assert!((0..6).all(|_| is(nodes.choose(&[]), 2)));
        drop(turn);
        assert!(is(nodes.choose(&[nodes.nodes[2].clone()]), 0), "not one that was tried");
        nodes.mark_down(&nodes.nodes[0], "a test");
        assert!(nodes.choose(&[nodes.nodes[2].clone()]).is_none(), "no unready one beside a ready one");
        nodes.mark_down(&nodes.nodes[2], "a test");
        assert!((0..3).all(|_| is(nodes.choose(&[]), 1)), "the unready one where no other is ready");
        nodes.mark_down(&nodes.nodes[1], "a test");
        assert!(nodes.choose(&[]).is_none());
    }

    #[test]
    fn a_node_says_how_it_is() {
        let health = |status, body: &str| Health::of(status, body.as_bytes());
        assert_eq!(health(StatusCode::OK, "{}"), Health::Ready);
        let unready = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(health(unready, r#"{"status":"unready","message":"alone"}"#), Health::Unready);
        for body in [r#"{"status":"leaving"}"#, r#"{"status":"replaying"}"#, "", "no JSON"] {
            assert_eq!(health(unready, body), Health::Down, "{body}");
        }
    }
}
