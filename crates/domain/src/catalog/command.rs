//! The commands that change the catalogue. Stored in the write-ahead log: variants are only ever appended.

use serde::{Deserialize, Serialize};

use super::model::{FieldDef, Privilege};
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

/// What DELETE or DROP SERIES removes from one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteScope {
    pub retention_policy: String,
    pub measurement: String,
    pub time: TimeRange,
    /// Over tags only; tag ids refer to the table's schema at the time of the command (schemas only grow).
    pub filter: Option<Predicate>,
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
    /// Makes the table when it is missing and adds the tags and fields it lacks.
    ExtendTable {
        database: String,
        retention_policy: String,
        measurement: String,
        tags: Vec<String>,
        fields: Vec<FieldDef>,
    },
    /// Registers the shard groups that hold these times.
    EnsureShardGroups {
        database: String,
        retention_policy: String,
        times: Vec<i64>,
    },
    DropMeasurement {
        database: String,
        name: String,
    },
    /// A measurement of one retention policy whose last series is gone.
    DropTable {
        database: String,
        retention_policy: String,
        measurement: String,
    },
    /// Removes points; the catalogue itself does not change.
    DeletePoints {
        database: String,
        scopes: Vec<DeleteScope>,
    },
    DropShard {
        id: u64,
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
}
