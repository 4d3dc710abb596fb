//! Headers of requests and answers as they pass.

use std::net::SocketAddr;

use axum::http::header::{
    CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// When the proxy took a request, in nanoseconds since 1970: nodes give this time to points that have none, so that a
/// write that is sent to a second node is the same points.
const RECEIVED: HeaderName = HeaderName::from_static("x-hyperbytedb-received");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Of one connection, not of the request.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

/// What is passed on of a message.
pub fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|names| names.split(',')) {
        passed.remove(name.trim());
    }
    for name in &HOP_BY_HOP {
        passed.remove(name);
    }
    passed
}

/// Of a request: also whose it is and when it came.
pub fn of_request(headers: &HeaderMap, peer: Option<SocketAddr>, received_ns: i64) -> HeaderMap {
    let mut passed = passed(headers);
    passed.remove(HOST);
    if let Some(peer) = peer {
        let before = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
        let own = peer.ip().to_canonical().to_string();
        let all = before.map_or_else(|| own.clone(), |before| format!("{before}, {own}"));
        // Made of a header's text and an address.
        if let Ok(value) = HeaderValue::from_str(&all) {
            passed.insert(FORWARDED_FOR, value);
        }
    }
    passed.insert(RECEIVED, HeaderValue::from(received_ns));
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_connection_stays_and_the_client_is_named() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("authorization", "Token x"),
            ("host", "proxy"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-hyperbytedb-received", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let passed = of_request(&headers, Some(([127, 0, 0, 1], 80).into()), 5);
        let names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(passed["authorization"], "Token x");
        assert_eq!(passed["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(passed["x-hyperbytedb-received"], "5", "a client's own is not believed");
    }
}
