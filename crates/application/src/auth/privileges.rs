//! What each kind of statement takes: one table, from which the checks, `docs/privileges.md` and the statements of the
//! test matrix come.

use hyperbytedb_domain::catalog::Privilege;
use hyperbytedb_timeseriesql::ast::{
    CreateContinuousQueryStatement, NameOrAll, SelectStatement, Source, Statement,
};
use hyperbytedb_timeseriesql::walk::measurements;

use self::Needs::{Admin, Nothing, Read, ReadAndWrite, Write};

/// What a user must hold. Its database is the one a statement names, else the request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// READ on its database, and on those of its sources.
    Read,
    /// WRITE on its database, and on those of its sources.
    Write,
    /// READ on what is read, WRITE on what is written to, wherever that is.
    ReadAndWrite,
    Admin,
}

/// A kind of statement, what it takes, and one that changes nothing where there is no `nope`.
#[derive(Debug)]
pub struct Rule {
    pub kind: &'static str,
    pub needs: Needs,
    pub example: &'static str,
}

const fn rule(kind: &'static str, needs: Needs, example: &'static str) -> Rule {
    Rule { kind, needs, example }
}

pub const RULES: &[Rule] = &[
    rule("SELECT", ReadAndWrite, "SELECT v INTO b..copy FROM m, (SELECT v FROM a.autogen./m/)"),
    rule("EXPLAIN", ReadAndWrite, "EXPLAIN SELECT v FROM m"),
    rule("CREATE CONTINUOUS QUERY", ReadAndWrite, NEW_CONTINUOUS_QUERY),
    rule("DROP CONTINUOUS QUERY", Write, "DROP CONTINUOUS QUERY q ON a"),
    rule(
        "CREATE MATERIALIZED VIEW",
        ReadAndWrite,
        "CREATE MATERIALIZED VIEW w ON a AS SELECT mean(v) INTO t FROM m GROUP BY time(1m)",
    ),
    rule("DROP MATERIALIZED VIEW", Write, "DROP MATERIALIZED VIEW w ON a"),
    rule("BACKFILL", Write, "BACKFILL MATERIALIZED VIEW w ON a FROM 0 TO 1"),
    rule("DELETE", Write, "DELETE FROM nope"),
    rule("DROP SERIES", Write, "DROP SERIES FROM nope"),
    rule("DROP RETENTION POLICY", Write, "DROP RETENTION POLICY nope ON a"),
    rule("SHOW CARDINALITY", Read, "SHOW TAG KEY CARDINALITY FROM m"),
    rule("SHOW CONTINUOUS QUERIES", Read, "SHOW CONTINUOUS QUERIES"),
    rule("SHOW DATABASES", Nothing, "SHOW DATABASES"),
    rule("SHOW FIELD KEYS", Read, "SHOW FIELD KEYS FROM m"),
    rule("SHOW MATERIALIZED VIEWS", Read, "SHOW MATERIALIZED VIEWS"),
    rule("SHOW MEASUREMENTS", Read, "SHOW MEASUREMENTS"),
    rule("SHOW QUERIES", Read, "SHOW QUERIES"),
    rule("SHOW RETENTION POLICIES", Read, "SHOW RETENTION POLICIES"),
    rule("SHOW SERIES", Read, "SHOW SERIES FROM m"),
    rule("SHOW TAG KEYS", Read, "SHOW TAG KEYS FROM m"),
    rule("SHOW TAG VALUES", Read, "SHOW TAG VALUES FROM m WITH KEY = t"),
    rule("ALTER RETENTION POLICY", Admin, "ALTER RETENTION POLICY autogen ON a REPLICATION 1"),
    rule("CREATE DATABASE", Admin, "CREATE DATABASE a"),
    rule("CREATE RETENTION POLICY", Admin, "CREATE RETENTION POLICY autogen ON a DURATION 0s REPLICATION 1"),
    rule("CREATE SUBSCRIPTION", Admin, "CREATE SUBSCRIPTION s ON nope.nope DESTINATIONS ALL 'udp://h:1'"),
    rule("CREATE USER", Admin, "CREATE USER reader WITH PASSWORD 'secret'"),
    rule("DROP DATABASE", Admin, "DROP DATABASE nope"),
    rule("DROP MEASUREMENT", Admin, "DROP MEASUREMENT nope"),
    rule("DROP SHARD", Admin, "DROP SHARD 999"),
    rule("DROP SUBSCRIPTION", Admin, "DROP SUBSCRIPTION s ON nope.nope"),
    rule("DROP USER", Admin, "DROP USER nope"),
    rule("GRANT", Admin, "GRANT ALL ON a TO nope"),
    rule("GRANT ALL PRIVILEGES", Admin, "GRANT ALL TO nope"),
    rule("KILL QUERY", Admin, "KILL QUERY 999"),
    rule("REVOKE", Admin, "REVOKE READ ON a FROM nope"),
    rule("REVOKE ALL PRIVILEGES", Admin, "REVOKE ALL PRIVILEGES FROM nope"),
    rule("SET PASSWORD", Admin, "SET PASSWORD FOR nope = 'secret'"),
    rule("SHOW DIAGNOSTICS", Admin, "SHOW DIAGNOSTICS"),
    rule("SHOW GRANTS", Admin, "SHOW GRANTS FOR reader"),
    rule("SHOW SERVERS", Admin, "SHOW SERVERS"),
    rule("SHOW SHARD GROUPS", Admin, "SHOW SHARD GROUPS"),
    rule("SHOW SHARDS", Admin, "SHOW SHARDS"),
    rule("SHOW STATS", Admin, "SHOW STATS"),
    rule("SHOW SUBSCRIPTIONS", Admin, "SHOW SUBSCRIPTIONS"),
    rule("SHOW USERS", Admin, "SHOW USERS"),
];

