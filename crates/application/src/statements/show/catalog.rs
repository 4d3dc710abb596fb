//! SHOW statements answered from the catalogue alone.

use hyperbytedb_domain::catalog::{Catalog, CatalogError, Database, Privilege, RetentionPolicy};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::time::format_utc;

use super::super::StatementError;
use super::super::rows::{Rows, integer, text};
use crate::auth::access::Access;

pub fn databases(catalog: &Catalog, access: Access<'_>) -> Vec<SeriesBlock> {
    let mut rows = Rows::new("databases", &["name"]);
    let databases = catalog.databases_in_order();
    databases.iter().filter(|db| access.may_see(&db.name)).for_each(|db| rows.row([text(&db.name)]));
    vec![rows.block()]
}

pub fn retention_policies(catalog: &Catalog, database: &str) -> Result<Vec<SeriesBlock>, StatementError> {
    let Some(db) = catalog.database(database) else {
        return Err(StatementError::database_not_found(database));
    };
    let policies = db.policies_in_order();
    let columns = [
        "name",
        "duration",
        "shardGroupDuration",
        "replicaN",
        "futureWriteLimit",
        "pastWriteLimit",
        "default",
    ];
    let mut rows = Rows::new("", &columns);
    for rp in policies {
        rows.row([
            text(&rp.name),
            text(go_duration(rp.duration)),
            text(go_duration(rp.shard_duration)),
            integer(rp.replication),
            text(go_duration(rp.future_write_limit)),
            text(go_duration(rp.past_write_limit)),
            FieldValue::Boolean(rp.name == db.default_retention_policy),
        ]);
    }
    Ok(vec![rows.block()])
}

pub fn users(catalog: &Catalog) -> Vec<SeriesBlock> {
    let mut rows = Rows::new("", &["user", "admin"]);
    for user in catalog.users_in_order() {
        rows.row([text(&user.name), FieldValue::Boolean(user.admin)]);
    }
    vec![rows.block()]
}

pub fn grants(catalog: &Catalog, user: &str) -> Result<Vec<SeriesBlock>, StatementError> {
    let user = catalog.users.get(user).ok_or(CatalogError::UserNotFound)?;
    let mut rows = Rows::new("", &["database", "privilege"]);
    for (database, privilege) in &user.privileges {
        rows.row([text(database), text(privilege.name())]);
    }
    Ok(vec![rows.block()])
}

/// Those of the databases that the caller may read.
pub fn continuous_queries(catalog: &Catalog, access: Access<'_>) -> Vec<SeriesBlock> {
    let block = |db: &Database| {
        let mut rows = Rows::new(&db.name, &["name", "query"]);
        db.continuous_queries.iter().for_each(|cq| rows.row([text(&cq.name), text(&cq.query)]));
        rows.block()
    };
    let databases = catalog.databases_in_order().into_iter();
    databases.filter(|db| access.may(Privilege::Read, &db.name)).map(|db| block(db)).collect()
}

pub fn subscriptions(catalog: &Catalog) -> Vec<SeriesBlock> {
    let mut blocks = Vec::new();
    for db in catalog.databases_in_order() {
        let mut rows = Rows::new(&db.name, &["retention_policy", "name", "mode", "destinations"]);
        for rp in db.policies_in_order() {
            for s in &rp.subscriptions {
                let destinations = FieldValue::Strings(s.destinations.clone().into());
                rows.row([text(&rp.name), text(&s.name), text(&s.mode), destinations]);
            }
        }
        if !rows.is_empty() {
            blocks.push(rows.block());
        }
    }
    blocks
}

pub fn shards(catalog: &Catalog) -> Vec<SeriesBlock> {
    let columns = [
        "id",
        "database",
        "retention_policy",
        "shard_group",
        "start_time",
        "end_time",
        "expiry_time",
        "owners",
    ];
    let block = |db: &Database| {
        let mut rows = Rows::new(&db.name, &columns);
        for rp in db.policies_in_order() {
            for group in rp.shard_groups.values() {
                rows.row([
                    integer(group.id),
                    text(&db.name),
                    text(&rp.name),
                    integer(group.id),
                    time_text(group.start),
                    time_text(group.end),
                    expiry(rp, group.end),
                    text(""),
                ]);
            }
        }
        rows.block()
    };
    catalog.databases_in_order().into_iter().map(|db| block(db)).collect()
}

pub fn shard_groups(catalog: &Catalog) -> Vec<SeriesBlock> {
    let columns = ["id", "database", "retention_policy", "start_time", "end_time", "expiry_time"];
    let mut rows = Rows::new("shard groups", &columns);
    for db in catalog.databases_in_order() {
        for rp in db.policies_in_order() {
            for group in rp.shard_groups.values() {
                rows.row([
                    integer(group.id),
                    text(&db.name),
                    text(&rp.name),
                    time_text(group.start),
                    time_text(group.end),
                    expiry(rp, group.end),
                ]);
            }
        }
    }
    vec![rows.block()]
}

fn time_text(ns: i64) -> FieldValue {
    text(format_utc(i128::from(ns)))
}

/// Empty for a policy that keeps everything.
fn expiry(rp: &RetentionPolicy, end: i64) -> FieldValue {
    if rp.duration == 0 { text("") } else { text(format_utc(i128::from(end) + i128::from(rp.duration))) }
}

/// A duration as Go prints it: `168h0m0s`, `1m30s`, `1.5s`, `0s`.
pub fn go_duration(ns: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    if ns == 0 {
        return "0s".to_owned();
    }
    if ns.abs() < SECOND {
        let (unit, width) = match ns.abs() {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", ns as f64 / f64::from(width));
    }
    let sign = if ns < 0 { "-" } else { "" };
    let total = ns.unsigned_abs();
    let (seconds, fraction) = (total / SECOND as u64, total % SECOND as u64);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        _ => format!(".{}", format!("{fraction:09}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_read_as_in_go() {
        let cases = [
            (0, "0s"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (7 * 24 * 3_600_000_000_000, "168h0m0s"),
        ];
        for (ns, expected) in cases {
            assert_eq!(go_duration(ns), expected);
        }
    }
}
