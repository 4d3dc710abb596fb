//! Databases, policies, fields with their types, tag keys and series.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_domain::FieldType;
use xxhash_rust::xxh3::xxh3_64;

use super::report::Report;
use crate::client::Server;
use crate::error::Error;
use crate::read::{self, Measurement};

const INTERNAL: &str = "_internal";

/// Series that are named where they are on one server only.
const DETAILED_SERIES: usize = 10;

/// The databases that both servers have.
pub fn databases(
    servers: &[Server; 2],
    only: Option<&str>,
    report: &mut Report,
) -> Result<Vec<String>, Error> {
    let of = |server: &Server| -> Result<BTreeSet<String>, Error> {
        let found = read::databases(server)?.into_iter();
        Ok(found.filter(|name| only.map_or(name != INTERNAL, |only| name == only)).collect())
    };
    let (a, b) = (of(&servers[0])?, of(&servers[1])?);
    if let Some(name) = only.filter(|_| a.is_empty() && b.is_empty()) {
        return Err(Error::usage(format!("no database {name:?} on either server")));
    }
    Ok(common("database", &a, &b, report))
}

/// The policies that both have.
pub fn policies(
    servers: &[Server; 2],
    database: &str,
    only: Option<&str>,
    report: &mut Report,
) -> Result<Vec<String>, Error> {
    let of = |server: &Server| -> Result<BTreeMap<String, String>, Error> {
        let found = read::policies(server, database)?.into_iter();
        let text = |policy: &read::Policy| {
            let default = if policy.is_default { ", default" } else { "" };
            let limits = policy.write_limits();
            format!("{} in shard groups of {}{limits}{default}", policy.duration, policy.shard_group_duration)
        };
        let wanted = found.filter(|policy| only.is_none_or(|only| policy.name == only));
        Ok(wanted.map(|policy| (policy.name.clone(), text(&policy))).collect())
    };
    let (a, b) = (of(&servers[0])?, of(&servers[1])?);
    let what = format!("{database}: retention policy");
    let both = common(&what, &keys(&a), &keys(&b), report);
    for name in both.iter().filter(|name| a[*name] != b[*name]) {
        report.differ(&format!("{what} {name:?}: {} on A, {} on B", a[name], b[name]));
    }
    Ok(both)
}

/// The measurements that both have with the fields that both have with one type.
pub fn measurements(
    servers: &[Server; 2],
    database: &str,
    policies: &[String],
    only: Option<&str>,
    report: &mut Report,
) -> Result<Vec<Measurement>, Error> {
    let mut both = Vec::new();
    let mut names = BTreeSet::new();
    for policy in policies {
        let of = |server: &Server| -> Result<BTreeMap<String, Measurement>, Error> {
            let found = read::measurements(server, database, policy, only)?.into_iter();
            Ok(found.map(|measurement| (measurement.name.clone(), measurement)).collect())
        };
        let (mut a, b) = (of(&servers[0])?, of(&servers[1])?);
        for name in common(&format!("{database}.{policy}: measurement"), &keys(&a), &keys(&b), report) {
            let what = format!("{database}.{policy}.{name}: field");
            let Some(mut measurement) = a.remove(&name) else { continue };
            let others = &b[&name].fields;
            let fields: BTreeSet<String> =
                common(&what, &keys(&measurement.fields), &keys(others), report).into_iter().collect();
            measurement.fields.retain(|field, _| fields.contains(field));
            types(&what, &mut measurement.fields, others, report);
            names.insert(name);
            if !measurement.fields.is_empty() {
                both.push(measurement);
            }
        }
    }
    for name in names {
        series(servers, database, &name, report)?;
    }
    Ok(both)
}

/// Leaves the fields whose types are equal.
fn types(
    what: &str,
    a: &mut BTreeMap<String, FieldType>,
    b: &BTreeMap<String, FieldType>,
    report: &mut Report,
) {
    a.retain(|name, kind| {
        let other = b.get(name).filter(|other| *other != kind);
        if let Some(other) = other {
            report.differ(&format!("{what} {name:?}: {} on A, {} on B", kind.name(), other.name()));
        }
        other.is_none()
    });
}

/// Compares the tag keys and the series of a measurement.
fn series(servers: &[Server; 2], database: &str, name: &str, report: &mut Report) -> Result<(), Error> {
    let tags = |server: &Server| -> Result<BTreeSet<String>, Error> {
        Ok(read::tag_keys(server, database, name)?.into_iter().collect())
    };
    common(&format!("{database}: {name}: tag key"), &tags(&servers[0])?, &tags(&servers[1])?, report);
    let (a, b) = (hashes(&servers[0], database, name)?, hashes(&servers[1], database, name)?);
    if a == b {
        return Ok(());
    }
    report.differ(&format!("{database}: {name}: {} series on A, {} on B", a.len(), b.len()));
    for (server, on, others) in [(&servers[0], "A", &b), (&servers[1], "B", &a)] {
        let mut only = Vec::new();
        read::each_series(server, database, name, |key| {
            if only.len() < DETAILED_SERIES && !others.contains(&xxh3_64(key.as_bytes())) {
                only.push(key.to_owned());
            }
        })?;
        only.iter().for_each(|key| report.detail(&format!("only on {on}: {key}")));
    }
    Ok(())
}

fn hashes(server: &Server, database: &str, name: &str) -> Result<BTreeSet<u64>, Error> {
    let mut found = BTreeSet::new();
    read::each_series(server, database, name, |key| {
        found.insert(xxh3_64(key.as_bytes()));
    })?;
    Ok(found)
}

fn keys<T>(map: &BTreeMap<String, T>) -> BTreeSet<String> {
    map.keys().cloned().collect()
}

/// What both have; the others are reported.
fn common(what: &str, a: &BTreeSet<String>, b: &BTreeSet<String>, report: &mut Report) -> Vec<String> {
    let only = |on, from: &BTreeSet<String>, other| -> Vec<String> {
        from.difference(other).map(|name| format!("{what} {name:?}: only on {on}")).collect()
    };
    report.differ_all(&only("A", a, b));
    report.differ_all(&only("B", b, a));
    a.intersection(b).cloned().collect()
}