const NEW_CONTINUOUS_QUERY: &str =
    "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT mean(v) INTO b..copy FROM m GROUP BY time(1h) END";

/// What one statement takes.
#[derive(Debug, PartialEq, Eq)]
pub enum Required {
    Admin,
    /// Privileges on databases, in the order in which InfluxDB names what is missing.
    Each(Vec<(Privilege, String)>),
}

/// What a statement of a request with this database takes.
pub fn required(statement: &Statement, database: &str) -> Required {
    let needs = RULES.iter().find(|rule| rule.kind == statement.kind()).map_or(Admin, |rule| rule.needs);
    let mut places = Places { default: database, read: Vec::new(), written: Vec::new() };
    match needs {
        Nothing => {}
        Admin => return Required::Admin,
        Read | Write if reaches_all(statement) => return Required::Admin,
        Read | Write => places.add_own(statement),
        ReadAndWrite => places.add_selected(statement),
    }
    if needs == Write {
        std::mem::swap(&mut places.read, &mut places.written);
    }
    let read = places.read.into_iter().map(|place| (Privilege::Read, place));
    let written = places.written.into_iter().map(|place| (Privilege::Write, place));
    Required::Each(read.chain(written).collect())
}

/// `ON *.*` shows what is in databases that nobody has named.
fn reaches_all(statement: &Statement) -> bool {
    matches!(statement, Statement::ShowMeasurements(s) if s.database == NameOrAll::All)
}

/// The databases that a statement is about.
struct Places<'a> {
    default: &'a str,
    read: Vec<String>,
    written: Vec<String>,
}

impl Places<'_> {
    fn or_default(&self, own: Option<&str>) -> String {
        own.filter(|name| !name.is_empty()).unwrap_or(self.default).to_owned()
    }

    fn read(&mut self, own: Option<&str>) {
        let place = self.or_default(own);
        if !self.read.contains(&place) {
            self.read.push(place);
        }
    }

    fn read_sources(&mut self, sources: &[Source]) {
        for measurement in measurements(sources) {
            self.read(measurement.database.as_deref());
        }
    }

    /// The statement's own database, then those of its sources.
    fn add_own(&mut self, statement: &Statement) {
        use Statement::*;
        let (own, sources): (Option<&str>, &[Source]) = match statement {
            Delete(s) => (None, &s.sources),
            DropSeries(s) => (None, &s.sources),
            DropContinuousQuery(s) => (Some(&s.database), &[]),
            DropMaterializedView(s) => (Some(&s.database), &[]),
            Backfill(s) => (Some(&s.database), &[]),
            DropRetentionPolicy(s) => (Some(&s.database), &[]),
            ShowCardinality(s) => (s.database.as_deref(), &s.sources),
            ShowFieldKeys(s) => (s.database.as_deref(), &s.sources),
            ShowRetentionPolicies(s) => (s.database.as_deref(), &[]),
            ShowSeries(s) => (s.database.as_deref(), &s.sources),
            ShowTagKeys(s) => (s.database.as_deref(), &s.sources),
            ShowTagValues(s) => (s.database.as_deref(), &s.sources),
            ShowMeasurements(s) => match &s.database {
                NameOrAll::Name(name) => (Some(name), &[]),
                NameOrAll::All | NameOrAll::Unset => (None, &[]),
            },
            _ => (None, &[]),
        };
        self.read(own);
        self.read_sources(sources);
    }

    /// What a SELECT reads and writes, also one that is stored.
    fn add_selected(&mut self, statement: &Statement) {
        match statement {
            Statement::Select(select) => self.add_select(select),
            Statement::Explain(explain) => self.add_select(&explain.statement),
            Statement::CreateContinuousQuery(query) => self.add_continuous_query(query),
            Statement::CreateMaterializedView(view) => {
                self.add_stored(&view.database, &view.source);
                self.written.insert(0, view.database.clone());
            }
            // No other kind has this rule.
            _ => {}
        }
    }

    fn add_select(&mut self, select: &SelectStatement) {
        self.read_sources(&select.sources);
        if let Some(target) = &select.target {
            self.written.push(self.or_default(target.database.as_deref()));
        }
    }

    fn add_continuous_query(&mut self, query: &CreateContinuousQueryStatement) {
        self.read(Some(&query.database));
        self.add_stored(&query.database, &query.source);
    }

    /// Without a database in the request, names are those of the database that the statement is stored in.
    fn add_stored(&mut self, database: &str, select: &SelectStatement) {
        let default = if self.default.is_empty() { database } else { self.default };
        let mut places = Places { default, read: std::mem::take(&mut self.read), written: Vec::new() };
        places.add_select(select);
        (self.read, self.written) = (places.read, places.written);
    }
}

