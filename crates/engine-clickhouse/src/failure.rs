//! Why a request failed, and what is said about it.

use hyperbytedb_domain::EngineError;
use hyperbytedb_engine_common::Exception;

/// ClickHouse's error codes that say something about a server, not about a statement.
const ATTEMPT_TO_READ_AFTER_EOF: u32 = 32;
const UNKNOWN_IDENTIFIER: u32 = 47;
const SYNTAX_ERROR: u32 = 62;
const UNKNOWN_DATABASE: u32 = 81;
const CANNOT_READ_FROM_SOCKET: u32 = 95;
const CANNOT_WRITE_TO_SOCKET: u32 = 96;
const UNKNOWN_SETTING: u32 = 115;
const READONLY: u32 = 164;
const REQUIRED_PASSWORD: u32 = 194;
const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
const SOCKET_TIMEOUT: u32 = 209;
const NETWORK_ERROR: u32 = 210;
const DNS_ERROR: u32 = 198;
const ABORTED: u32 = 236;
const MEMORY_LIMIT_EXCEEDED: u32 = 241;
const TABLE_IS_READ_ONLY: u32 = 242;
const NOT_ENOUGH_SPACE: u32 = 243;
const TOO_MANY_PARTS: u32 = 252;
const ALL_CONNECTION_TRIES_FAILED: u32 = 279;
const TOO_FEW_LIVE_REPLICAS: u32 = 285;
const UNSATISFIED_QUORUM: u32 = 286;
const UNKNOWN_STATUS_OF_INSERT: u32 = 319;
const UNFINISHED: u32 = 341;
const SETTING_CONSTRAINT_VIOLATION: u32 = 452;
const ACCESS_DENIED: u32 = 497;
const AUTHENTICATION_FAILED: u32 = 516;
const CLUSTER_DOESNT_EXIST: u32 = 701;
const TABLE_IS_PERMANENTLY_READ_ONLY: u32 = 774;
/// 192 to 194: unknown user, wrong password, password missing.
const UNKNOWN_USER: u32 = 192;

/// A server did not get an answer of another one.
const BETWEEN_SERVERS: [u32; 7] = [
    ATTEMPT_TO_READ_AFTER_EOF,
    CANNOT_READ_FROM_SOCKET,
    CANNOT_WRITE_TO_SOCKET,
    DNS_ERROR,
    SOCKET_TIMEOUT,
    NETWORK_ERROR,
    ALL_CONNECTION_TRIES_FAILED,
];

const NO_SPACE: &str = "has no space left on its disk: make room there";
/// What the system says of a full disk, within errors of any code.
const NO_SPACE_OF_SYSTEM: &str = "No space left on device";

pub(crate) enum Failure {
    /// The server was not reached, or broke off.
    Unreachable(String),
    /// It said no.
    Exception(Exception),
    /// Nobody wants it any more, or it is about this side.
    Engine(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(chain(&error.without_url()))
    }
}

