//! Fills in the database and retention policy of every measurement.

use hyperbytedb_timeseriesql::ast::{MeasurementName, SelectStatement, Source};

use super::{PrepareContext, PrepareError};

/// Makes every measurement of the statement say its database and retention policy: those of the request, or the
/// database's default. Whether a retention policy exists is checked later.
///
/// # Errors
/// A measurement without a name, a database that is not named or does not exist.
pub fn normalize(statement: &mut SelectStatement, context: &PrepareContext<'_>) -> Result<(), PrepareError> {
    if let Some(target) = &mut statement.target {
        qualify(&mut target.database, &mut target.retention_policy, context)?;
    }
    for source in &mut statement.sources {
        match source {
            Source::Measurement(measurement) => {
                if matches!(&measurement.name, MeasurementName::Name(name) if name.is_empty()) {
                    return Err(PrepareError::invalid("invalid measurement"));
                }
                qualify(&mut measurement.database, &mut measurement.retention_policy, context)?;
            }
            Source::Subquery(inner) => normalize(inner, context)?,
        }
    }
    Ok(())
}

fn qualify(
    database: &mut Option<String>,
    retention_policy: &mut Option<String>,
    context: &PrepareContext<'_>,
) -> Result<(), PrepareError> {
    if database.as_ref().is_none_or(String::is_empty) {
        *database = Some(context.database.to_owned());
    }
    let name = database.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(PrepareError::DatabaseRequired);
    }
    let found = context.catalog.database(name);
    let found = found.ok_or_else(|| PrepareError::DatabaseNotFound(name.to_owned()))?;
    if retention_policy.as_ref().is_none_or(String::is_empty) {
        let policy = match context.retention_policy {
            "" => found.default_retention_policy.as_str(),
            given => given,
        };
        if policy.is_empty() {
            return Err(PrepareError::Invalid(format!("default retention policy not set for: {name}")));
        }
        *retention_policy = Some(policy.to_owned());
    }
    Ok(())
}