/// The table as `docs/privileges.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Privileges\n\nGenerated by `make docs` from the table in `crates/application/src/auth/privileges.rs`, which is what \
         the server checks\nwhere `auth.enabled` is on. An admin may do everything. The database is the one a statement names \
         (`ON`, `FROM db..m`),\nelse the request's `db`. All statements of a request are checked before any of them runs.\n\n\
         | Statement | Takes | For example |\n| --- | --- | --- |\n",
    );
    for Rule { kind, needs, example } in RULES {
        let needs = match needs {
            Nothing => "nothing: it shows the databases on which the user has any privilege",
            Read => "READ on its database and those of its sources",
            Write => "WRITE on its database and those of its sources",
            ReadAndWrite => {
                "READ on each database it reads (also in subqueries), WRITE on the one it writes to"
            }
            Admin => "admin",
        };
        out.push_str(&format!("| `{kind}` | {needs} | `{}` |\n", example.replace('|', "\\|")));
    }
    out.push_str(ENDPOINTS);
    out
}

/// What is not a statement.
const ENDPOINTS: &str = "
| Endpoint | Takes |
| --- | --- |
| `/write`, `/api/v2/write` | WRITE on the database |
| `/query` | what its statements take |
| `/api/v1/statements`, `/api/v1/backup` | admin |
| `/ping`, `/metrics` | nothing; with `auth.ping_auth_enabled`, `auth.metrics_auth_enabled` any user |
| `/health`, `/health/ready`, `/status`, `OPTIONS` | nothing |
";

#[cfg(test)]
mod tests {
    use hyperbytedb_timeseriesql::ast::KINDS;
    use hyperbytedb_timeseriesql::parse_statement;

    use super::*;

    #[test]
    fn every_kind_has_one_rule_and_an_example() {
        let mut ruled: Vec<&str> = RULES.iter().map(|rule| rule.kind).collect();
        ruled.sort_unstable();
        let mut kinds = KINDS.to_vec();
        kinds.sort_unstable();
        assert_eq!(ruled, kinds);
        for rule in RULES {
            assert_eq!(parse_statement(rule.example).unwrap().kind(), rule.kind);
        }
    }

    #[test]
    fn the_reference_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/privileges.md");
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), markdown(), "run `make docs`");
    }

    fn text(required: Required) -> String {
        match required {
            Required::Admin => "admin".to_owned(),
            Required::Each(all) => {
                all.iter().map(|(p, db)| format!("{} {db}", p.name())).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn every_database_that_a_statement_reaches_is_asked_for() {
        for (statement, expected) in [
            ("SELECT v FROM m", "READ db"),
            ("SELECT v FROM b..m, m, c.rp./x/, b..n", "READ b, READ db, READ c"),
            ("SELECT v FROM (SELECT v FROM (SELECT v FROM b..m), c..m)", "READ b, READ c"),
            ("SELECT v INTO c..:MEASUREMENT FROM /m/", "READ db, WRITE c"),
            ("SELECT v INTO t FROM b..m", "READ b, WRITE db"),
            ("EXPLAIN ANALYZE SELECT v INTO c..t FROM b..m", "READ b, WRITE c"),
            (
                "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT mean(v) INTO c..t FROM b..m GROUP BY time(1m) END",
                "READ a, READ b, WRITE c",
            ),
            (
                "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT mean(v) INTO t FROM m GROUP BY time(1m) END",
                "READ a, READ db, WRITE db",
            ),
            ("CREATE MATERIALIZED VIEW w ON a AS SELECT v INTO c..t FROM b..m", "READ b, WRITE a, WRITE c"),
            ("DROP SERIES FROM nope", "WRITE db"),
            ("DROP RETENTION POLICY p ON b", "WRITE b"),
            ("SHOW SERIES ON b FROM c..m", "READ b, READ c"),
            ("SHOW TAG KEYS FROM b..m", "READ db, READ b"),
            ("SHOW TAG VALUES EXACT CARDINALITY ON b FROM c..m WITH KEY = k", "READ b, READ c"),
            ("SHOW MEASUREMENTS ON b.rp", "READ b"),
            ("SHOW MEASUREMENTS ON *.*", "admin"),
            ("SHOW DATABASES", ""),
        ] {
            assert_eq!(text(required(&parse_statement(statement).unwrap(), "db")), expected, "{statement}");
        }
    }

    #[test]
    fn a_stored_statement_is_of_its_database_where_the_request_has_none() {
        let text_of = |statement| text(required(&parse_statement(statement).unwrap(), ""));
        let query = "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT mean(v) INTO t FROM m GROUP BY time(1m) END";
        assert_eq!(text_of(query), "READ a, WRITE a");
        assert_eq!(text_of("SELECT v FROM m"), "READ ");
    }
}
