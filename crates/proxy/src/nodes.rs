//! The nodes, whether they are ready, and which one is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use tokio::sync::watch;

use crate::ProxyOptions;

/// A node, as the proxy knows it.
pub struct Node {
    url: String,
    ready: watch::Sender<bool>,
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

    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Those under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn begin(self: &Arc<Self>) -> Turn {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    /// Returns when the node is not ready any more.
    pub async fn until_down(&self) {
        // Its sender lives as long as the node.
        let _ = self.ready.subscribe().wait_for(|ready| !ready).await;
    }

    fn set(&self, is_ready: bool, reason: &str) -> bool {
        let changed = self.ready.send_if_modified(|ready| std::mem::replace(ready, is_ready) != is_ready);
        match (changed, is_ready) {
            (true, true) => tracing::info!(node = self.url, "a node is ready"),
            (true, false) => tracing::warn!(node = self.url, reason, "a node is not ready"),
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
            let node =
                Arc::new(Node { url, ready: watch::Sender::new(false), requests: AtomicUsize::new(0) });
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

    /// The ready node with the least to do that was not tried; by turns where several have.
    pub fn choose(&self, tried: &[Arc<Node>]) -> Option<Arc<Node>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (head, tail) = self.nodes.split_at(first % self.nodes.len().max(1));
        let is_left =
            |node: &&Arc<Node>| node.is_ready() && !tried.iter().any(|other| Arc::ptr_eq(node, other));
        tail.iter().chain(head).filter(is_left).min_by_key(|node| node.requests()).cloned()
    }

    /// Notes that a node took no connection: it is not asked for anything until it says that it is ready.
    pub fn mark_down(&self, node: &Node, reason: &str) {
        if node.set(false, reason) {
            self.changes.send_modify(|count| *count += 1);
        }
    }
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
        let (is_ready, reason) = match client.get(&url).timeout(timeout).send().await {
            Ok(answer) => (answer.status() == StatusCode::OK, format!("it answers {}", answer.status())),
            Err(error) => (false, error.to_string()),
        };
        if node.set(is_ready, &reason) {
            changes.send_modify(|count| *count += 1);
        }
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_node_with_the_least_to_do_is_next() {
        let node = |ready| {
            let ready = watch::Sender::new(ready);
            Arc::new(Node { url: String::new(), ready, requests: AtomicUsize::new(0) })
        };
        let nodes = Nodes {
            nodes: vec![node(true), node(false), node(true)],
            next: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
        };
        let is = |chosen: Option<Arc<Node>>, index: usize| {
            chosen.is_some_and(|node| Arc::ptr_eq(&node, &nodes.nodes[index]))
        };
        assert!(is(nodes.choose(&[]), 0) && is(nodes.choose(&[]), 2), "by turns");
        let turn = nodes.nodes[0].begin();
        assert!((0..6).all(|_| is(nodes.choose(&[]), 2)));
        drop(turn);
        assert!(is(nodes.choose(&[nodes.nodes[2].clone()]), 0), "not one that was tried");
        nodes.mark_down(&nodes.nodes[0], "a test");
        assert!(nodes.choose(&[nodes.nodes[2].clone()]).is_none());
    }
}
