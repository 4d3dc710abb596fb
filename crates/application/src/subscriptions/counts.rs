//! What subscriptions have sent, for SHOW STATS and `/metrics`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use super::Route;

/// Of one route.
#[derive(Debug, Default)]
pub struct Counts {
    pub points_written: AtomicU64,
    /// Requests that failed or were refused.
    pub write_failures: AtomicU64,
    /// Points that were left out: refused, or too far behind.
    pub points_dropped: AtomicU64,
}

/// Of all routes.
#[derive(Debug, Default)]
pub struct SubscriberCounts {
    routes: Mutex<HashMap<Route, Arc<Counts>>>,
    create_failures: AtomicU64,
}

impl Counts {
    pub(super) fn note_written(&self, points: u64) {
        self.points_written.fetch_add(points, Ordering::Relaxed);
        metrics::SUBSCRIBER_POINTS_WRITTEN.increment(points);
    }

    pub(super) fn note_failure(&self) {
        self.write_failures.fetch_add(1, Ordering::Relaxed);
        metrics::SUBSCRIBER_WRITE_FAILURES.increment(1);
    }

    pub(super) fn note_dropped(&self, points: u64) {
        self.points_dropped.fetch_add(points, Ordering::Relaxed);
        metrics::SUBSCRIBER_POINTS_DROPPED.increment(points);
    }
}

impl SubscriberCounts {
    pub(super) fn of(&self, route: &Route) -> Arc<Counts> {
        self.routes.lock().entry(route.clone()).or_default().clone()
    }

    pub(super) fn retain(&self, is_wanted: impl Fn(&Route) -> bool) {
        self.routes.lock().retain(|route, _| is_wanted(route));
    }

    pub(super) fn note_create_failure(&self) {
        self.create_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn create_failures(&self) -> u64 {
        self.create_failures.load(Ordering::Relaxed)
    }

    /// By database, policy, subscription and destination.
    pub fn all(&self) -> Vec<(Route, Arc<Counts>)> {
        let routes = self.routes.lock();
        let mut all: Vec<_> = routes.iter().map(|(route, counts)| (route.clone(), counts.clone())).collect();
        let key = |route: &Route| {
            let Route { database, retention_policy, subscription, destinations, .. } = route.clone();
            (database, retention_policy, subscription, destinations)
        };
        all.sort_by_cached_key(|(route, _)| key(route));
        all
    }
}