/// An error with its causes: reqwest's own text names none.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Failure {
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    pub(crate) fn is_unknown_table(&self) -> bool {
        matches!(self, Self::Exception(exception) if exception.is_unknown_table())
    }

    pub(crate) fn is_unknown_column(&self) -> bool {
        matches!(self, Self::Exception(exception) if exception.code() == Some(UNKNOWN_IDENTIFIER))
    }

    pub(crate) fn is_merge_refused(&self) -> bool {
        matches!(self, Self::Exception(exception) if exception.is_merge_refused())
    }

    /// Whether a server did not get an answer of another one.
    pub(crate) fn is_between_servers(&self) -> bool {
        matches!(self, Self::Exception(exception) if exception.code().is_some_and(|code| BETWEEN_SERVERS.contains(&code)))
    }

    /// `host`: who was asked. `purpose`: what was being done.
    pub(crate) fn into_engine_error(self, host: &str, purpose: &str) -> EngineError {
        let exception = match self {
            Self::Engine(error) => return error,
            Self::Unreachable(text) => {
                tracing::debug!(host, purpose, "{text}");
                let text = format!("ClickHouse at {host} does not answer: {text} (clickhouse.urls)");
                return EngineError::Unavailable(text);
            }
            Self::Exception(exception) => exception,
        };
        let is_total = exception.message().contains("(total)");
        let advice = match exception.code() {
            Some(UNKNOWN_USER..=REQUIRED_PASSWORD | AUTHENTICATION_FAILED) => {
                "refuses the user or the password: set clickhouse.user and clickhouse.password"
            }
            Some(ACCESS_DENIED) => {
                "does not allow the user what it needs: see docs/clickhouse.md, Privileges"
            }
            Some(READONLY) => "lets the user only read: give it a profile without readonly",
            Some(TABLE_IS_READ_ONLY | TABLE_IS_PERMANENTLY_READ_ONLY) => {
                "has a table that is read-only, as replicas are without their Keeper: see to it there"
            }
            Some(NOT_ENOUGH_SPACE) => NO_SPACE,
            _ if exception.message().contains(NO_SPACE_OF_SYSTEM) => NO_SPACE,
            Some(SYNTAX_ERROR) if exception.message().contains("Empty query") => {
                "has stored nothing of a table's definition, as happens when its disk is full: see docs/clickhouse.md, Full disks"
            }
            Some(TOO_MANY_PARTS) => {
                "has too many parts that wait for a merge: give it time, or raise flush.interval_secs"
            }
            Some(TOO_MANY_SIMULTANEOUS_QUERIES) => {
                "runs as many queries as it may: raise max_concurrent_queries there or lower query.max_concurrent"
            }
            Some(MEMORY_LIMIT_EXCEEDED) if is_total => {
                "has no memory left: raise max_server_memory_usage there"
            }
            Some(TOO_FEW_LIVE_REPLICAS | UNSATISFIED_QUORUM | UNKNOWN_STATUS_OF_INSERT) => {
                "has too few replicas for clickhouse.insert_quorum: bring back those that are away"
            }
            Some(ABORTED) => "is stopping, or has broken off what it did",
            Some(code) if BETWEEN_SERVERS.contains(&code) => {
                "gets no answer of another server of the cluster: see to that server, or to remote_servers"
            }
            Some(CLUSTER_DOESNT_EXIST) => {
                "does not know the cluster: set clickhouse.cluster as in its remote_servers"
            }
            Some(UNKNOWN_DATABASE) => "does not have the database any more: see clickhouse.database",
            Some(UNKNOWN_SETTING) => {
                "does not know a setting: it must be 24.8 or newer, and no newer than this server knows (docs/clickhouse.md)"
            }
            Some(SETTING_CONSTRAINT_VIOLATION) => {
                "does not let the user change a setting: see docs/clickhouse.md, Privileges"
            }
            Some(UNFINISHED) => "waits for replicas that are away: bring them back",
            _ => return exception.into_engine_error(purpose),
        };
        tracing::warn!(host, purpose, "ClickHouse: {}", exception.message());
        EngineError::Unavailable(format!("ClickHouse at {host} {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_our_words() {
        let text = |exception: &str| {
            Failure::Exception(Exception::new(exception))
                .into_engine_error("http://h:8123", "insert")
                .to_string()
        };
        for (exception, expected) in [
            ("Code: 516. DB::Exception: x: Authentication failed", "clickhouse.password"),
            ("Code: 194. DB::Exception: secret", "clickhouse.password"),
            ("Code: 497. DB::Exception: secret", "Privileges"),
            ("Code: 164. DB::Exception: secret", "readonly"),
            ("Code: 243. DB::Exception: secret", "disk"),
            ("Code: 75. DB::Exception: secret, errno: 28, strerror: No space left on device", "disk"),
            ("Code: 62. DB::Exception: Empty query. secret", "disk is full"),
            ("Code: 242. DB::Exception: secret", "read-only"),
            ("Code: 774. DB::Exception: secret", "read-only"),
            ("Code: 252. DB::Exception: secret", "flush.interval_secs"),
            ("Code: 202. DB::Exception: secret", "query.max_concurrent"),
            ("Code: 285. DB::Exception: secret", "clickhouse.insert_quorum"),
            ("Code: 241. DB::Exception: secret (total) memory limit", "max_server_memory_usage"),
            ("Code: 279. DB::Exception: secret", "remote_servers"),
            ("Code: 32. DB::Exception: secret", "remote_servers"),
            ("Code: 236. DB::Exception: secret", "is stopping"),
            ("Code: 701. DB::Exception: secret", "clickhouse.cluster"),
            ("Code: 115. DB::Exception: secret", "24.8"),
            ("Code: 341. DB::Exception: secret", "replicas"),
            ("Code: 452. DB::Exception: secret", "Privileges"),
        ] {
            let text = text(exception);
            assert!(text.contains(expected) && text.contains("http://h:8123"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        assert_eq!(text("Code: 159. DB::Exception: x"), "query-timeout limit exceeded");
        let lost =
            Failure::Unreachable("connection refused".into()).into_engine_error("http://h:8123", "insert");
        assert!(
            matches!(&lost, EngineError::Unavailable(text) if text.contains("clickhouse.urls")),
            "{lost}"
        );
    }
}
