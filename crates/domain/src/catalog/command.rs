//! The commands that change the catalogue. Stored in the write-ahead log: variants are only ever appended.

use serde::{Deserialize, Serialize};

use super::model::{FieldDef, Privilege, TableId};
use crate::scan::Predicate;
use crate::time::TimeRange;

/// What CREATE and ALTER RETENTION POLICY say; durations in nanoseconds, 0 = infinite or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicySpec {
    pub name: Option<String>,
    pub duration: Option<i64>,
    pub replication: Option<u32>,
    pub shard_duration: Option<i64>,
    pub future_write_limit: Option<i64>,
    pub past_write_limit: Option<i64>,
}

/// What DELETE or DROP SERIES removes from one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteScope {
    pub table: TableId,
    /// The version of the schema that `filter` was compiled against: a later one may have tags that it takes for absent.
    pub version: u32,
    pub time: TimeRange,
    /// Over tags only.
    pub filter: Option<Predicate>,
}

/// The tags and fields that a write brings to a measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableExtension {
    pub measurement: String,
    pub tags: Vec<String>,
    pub fields: Vec<FieldDef>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    CreateDatabase {
        name: String,
        policy: Option<RetentionPolicySpec>,
    },
    DropDatabase {
        name: String,
    },
    CreateRetentionPolicy {
        database: String,
        spec: RetentionPolicySpec,
        default: bool,
    },
    AlterRetentionPolicy {
        database: String,
        spec: RetentionPolicySpec,
        default: bool,
    },
    DropRetentionPolicy {
        database: String,
        name: String,
    },
    /// What one write needs: makes the tables that are missing, adds the tags and fields they lack, and opens the shard
    /// groups of the times that have none.
    ExtendSchema {
        database: String,
        retention_policy: String,
        tables: Vec<TableExtension>,
        times: Vec<i64>,
    },
    DropMeasurement {
        database: String,
        name: String,
    },
    /// A table whose last series is gone. Nothing happens when it has series again.
    DropEmptyTable {
        table: TableId,
    },
    /// Removes points; the catalogue itself does not change.
    DeletePoints {
        scopes: Vec<DeleteScope>,
    },
    /// Drops these shard groups; those that do not exist are passed over.
    DropShardGroups {
        ids: Vec<u64>,
    },
    CreateUser {
        name: String,
        password_hash: String,
        admin: bool,
    },
    DropUser {
        name: String,
    },
    SetPassword {
        name: String,
        password_hash: String,
    },
    SetAdmin {
        user: String,
        admin: bool,
    },
    SetPrivilege {
        user: String,
        database: String,
        privilege: Privilege,
    },
    CreateContinuousQuery {
        database: String,
        name: String,
        query: String,
    },
    DropContinuousQuery {
        database: String,
        name: String,
    },
    /// A run has succeeded. Nothing happens when the query is gone.
    SetContinuousQueryRun {
        database: String,
        name: String,
        at: i64,
    },
    CreateSubscription {
        database: String,
        retention_policy: String,
        name: String,
        mode: String,
        destinations: Vec<String>,
    },
    DropSubscription {
        database: String,
        retention_policy: String,
        name: String,
    },
    CreateMaterializedView {
        database: String,
        name: String,
        query: String,
    },
    DropMaterializedView {
        database: String,
        name: String,
    },
    /// Has windows of a stored query computed by whichever node of a cluster computes; the catalogue itself does not change.
    /// Times are in nanoseconds, the last one excluded.
    Backfill {
        database: String,
        name: String,
        is_view: bool,
        from: i64,
        to: i64,
    },
}
