//! Which requests may be sent to a second node when nobody knows whether the first has carried them out.
//!
//! Writes may: the same points twice are the same points, for a point without a time gets that of the proxy (`headers`). Reads may.
//! Statements that change something may not: the second CREATE USER is an error.

use axum::http::Method;
use hyperbytedb_timeseriesql::ast::Statement;
use hyperbytedb_timeseriesql::parse_query;

const WRITES: [&str; 3] = ["/write", "/api/v2/write", "/api/v1/prom/write"];
/// They only read, whatever is posted.
const READS: [&str; 4] = ["/api/v1/sql", "/api/v1/chdb", "/api/v1/prom/read", "/api/v2/query"];

/// A request as far as it matters here.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

impl Asked<'_> {
    pub fn is_repeatable(&self) -> bool {
        if self.path == "/query" {
            return *self.method == Method::OPTIONS || self.statements_only_read();
        }
        WRITES.contains(&self.path)
            || READS.contains(&self.path)
            || [Method::GET, Method::HEAD, Method::OPTIONS].contains(self.method)
    }

    fn statements_only_read(&self) -> bool {
        let media_type = self.content_type.split(';').next().unwrap_or_default().trim();
        let body = match media_type {
            "application/x-www-form-urlencoded" => self.body,
            _ if self.body.is_empty() => &[],
            // A statement may be anywhere in it.
            "multipart/form-data" => return false,
            _ => &[],
        };
        let pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(self.query.as_bytes()));
        let texts = pairs.filter(|(name, _)| name == "q");
        // Which of several a node runs is its own matter.
        texts.map(|(_, text)| only_reads(&text)).reduce(|all, one| all && one).unwrap_or(true)
    }
}

/// False also for what cannot be read without its bound values.
fn only_reads(text: &str) -> bool {
    parse_query(text).is_ok_and(|query| query.statements.iter().all(Statement::only_reads))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_repeatable(method: Method, target: &str, body: &str) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        Asked { method: &method, path, query, content_type, body: body.as_bytes() }.is_repeatable()
    }

    #[test]
    fn only_what_is_the_same_twice_is_sent_twice() {
        for (method, target, body, expected) in [
            (Method::POST, "/write?db=d", "m v=1", true),
            (Method::GET, "/query?q=SELECT+v+FROM+m", "", true),
            (Method::POST, "/query", "q=SHOW+DATABASES%3B+SELECT+v+FROM+m", true),
            (Method::POST, "/query", "q=SHOW+DATABASES%3B+DROP+DATABASE+d", false),
            (Method::GET, "/query?q=CREATE+USER+u+WITH+PASSWORD+'p'", "", false),
            (Method::POST, "/query?q=SELECT+v+FROM+m", "q=DROP+DATABASE+d", false),
            (Method::POST, "/query", "q=SELECT+v+INTO+n+FROM+m", false),
            (Method::POST, "/query", "q=not+a+statement", false),
            (Method::GET, "/cluster/nodes", "", true),
            (Method::POST, "/cluster/membership/remove/2", "", false),
            (Method::POST, "/api/v1/sql", "q=SELECT+1", true),
            (Method::DELETE, "/api/v1/statements", "", false),
        ] {
            assert_eq!(is_repeatable(method, target, body), expected, "{target} {body}");
        }
    }
}
