//! The syntax tree: what a statement says, before anything is known of the schema.
//!
//! One struct a statement, plain data, comparable and printable. The types follow InfluxQL's own
//! vocabulary (field, dimension, source, target), so that its documentation reads on.

mod admin;
mod derived;
mod expr;
mod kind;
mod select;
mod show;

pub use admin::*;
pub use derived::DimensionError;
pub use expr::*;
pub use kind::KINDS;
pub use select::*;
pub use show::*;

/// A request's text: statements in order, separated by `;`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Select(Box<SelectStatement>),
    Explain(Box<ExplainStatement>),
    Delete(DeleteStatement),
    Backfill(Box<BackfillStatement>),

    AlterRetentionPolicy(AlterRetentionPolicyStatement),
    CreateContinuousQuery(Box<CreateContinuousQueryStatement>),
    CreateDatabase(CreateDatabaseStatement),
    CreateMaterializedView(Box<CreateMaterializedViewStatement>),
    CreateRetentionPolicy(CreateRetentionPolicyStatement),
    CreateSubscription(CreateSubscriptionStatement),
    CreateUser(CreateUserStatement),
    DropContinuousQuery(DropContinuousQueryStatement),
    DropDatabase(DropDatabaseStatement),
    DropMaterializedView(DropMaterializedViewStatement),
    DropMeasurement(DropMeasurementStatement),
    DropRetentionPolicy(DropRetentionPolicyStatement),
    DropSeries(DropSeriesStatement),
    DropShard(DropShardStatement),
    DropSubscription(DropSubscriptionStatement),
    DropUser(DropUserStatement),
    Grant(GrantStatement),
    GrantAdmin(GrantAdminStatement),
    KillQuery(KillQueryStatement),
    Revoke(RevokeStatement),
    RevokeAdmin(RevokeAdminStatement),
    SetPassword(SetPasswordStatement),

    ShowCardinality(ShowCardinalityStatement),
    ShowContinuousQueries,
    ShowDatabases,
    ShowDiagnostics(ShowDiagnosticsStatement),
    ShowFieldKeys(ShowFieldKeysStatement),
    ShowGrants(ShowGrantsStatement),
    ShowMaterializedViews,
    ShowMeasurements(ShowMeasurementsStatement),
    ShowQueries,
    ShowRetentionPolicies(ShowRetentionPoliciesStatement),
    ShowSeries(ShowSeriesStatement),
    ShowServers,
    ShowShardGroups,
    ShowShards,
    ShowStats(ShowStatsStatement),
    ShowSubscriptions,
    ShowTagKeys(ShowTagKeysStatement),
    ShowTagValues(ShowTagValuesStatement),
    ShowUsers,
}
