//! Statements that change the catalogue or remove data. All durations are nanoseconds; 0 means `INF`.

use super::{Expr, SelectStatement, Source};

/// `CREATE DATABASE name [WITH …]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateDatabaseStatement {
    pub name: String,
    /// The `WITH` clause.
    pub retention_policy: Option<DatabaseRetentionPolicy>,
}

/// The first retention policy of a new database; what is not said takes the server's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseRetentionPolicy {
    pub name: Option<String>,
    pub duration_ns: Option<i64>,
    pub replication: Option<u32>,
    pub shard_duration_ns: Option<i64>,
    pub future_write_limit_ns: Option<i64>,
    pub past_write_limit_ns: Option<i64>,
}

/// `DROP DATABASE name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropDatabaseStatement {
    pub name: String,
}

/// `CREATE RETENTION POLICY name ON db DURATION d REPLICATION n [SHARD DURATION d] [DEFAULT] …`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateRetentionPolicyStatement {
    pub name: String,
    pub database: String,
    pub duration_ns: i64,
    pub replication: u32,
    pub shard_duration_ns: Option<i64>,
    pub default: bool,
    pub future_write_limit_ns: Option<i64>,
    pub past_write_limit_ns: Option<i64>,
}

/// `ALTER RETENTION POLICY name ON db …`, at least one option.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlterRetentionPolicyStatement {
    pub name: String,
    pub database: String,
    pub duration_ns: Option<i64>,
    pub replication: Option<u32>,
    pub shard_duration_ns: Option<i64>,
    pub default: bool,
    pub future_write_limit_ns: Option<i64>,
    pub past_write_limit_ns: Option<i64>,
}

/// `DROP RETENTION POLICY name ON db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRetentionPolicyStatement {
    pub name: String,
    pub database: String,
}

/// `CREATE USER name WITH PASSWORD [HASH] '…' [WITH ALL PRIVILEGES]`. Printed with the password hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateUserStatement {
    pub name: String,
    pub password: NewPassword,
    pub admin: bool,
}

/// The password of a new user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPassword {
    Plain(String),
    /// What another server kept of it (an extension).
    Hash(String),
}

/// `DROP USER name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropUserStatement {
    pub name: String,
}

/// `SET PASSWORD FOR name = '…'`. Printed with the password hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPasswordStatement {
    pub name: String,
    pub password: String,
}

/// What a user may do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Privilege {
    Read,
    Write,
    All,
}

/// `GRANT privilege ON db TO user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantStatement {
    pub privilege: Privilege,
    pub database: String,
    pub user: String,
}

/// `GRANT ALL [PRIVILEGES] TO user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantAdminStatement {
    pub user: String,
}

/// `REVOKE privilege ON db FROM user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeStatement {
    pub privilege: Privilege,
    pub database: String,
    pub user: String,
}

/// `REVOKE ALL [PRIVILEGES] FROM user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeAdminStatement {
    pub user: String,
}

/// `CREATE CONTINUOUS QUERY name ON db [RESAMPLE [EVERY d] [FOR d] [LATE d]] BEGIN SELECT … INTO … END`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateContinuousQueryStatement {
    pub name: String,
    pub database: String,
    pub source: SelectStatement,
    pub resample: Resample,
}

/// `RESAMPLE`: how often, over which span, and (an extension) for how long windows that get late points run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resample {
    pub every_ns: Option<i64>,
    pub for_ns: Option<i64>,
    pub late_ns: Option<i64>,
}

/// `DROP CONTINUOUS QUERY name ON db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropContinuousQueryStatement {
    pub name: String,
    pub database: String,
}

/// `CREATE MATERIALIZED VIEW name ON db [WITH BACKFILL] AS SELECT … INTO …`, or `BEGIN SELECT … END` (an extension).
#[derive(Debug, Clone, PartialEq)]
pub struct CreateMaterializedViewStatement {
    pub name: String,
    pub database: String,
    /// Whether what is stored already is computed too.
    pub backfill: bool,
    pub source: SelectStatement,
}

/// `DROP MATERIALIZED VIEW name ON db` (an extension).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropMaterializedViewStatement {
    pub name: String,
    pub database: String,
}

/// `BACKFILL CONTINUOUS QUERY|MATERIALIZED VIEW name ON db FROM time TO time` (an extension).
#[derive(Debug, Clone, PartialEq)]
pub struct BackfillStatement {
    pub kind: StoredQueryKind,
    pub name: String,
    pub database: String,
    /// Included.
    pub from: Expr,
    /// Excluded.
    pub to: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredQueryKind {
    ContinuousQuery,
    MaterializedView,
}

/// Whether every destination of a subscription gets each write, or one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriptionMode {
    All,
    Any,
}

/// `CREATE SUBSCRIPTION name ON db.rp DESTINATIONS ALL|ANY '…', …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSubscriptionStatement {
    pub name: String,
    pub database: String,
    pub retention_policy: String,
    pub mode: SubscriptionMode,
    pub destinations: Vec<String>,
}

/// `DROP SUBSCRIPTION name ON db.rp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSubscriptionStatement {
    pub name: String,
    pub database: String,
    pub retention_policy: String,
}

/// `DELETE [FROM …] [WHERE …]`, at least one of the two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeleteStatement {
    pub sources: Vec<Source>,
    pub condition: Option<Expr>,
}

/// `DROP SERIES [FROM …] [WHERE …]`, at least one of the two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DropSeriesStatement {
    pub sources: Vec<Source>,
    pub condition: Option<Expr>,
}

/// `DROP MEASUREMENT name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropMeasurementStatement {
    pub name: String,
}

/// `DROP SHARD id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropShardStatement {
    pub id: u64,
}

/// `KILL QUERY id [ON "host"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillQueryStatement {
    pub id: u64,
    pub host: Option<String>,
}
