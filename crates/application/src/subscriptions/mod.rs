//! Subscriptions: every accepted point of a retention policy, sent on as line protocol.
//!
//! Each destination of ALL, and each subscription of ANY as a whole, is a reader of the log with a cursor of its own and a
//! thread. So points go out in the log's order, a restart goes on where it ended, writers wait for nobody, and a receiver
//! that stalls delays no other. What one may hold back of the log is bounded in bytes and age: beyond it the oldest is left
//! out and counted.

mod counts;
mod reader;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{Catalog, Command, Subscription};
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{CatalogPort, DeliveryPort, WalPort};
use hyperbytedb_domain::wal::Sequence;

pub use self::counts::{Counts, SubscriberCounts};
use self::reader::Reader;
use crate::flush::FlushService;
use crate::log::cursors::Cursors;
use crate::threads::Stop;

/// How often the catalogue is looked at for subscriptions.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const CURSOR_PREFIX: &str = "subscription/";

/// Settings of subscriptions.
#[derive(Debug, Clone)]
pub struct SubscriberOptions {
    /// Else nothing is sent, and nothing of the log is held back.
    pub enabled: bool,
    /// Bytes of log that a destination may be behind.
    pub max_backlog_bytes: u64,
    /// How old what a destination has not got may become.
    pub max_backlog_age: Duration,
    /// How long a destination may take for one request.
    pub timeout: Duration,
    /// Destinations at one time.
    pub max_destinations: usize,
    /// The only origin whose points are sent, in a cluster: each node sends what it took from its clients.
    pub origin: Option<NodeId>,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            max_backlog_bytes: 64 << 20,
            max_backlog_age: Duration::from_secs(600),
            timeout: Duration::from_secs(30),
            max_destinations: 64,
            origin: None,
        }
    }
}

/// Follows the catalogue: a thread for each reader.
pub struct SubscriberService {
    pub options: SubscriberOptions,
    pub catalog: Arc<dyn CatalogPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub delivery: Arc<dyn DeliveryPort>,
    pub counts: Arc<SubscriberCounts>,
}

/// What one reader sends, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pub database: String,
    pub retention_policy: String,
    pub subscription: String,
    pub mode: String,
    /// Of ALL, one; of ANY, all.
    pub destinations: Vec<String>,
}

impl Route {
    /// Names are quoted, so that no two routes share one.
    fn cursor(&self) -> String {
        let Self { database, retention_policy, subscription, mode, destinations } = self;
        let destination = if mode == "ALL" { destinations.first().map_or("", String::as_str) } else { "" };
        format!("{CURSOR_PREFIX}{database:?}/{retention_policy:?}/{subscription:?}/{destination:?}")
    }
}

fn routes_of(database: &str, retention_policy: &str, subscription: &Subscription) -> Vec<Route> {
    let route = |destinations: Vec<String>| Route {
        database: database.to_owned(),
        retention_policy: retention_policy.to_owned(),
        subscription: subscription.name.clone(),
        mode: subscription.mode.clone(),
        destinations,
    };
    match subscription.mode.as_str() {
        "ALL" => subscription.destinations.iter().map(|one| route(vec![one.clone()])).collect(),
        _ => vec![route(subscription.destinations.clone())],
    }
}

fn routes(catalog: &Catalog) -> Vec<Route> {
    let mut routes = Vec::new();
    for database in catalog.databases_in_order() {
        for policy in database.policies_in_order() {
            for subscription in &policy.subscriptions {
                routes.extend(routes_of(&database.name, &policy.name, subscription));
            }
        }
    }
    routes
}

/// A subscription begins behind the record that makes it. To be called before anybody sees it in the catalogue.
pub(crate) fn begin(cursors: &Cursors, command: &Command, sequence: Sequence) -> Result<(), StorageError> {
    let Command::CreateSubscription { database, retention_policy, name, mode, destinations } = command else {
        return Ok(());
    };
    let (name, mode, destinations) = (name.clone(), mode.clone(), destinations.clone());
    let subscription = Subscription { name, mode, destinations };
    let routes = routes_of(database, retention_policy, &subscription);
    routes.iter().try_for_each(|route| cursors.advance(&route.cursor(), sequence))
}

