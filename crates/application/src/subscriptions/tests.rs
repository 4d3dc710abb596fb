//! Readers of the log, with a destination that does as it is told.

use std::collections::VecDeque;

use hyperbytedb_domain::ports::{Delivery, DeliveryError};
use parking_lot::Mutex;

use super::*;
use crate::testing::{DATABASE, Node};

/// Takes what it gets, but for the next requests, which end so.
#[derive(Default)]
struct Destination {
    outcomes: Mutex<VecDeque<DeliveryError>>,
    taken: Mutex<Vec<String>>,
    /// The reader, which is told to end with the next request that fails.
    is_over: Arc<AtomicBool>,
}

impl DeliveryPort for Destination {
    fn deliver(&self, delivery: &Delivery<'_>, _: &dyn Fn() -> bool) -> Result<(), DeliveryError> {
        if let Some(error) = self.outcomes.lock().pop_front() {
            self.is_over.store(matches!(error, DeliveryError::GivenUp), Ordering::Release);
            return Err(error);
        }
        self.taken.lock().push(String::from_utf8_lossy(&delivery.lines).into_owned());
        Ok(())
    }
}

fn route() -> Route {
    Route {
        database: DATABASE.to_owned(),
        retention_policy: "autogen".to_owned(),
        subscription: "s".to_owned(),
        mode: "ALL".to_owned(),
        destinations: vec!["http://one".to_owned()],
    }
}

/// A reader that begins where its cursor is, as after a start.
fn reader(node: &Node, destination: &Arc<Destination>, options: SubscriberOptions) -> Reader {
    let cursor = route().cursor();
    destination.is_over.store(false, Ordering::Release);
    Reader {
        options,
        wal: node.ports.wal.clone(),
        flush: node.flush.clone(),
        delivery: destination.clone(),
        position: node.flush.cursors().position(&cursor).expect("a cursor"),
        cursor,
        next_destination: 0,
        route: route(),
        counts: Arc::default(),
        is_over: destination.is_over.clone(),
        is_dropped: false,
    }
}

/// A node with a subscription that has got nothing yet.
fn node() -> Node {
    let node = Node::new();
    node.flush.cursors().advance(&route().cursor(), node.flush.applied()).expect("a cursor");
    node
}

#[test]
fn what_was_not_delivered_is_sent_after_a_restart() {
    let (node, destination) = (node(), Arc::new(Destination::default()));
    node.write("m v=1 1");
    destination.outcomes.lock().push_back(DeliveryError::GivenUp);
    reader(&node, &destination, SubscriberOptions::default()).step().expect("a step");
    assert!(destination.taken.lock().is_empty());
    let node = node.restart();
    reader(&node, &destination, SubscriberOptions::default()).step().expect("a step");
    assert_eq!(*destination.taken.lock(), ["m v=1 1\n"]);
    let node = node.restart();
    assert!(
        !reader(&node, &destination, SubscriberOptions::default()).step().expect("a step"),
        "it was sent"
    );
}

#[test]
fn what_is_refused_or_too_far_behind_is_counted() {
    let (node, destination) = (node(), Arc::new(Destination::default()));
    node.write("m v=1 1\nm v=2 2");
    destination.outcomes.lock().push_back(DeliveryError::Refused("no".to_owned()));
    let mut refused = reader(&node, &destination, SubscriberOptions::default());
    refused.step().expect("a step");
    assert_eq!(refused.counts.points_dropped.load(Ordering::Relaxed), 2);

    node.write("m v=3 3");
    let options = SubscriberOptions { max_backlog_bytes: 0, ..SubscriberOptions::default() };
    let mut behind = reader(&node, &destination, options);
    behind.step().expect("a step");
    assert_eq!(behind.counts.points_dropped.load(Ordering::Relaxed), 1);
    assert!(destination.taken.lock().is_empty());
}
