//! How many requests one client may send: a token bucket for each address and each user, in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::middleware::Next;
use axum::serve::IncomingStream;
use hyperbytedb_domain::settings;

use crate::encode::Format;
use crate::error::ApiError;
use crate::listener::BoundedListener;
use crate::options::HttpOptions;
use crate::{AppState, admission, body};

/// Clients whose buckets are kept; of more, those that come last share one.
const CLIENTS_MAX: usize = 65_536;
/// How often full buckets are looked for when there are that many.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where a connection comes from; `None`: the unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// The rates of a server's clients.
pub struct Rates {
    by_address: Buckets<IpAddr>,
    by_user: Buckets<String>,
}

impl Rates {
    pub fn new(options: &HttpOptions) -> Self {
        let burst = Duration::from_secs(options.request_burst_secs.into());
        Self {
            by_address: Buckets::new(options.requests_per_second_by_address, burst),
            by_user: Buckets::new(options.requests_per_second_by_user, burst),
        }
    }

    fn take_of_address(&self, address: IpAddr) -> Result<(), ApiError> {
        if self.by_address.take(network(address), Instant::now()) {
            return Ok(());
        }
        let setting = settings::LIMITS_REQUESTS_PER_SECOND_BY_ADDRESS;
        Err(refusal(&format!("from {address}"), self.by_address.per_second, setting))
    }

    pub fn take_of_user(&self, user: &str) -> Result<(), ApiError> {
        if !self.by_user.is_bounded() || self.by_user.take(user.to_owned(), Instant::now()) {
            return Ok(());
        }
        let setting = settings::LIMITS_REQUESTS_PER_SECOND_BY_USER;
        Err(refusal(&format!("of user {user:?}"), self.by_user.per_second, setting))
    }
}

fn refusal(whose: &str, per_second: u32, setting: &'static str) -> ApiError {
    let text = format!("too many requests {whose}: more than {per_second} a second ({setting})");
    let error = ApiError::too_much(StatusCode::TOO_MANY_REQUESTS, setting, text);
    ApiError { retry_after_secs: Some(admission::RETRY_AFTER_SECS), ..error }
}

/// The addresses that one client has at its disposal.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Refuses requests of addresses that send too many, before anything else is done about them.
pub async fn by_address(State(state): State<AppState>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().and_then(|peer| peer.0.0);
    let Some(peer) = peer.filter(|_| state.rates.by_address.is_bounded() && is_counted(request.uri().path()))
    else {
        return next.run(request).await;
    };
    match state.rates.take_of_address(peer.ip()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let is_v2 = request.uri().path().starts_with("/api/v2/");
            let format = Format::negotiate(request.headers());
            body::discard(request.into_body()).await;
            if is_v2 { error.respond_v2() } else { error.respond(format, false) }
        }
    }
}

/// Probes and scrapes come whatever clients do.
fn is_counted(path: &str) -> bool {
    !matches!(path, "/ping" | "/status" | "/metrics" | "/debug/vars") && !path.starts_with("/health")
}

/// Token buckets. Of each only the time is kept at which it will be full again.
struct Buckets<K> {
    /// 0 = any number.
    per_second: u32,
    /// What a full bucket holds, as the time that it takes to fill.
    capacity: Duration,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    full_at: HashMap<K, Instant>,
    /// Of the bucket that clients beyond the table share.
    others_full_at: Option<Instant>,
    swept_at: Option<Instant>,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(per_second: u32, burst: Duration) -> Self {
        let table = Table { full_at: HashMap::new(), others_full_at: None, swept_at: None };
        let capacity = burst.max(Duration::from_secs(1));
        Self { per_second, capacity, table: Mutex::new(table) }
    }

    fn is_bounded(&self) -> bool {
        self.per_second > 0
    }

    /// Takes a token of a client; false when its bucket is empty.
    fn take(&self, client: K, now: Instant) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.make_room(now);
        let is_kept = table.full_at.len() < CLIENTS_MAX || table.full_at.contains_key(&client);
        let full_at = if is_kept {
            table.full_at.entry(client).or_insert(now)
        } else {
            table.others_full_at.get_or_insert(now)
        };
        let after = (*full_at).max(now) + Duration::from_secs(1) / self.per_second.max(1);
        let has_token = after <= now + self.capacity;
        if has_token {
            *full_at = after;
        }
        has_token
    }
}

impl<K: Hash + Eq> Table<K> {
    /// Forgets full buckets when the table is full.
    fn make_room(&mut self, now: Instant) {
        let is_due = self.swept_at.is_none_or(|at| now.duration_since(at) >= SWEEP_INTERVAL);
        if self.full_at.len() >= CLIENTS_MAX && is_due {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let buckets = Buckets::new(10, 2 * SECOND);
        let start = Instant::now();
        let taken = |client, at| (0..100).filter(|_| buckets.take(client, at)).count();
        assert_eq!((taken("a", start), taken("a", start), taken("b", start)), (20, 0, 20));
        assert_eq!(taken("a", start + SECOND), 10);
        assert_eq!(taken("a", start + 60 * SECOND), 20);
    }

    #[test]
    fn the_table_is_bounded_and_known_clients_keep_their_buckets() {
        let buckets = Buckets::new(1, SECOND);
        let start = Instant::now();
        assert!((0..CLIENTS_MAX).all(|client| buckets.take(client, start)));
        assert!(buckets.take(CLIENTS_MAX, start) && !buckets.take(CLIENTS_MAX + 1, start));
        assert!(!buckets.take(7, start));
        assert!(buckets.take(7, start + SECOND));
        assert!(buckets.take(CLIENTS_MAX + 2, start + 2 * SECOND));
        assert!(buckets.table.lock().unwrap().full_at.len() <= 2);
    }

    #[test]
    fn an_address_stands_for_its_network() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
