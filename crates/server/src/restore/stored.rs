//! What works by itself in a database of a backup: continuous queries, materialized views, subscriptions.

use std::error::Error;

use hyperbytedb_domain::catalog::Database;
use hyperbytedb_timeseriesql::ast::{
    CreateSubscriptionStatement, Measurement, SelectStatement, Statement, SubscriptionMode,
};
use hyperbytedb_timeseriesql::parse_statement;
use hyperbytedb_timeseriesql::quote::quote_ident;
use hyperbytedb_timeseriesql::walk::for_each_measurement_mut;

use crate::compose::Application;

/// The statements that make it, to be run behind the points; and what is not to be made, for who reads.
#[derive(Default)]
pub struct Stored {
    pub statements: Vec<String>,
    pub left_out: Vec<String>,
}

impl Stored {
    /// Of a database that becomes `target`.
    pub fn of(database: &Database, target: &str, copy: &Application) -> Result<Self, Box<dyn Error>> {
        let mut stored = Self::default();
        let renamed = Renamed { from: &database.name, to: target };
        stored.continuous_queries(database, renamed)?;
        stored.views(database, renamed, copy)?;
        stored.subscriptions(database, renamed);
        Ok(stored)
    }

    fn continuous_queries(
        &mut self,
        database: &Database,
        renamed: Renamed<'_>,
    ) -> Result<(), Box<dyn Error>> {
        for query in &database.continuous_queries {
            let Statement::CreateContinuousQuery(mut create) = parse_statement(&query.query)? else {
                continue;
            };
            create.database = renamed.to.to_owned();
            if renamed.keeps_to_itself(&mut create.source) {
                self.statements.push(create.to_string());
            } else {
                self.left_out.push(renamed.writes_elsewhere("continuous query", &query.name));
            }
        }
        Ok(())
    }

    /// A view's target comes with the points. What the view had still to compute, it is given to compute.
    fn views(
        &mut self,
        database: &Database,
        renamed: Renamed<'_>,
        copy: &Application,
    ) -> Result<(), Box<dyn Error>> {
        for view in &database.materialized_views {
            let Statement::CreateMaterializedView(mut create) = parse_statement(&view.query)? else {
                continue;
            };
            create.database = renamed.to.to_owned();
            create.backfill = false;
            if !renamed.keeps_to_itself(&mut create.source) {
                self.left_out.push(renamed.writes_elsewhere("materialized view", &view.name));
                continue;
            }
            self.statements.push(create.to_string());
            let (name, target) = (quote_ident(&view.name), quote_ident(renamed.to));
            self.statements.extend(copy.dirty_windows(&database.name, &view.name)?.into_iter().map(
                |(start, end)| format!("BACKFILL MATERIALIZED VIEW {name} ON {target} FROM {start} TO {end}"),
            ));
        }
        Ok(())
    }

    /// A copy under another name does not send its points to where those of the first go.
    fn subscriptions(&mut self, database: &Database, renamed: Renamed<'_>) {
        for policy in database.policies_in_order() {
            for subscription in &policy.subscriptions {
                if renamed.from != renamed.to {
                    self.left_out.push(format!(
                        "subscription {}: it would send the points of {} to the receivers of {}",
                        subscription.name, renamed.to, renamed.from
                    ));
                    continue;
                }
                let create = CreateSubscriptionStatement {
                    name: subscription.name.clone(),
                    database: renamed.to.to_owned(),
                    retention_policy: policy.name.clone(),
                    mode: match subscription.mode.as_str() {
                        "ANY" => SubscriptionMode::Any,
                        _ => SubscriptionMode::All,
                    },
                    destinations: subscription.destinations.clone(),
                };
                self.statements.push(create.to_string());
            }
        }
    }
}

/// A database and the name that it gets.
#[derive(Clone, Copy)]
struct Renamed<'a> {
    from: &'a str,
    to: &'a str,
}

impl Renamed<'_> {
    /// Names the places in the database anew. False: under another name, the statement would write where that of the
    /// first database does.
    fn keeps_to_itself(self, select: &mut SelectStatement) -> bool {
        let rename = |name: &mut Option<String>| {
            if name.as_deref() == Some(self.from) {
                *name = Some(self.to.to_owned());
            }
        };
        for_each_measurement_mut(select, &mut |m: &mut Measurement| rename(&mut m.database));
        let Some(into) = &mut select.target else { return true };
        rename(&mut into.database);
        let is_elsewhere = into.database.as_deref().is_some_and(|database| database != self.to);
        self.from == self.to || !is_elsewhere
    }

    fn writes_elsewhere(self, kind: &str, name: &str) -> String {
        format!("{kind} {name}: it would write where that of {} does", self.from)
    }
}
