//! Completion of words: keywords, commands, and the names that the server knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hyperbytedb_timeseriesql::quote::quote_ident;
use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::client::Client;

/// How long names are believed.
const FRESH: Duration = Duration::from_secs(30);
/// Names of one kind that are kept.
const MAX_NAMES: usize = 5_000;
const MAX_SUGGESTIONS: usize = 100;

const WORDS: &str = "ALL ALTER AND ANY AS ASC BACKFILL BEGIN BY CARDINALITY CREATE CONTINUOUS DATABASE DATABASES DEFAULT DELETE \
    DESC DESTINATIONS DIAGNOSTICS DISTINCT DROP DURATION END EVERY EXACT EXPLAIN ANALYZE FIELD FOR FROM GRANT GRANTS GROUP INF INTO \
    KEY KEYS KILL LATE LIMIT MATERIALIZED MEASUREMENT MEASUREMENTS NAME OFFSET ON OR ORDER PASSWORD POLICIES POLICY PRIVILEGES \
    QUERIES QUERY READ REPLICATION RESAMPLE RETENTION REVOKE SELECT SERIES SERVERS SET SHARD SHARDS SHOW SLIMIT SOFFSET STATS SUBSCRIPTION \
    SUBSCRIPTIONS TAG TIME TO USER USERS VALUES VIEW VIEWS WHERE WITH WRITE \
    bottom( count( cumulative_sum( derivative( difference( distinct( elapsed( fill( first( holt_winters( integral( last( max( mean( \
    median( min( mode( moving_average( non_negative_derivative( non_negative_difference( now( percentile( sample( spread( stddev( \
    sum( time( top( tz( \
    auth chunk chunked clear cluster column connect consistency csv exit export format health help history import insert json chart \
    node ping precision pretty quit settings statements top use";

/// What the server has, by kind. Fetched in the background; the prompt never waits.
#[derive(Debug, Clone, Default)]
pub struct Names {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    database: String,
    fetched: Option<Instant>,
    /// Name and kind.
    names: BTreeMap<String, &'static str>,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server anew where the database is another one, or what is known is old.
    pub fn refresh(&self, client: &Client, database: &str) {
        let mut inner = self.lock();
        if inner.database == database && inner.fetched.is_some_and(|fetched| fetched.elapsed() < FRESH) {
            return;
        }
        inner.fetched = Some(Instant::now());
        database.clone_into(&mut inner.database);
        let (names, client, database) = (self.clone(), client.clone(), database.to_owned());
        thread::spawn(move || {
            let found = fetch(&client, &database);
            let mut inner = names.lock();
            if inner.database == database {
                inner.names = found;
            }
        });
    }
}

fn fetch(client: &Client, database: &str) -> BTreeMap<String, &'static str> {
    let mut statements = vec![("SHOW DATABASES", "database")];
    if !database.is_empty() {
        statements.extend([
            ("SHOW FIELD KEYS", "field"),
            ("SHOW TAG KEYS", "tag"),
            ("SHOW MEASUREMENTS", "measurement"),
        ]);
    }
    let mut names = BTreeMap::new();
    for (statement, kind) in statements {
        // Who may not see them types them.
        let found = client.first_column(statement, database).unwrap_or_default();
        names.extend(found.into_iter().take(MAX_NAMES).map(|name| (quote_ident(&name).to_string(), kind)));
    }
    names
}

pub struct Completion {
    names: Names,
}

impl Completion {
    pub const fn new(names: Names) -> Self {
        Self { names }
    }
}

impl Completer for Completion {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let typed = line.get(..position).unwrap_or(line);
        let start = typed
            .rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '"' | '-'))
            .map_or(0, |at| at + typed[at..].chars().next().map_or(0, char::len_utf8));
        let word = &typed[start..];
        let suggestion = |value: String, kind: &str| Suggestion {
            value,
            description: (!kind.is_empty()).then(|| kind.to_owned()),
            span: Span::new(start, position),
            append_whitespace: false,
            ..Suggestion::default()
        };
        let inner = self.names.lock();
        let names = inner
            .names
            .iter()
            .filter(|(name, _)| begins(name.trim_start_matches('"'), word.trim_start_matches('"')));
        let words = WORDS.split_whitespace().filter(|candidate| !word.is_empty() && begins(candidate, word));
        let suggestions: Vec<Suggestion> = names
            .map(|(name, kind)| suggestion(name.clone(), kind))
            .chain(words.map(|word| suggestion(word.to_owned(), "")))
            .take(MAX_SUGGESTIONS)
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

fn begins(candidate: &str, word: &str) -> bool {
    candidate.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_names_complete_the_word_at_the_cursor() {
        let names = Names::default();
        names.lock().names =
            BTreeMap::from([("cpu".to_owned(), "measurement"), ("\"c d\"".to_owned(), "tag")]);
        let mut completion = Completion::new(names);
        let mut values = |line: &str| -> Vec<String> {
            let found = completion.complete(line, line.len());
            found.suggestions().iter().map(|suggestion| suggestion.value.clone()).collect()
        };
        assert_eq!(values("SELECT me"), ["MEASUREMENT", "MEASUREMENTS", "mean(", "median("]);
        assert_eq!(values("SELECT a FROM cp"), ["cpu"]);
        assert_eq!(values("SELECT a FROM \"c")[..2], ["\"c d\"", "cpu"]);
    }
}
