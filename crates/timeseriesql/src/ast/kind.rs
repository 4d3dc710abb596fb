//! What kind of statement one is: its first words, for tables of rules and of statistics.

use super::Statement;

macro_rules! kinds {
    ($($variant:pat => $kind:literal,)*) => {
        /// All kinds.
        pub const KINDS: &[&str] = &[$($kind),*];

        impl Statement {
            /// One of [`KINDS`].
            pub fn kind(&self) -> &'static str {
                use Statement::*;
                match self {
                    $($variant => $kind,)*
                }
            }
        }
    };
}

kinds! {
    Select(_) => "SELECT",
    Explain(_) => "EXPLAIN",
    Delete(_) => "DELETE",
    Backfill(_) => "BACKFILL",
    AlterRetentionPolicy(_) => "ALTER RETENTION POLICY",
    CreateContinuousQuery(_) => "CREATE CONTINUOUS QUERY",
    CreateDatabase(_) => "CREATE DATABASE",
    CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
    CreateRetentionPolicy(_) => "CREATE RETENTION POLICY",
    CreateSubscription(_) => "CREATE SUBSCRIPTION",
    CreateUser(_) => "CREATE USER",
    DropContinuousQuery(_) => "DROP CONTINUOUS QUERY",
    DropDatabase(_) => "DROP DATABASE",
    DropMaterializedView(_) => "DROP MATERIALIZED VIEW",
    DropMeasurement(_) => "DROP MEASUREMENT",
    DropRetentionPolicy(_) => "DROP RETENTION POLICY",
    DropSeries(_) => "DROP SERIES",
    DropShard(_) => "DROP SHARD",
    DropSubscription(_) => "DROP SUBSCRIPTION",
    DropUser(_) => "DROP USER",
    Grant(_) => "GRANT",
    GrantAdmin(_) => "GRANT ALL PRIVILEGES",
    KillQuery(_) => "KILL QUERY",
    Revoke(_) => "REVOKE",
    RevokeAdmin(_) => "REVOKE ALL PRIVILEGES",
    SetPassword(_) => "SET PASSWORD",
    ShowCardinality(_) => "SHOW CARDINALITY",
    ShowContinuousQueries => "SHOW CONTINUOUS QUERIES",
    ShowDatabases => "SHOW DATABASES",
    ShowDiagnostics(_) => "SHOW DIAGNOSTICS",
    ShowFieldKeys(_) => "SHOW FIELD KEYS",
    ShowGrants(_) => "SHOW GRANTS",
    ShowMaterializedViews => "SHOW MATERIALIZED VIEWS",
    ShowMeasurements(_) => "SHOW MEASUREMENTS",
    ShowQueries => "SHOW QUERIES",
    ShowRetentionPolicies(_) => "SHOW RETENTION POLICIES",
    ShowSeries(_) => "SHOW SERIES",
    ShowServers => "SHOW SERVERS",
    ShowShardGroups => "SHOW SHARD GROUPS",
    ShowShards => "SHOW SHARDS",
    ShowStats(_) => "SHOW STATS",
    ShowSubscriptions => "SHOW SUBSCRIPTIONS",
    ShowTagKeys(_) => "SHOW TAG KEYS",
    ShowTagValues(_) => "SHOW TAG VALUES",
    ShowUsers => "SHOW USERS",
}

impl Statement {
    /// Whether it is a SELECT without INTO or a SHOW: run twice, it does the same as once.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Select(select) => select.target.is_none(),
            Self::ShowCardinality(_)
            | Self::ShowContinuousQueries
            | Self::ShowDatabases
            | Self::ShowDiagnostics(_)
            | Self::ShowFieldKeys(_)
            | Self::ShowGrants(_)
            | Self::ShowMaterializedViews
            | Self::ShowMeasurements(_)
            | Self::ShowQueries
            | Self::ShowRetentionPolicies(_)
            | Self::ShowSeries(_)
            | Self::ShowServers
            | Self::ShowShardGroups
            | Self::ShowShards
            | Self::ShowStats(_)
            | Self::ShowSubscriptions
            | Self::ShowTagKeys(_)
            | Self::ShowTagValues(_)
            | Self::ShowUsers => true,
            _ => false,
        }
    }
}