/// A reader's thread.
struct Running {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What runs, and the catalogue that it follows from.
#[derive(Default)]
struct Following {
    running: HashMap<Route, Running>,
    seen: Option<Arc<Catalog>>,
}

impl SubscriberService {
    pub fn run(&self, stop: &Stop) {
        let mut following = Following::default();
        while stop.wait(LOOK_INTERVAL) {
            self.look(&mut following);
        }
        following.end();
    }

    fn look(&self, following: &mut Following) {
        // The catalogue has what is made up to here; the cursor of what is made behind it is further.
        let as_of = self.flush.applied();
        let catalog = self.catalog.catalog();
        if !self.options.enabled {
            self.keep_cursors(&[], as_of);
            return;
        }
        let is_new = !following.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &catalog));
        // A reader that is gone has panicked.
        if is_new || following.running.values().any(|reader| reader.thread.is_finished()) {
            let is_settled = self.follow(&catalog, as_of, &mut following.running);
            following.seen = is_settled.then_some(catalog);
        }
    }

    /// Starts and ends readers. False when there may be more to do.
    fn follow(&self, catalog: &Catalog, as_of: Sequence, running: &mut HashMap<Route, Running>) -> bool {
        let mut wanted = routes(catalog);
        if wanted.len() > self.options.max_destinations {
            let (destinations, limit) = (wanted.len(), self.options.max_destinations);
            tracing::error!(
                destinations,
                limit,
                "the newest subscriptions get nothing (subscriber.max_destinations)"
            );
            wanted.truncate(limit);
        }
        running.retain(|route, reader| {
            let stays = wanted.contains(route) && !reader.thread.is_finished();
            if !stays {
                reader.is_over.store(true, Ordering::Release);
            }
            stays
        });
        let is_settled = self.keep_cursors(&wanted, as_of);
        self.counts.retain(|route| wanted.contains(route));
        for route in wanted {
            if running.contains_key(&route) {
                continue;
            }
            match self.start(route.clone()) {
                Ok(reader) => drop(running.insert(route, reader)),
                Err(error) => {
                    tracing::error!(%error, subscription = route.subscription, "a subscription could not be started");
                    self.counts.note_create_failure();
                }
            }
        }
        is_settled
    }

    fn keep_cursors(&self, wanted: &[Route], as_of: Sequence) -> bool {
        let names: Vec<String> = wanted.iter().map(Route::cursor).collect();
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
        self.flush.cursors().retain(CURSOR_PREFIX, as_of, is_wanted).unwrap_or_else(|error| {
            tracing::error!(%error, "cursors of dropped subscriptions stay");
            true
        })
    }

    fn start(&self, route: Route) -> Result<Running, StorageError> {
        let (cursors, name) = (self.flush.cursors(), route.cursor());
        // Made by an earlier version, or not at all for an error: from now on.
        let position = cursors.position(&name).unwrap_or_else(|| self.flush.applied());
        cursors.advance(&name, position)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let counts = self.counts.of(&route);
        let mut reader = Reader {
            options: self.options.clone(),
            wal: self.wal.clone(),
            flush: self.flush.clone(),
            delivery: self.delivery.clone(),
            // A power failure may have cut the log short of the cursor.
            position: position.min(self.wal.last_sequence()),
            cursor: name,
            next_destination: 0,
            route,
            counts,
            is_over: is_over.clone(),
            is_dropped: false,
        };
        let thread = std::thread::Builder::new().name("subscription".to_owned()).spawn(move || reader.run());
        let thread = thread.map_err(|error| StorageError::failed("start a thread", error))?;
        Ok(Running { is_over, thread })
    }
}

impl Following {
    fn end(self) {
        self.running.values().for_each(|reader| reader.is_over.store(true, Ordering::Release));
        for (_, reader) in self.running {
            // A panic has been reported.
            let _ = reader.thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
