//! Readers of the log, with a destination that does as it is told.

use std::collections::VecDeque;

use hyperbytedb_domain::ports::{Delivery, DeliveryError};
use parking_lot::Mutex;

use super::*;
use hyperbytedb_memory_ports::Call;

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

type Change = Box<dyn FnOnce(&Node) + Send>;

/// A catalogue that changes right after somebody has taken it.
struct Changing {
    node: Node,
    change: Mutex<Option<Change>>,
}

impl CatalogPort for Changing {
    fn catalog(&self) -> Arc<Catalog> {
        let older = self.node.ports.catalog.catalog();
        let change = self.change.lock().take();
        change.into_iter().for_each(|change| change(&self.node));
        older
    }

    fn applied(&self) -> Sequence {
        self.node.ports.catalog.applied()
    }

    fn publish(&self, catalog: Catalog, applied: Sequence) -> Result<(), StorageError> {
        self.node.ports.catalog.publish(catalog, applied)
    }
}

fn service(
    node: &Node,
    destination: &Arc<Destination>,
    change: impl FnOnce(&Node) + Send + 'static,
) -> SubscriberService {
    SubscriberService {
        options: SubscriberOptions::default(),
        catalog: Arc::new(Changing { node: node.clone(), change: Mutex::new(Some(Box::new(change))) }),
        wal: node.ports.wal.clone(),
        flush: node.flush.clone(),
        delivery: destination.clone(),
        counts: Arc::default(),
    }
}

fn create(node: &Node) {
    let Route { database, retention_policy, subscription: name, mode, destinations } = route();
    node.command(Command::CreateSubscription { database, retention_policy, name, mode, destinations });
}

fn drop_it(node: &Node) {
    let Route { database, retention_policy, subscription: name, .. } = route();
    node.command(Command::DropSubscription { database, retention_policy, name });
}

fn position(node: &Node) -> Option<Sequence> {
    node.flush.cursors().position(&route().cursor())
}

fn make_during_a_look(node: &Node, destination: &Arc<Destination>) {
    let service = service(node, destination, create);
    let mut following = Following::default();
    service.look(&mut following);
    let made = node.flush.applied();
    node.write("m v=1 1");
    assert_eq!(position(node), Some(made), "the point is behind the cursor");
    following.end();
}

#[test]
fn a_subscription_that_is_made_during_a_look_keeps_its_cursor() {
    let (node, destination) = (Node::new(), Arc::new(Destination::default()));
    make_during_a_look(&node, &destination);
}

#[test]
fn a_subscription_that_is_made_anew_during_a_look_keeps_its_cursor() {
    let (node, destination) = (Node::new(), Arc::new(Destination::default()));
    create(&node);
    drop_it(&node);
    make_during_a_look(&node, &destination);
}

#[test]
fn cursors_of_dropped_subscriptions_go() {
    let (node, destination) = (Node::new(), Arc::new(Destination::default()));
    create(&node);
    let service = service(&node, &destination, drop_it);
    let mut following = Following::default();
    // The first look still sees it.
    service.look(&mut following);
    assert!(position(&node).is_some());
    // A record that the reader may have passed meanwhile.
    node.write("m v=1 1");
    service.look(&mut following);
    service.look(&mut following);
    assert_eq!(position(&node), None);
    following.end();
    assert_eq!(position(&node), None, "the reader that ended has not brought it back");
}

#[test]
fn a_reader_does_not_bring_a_removed_cursor_back() {
    let (node, destination) = (node(), Arc::new(Destination::default()));
    node.write("m v=1 1");
    let mut reader = reader(&node, &destination, SubscriberOptions::default());
    node.flush.cursors().retain(CURSOR_PREFIX, Sequence::MAX, |_| false).expect("no cursor");
    reader.step().expect("a step");
    assert_eq!(position(&node), None);
}

#[test]
fn the_cursor_is_there_before_anybody_sees_the_subscription() {
    let node = Node::new();
    let seen = Arc::new(Mutex::new(None));
    node.before(Call::CatalogPublish, {
        let seen = seen.clone();
        move |node| *seen.lock() = position(node)
    });
    create(&node);
    assert_eq!(*seen.lock(), Some(node.flush.applied()));
}
