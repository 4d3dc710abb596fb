//! Why a command was refused, in InfluxDB's words.

use thiserror::Error;

use crate::field::FieldType;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CatalogError {
    #[error("database not found: {0}")]
    DatabaseNotFound(String),
    #[error("invalid name")]
    InvalidName,
    #[error("name too long")]
    NameTooLong,
    #[error("retention policy not found: {0}")]
    RetentionPolicyNotFound(String),
    #[error("retention policy already exists")]
    RetentionPolicyExists,
    #[error("retention policy conflicts with an existing policy")]
    RetentionPolicyConflict,
    #[error("retention policy duration must be at least 1h0m0s")]
    RetentionPolicyDurationTooLow,
    #[error("retention policy duration must be greater than the shard duration")]
    IncompatibleDurations,
    #[error("replication factor must be greater than 0")]
    ReplicationFactorTooLow,
    #[error(
        "field type conflict: input field \"{field}\" on measurement \"{measurement}\" is type {input}, already exists as type {existing}"
    )]
    FieldTypeConflict { measurement: String, field: String, input: FieldType, existing: FieldType },
    #[error("user already exists")]
    UserExists,
    #[error("user not found")]
    UserNotFound,
    #[error("username required")]
    UsernameRequired,
    #[error("continuous query already exists")]
    ContinuousQueryExists,
    #[error("subscription already exists")]
    SubscriptionExists,
    #[error("subscription not found")]
    SubscriptionNotFound,
    #[error("materialized view already exists")]
    MaterializedViewExists,
    #[error("materialized view not found: {0}")]
    MaterializedViewNotFound(String),
}
