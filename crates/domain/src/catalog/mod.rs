//! The catalogue: everything the server knows besides points. Databases, retention policies, tables and their
//! schema, users, continuous queries, subscriptions.
//!
//! It changes only by [`Command`]s, applied by [`Catalog::apply`]: a pure, deterministic function. A single node
//! applies a command directly; a cluster agrees on it first. Reads use immutable snapshots.

mod apply;
mod command;
mod error;
mod model;

pub use apply::Effects;
pub use command::{Command, DeleteScope, RetentionPolicySpec, TableExtension};
pub use error::CatalogError;
pub use model::{
    Catalog, ContinuousQuery, Database, FieldDef, MaterializedView, Privilege, RetentionPolicy, ShardGroup,
    Subscription, Table, TableId, User,
};
