//! Line protocol behind statements that make its database.
//!
//! Write limits of policies would refuse old points, so they come last; as comments, since `influx -import` takes whatever
//! else is behind `# DML` for points.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyperbytedb_line_protocol::PointPrinter;

use super::{Exporting, write_whole};
use crate::client::quote;
use crate::error::Error;
use crate::lines::AFTER_IMPORT;
use crate::read::{Measurement, Policy, value_of};

/// Writes all points; how many they are.
pub fn write(export: &Exporting<'_>, measurements: &[Measurement]) -> Result<u64, Error> {
    let path = &export.command.output;
    if path.as_os_str() == "-" {
        return write_to(&mut io::stdout().lock(), export, measurements);
    }
    write_whole(path, |new| {
        let mut file = File::create(new).map_err(Error::file(new))?;
        let points = if path.extension().is_some_and(|end| end == "gz") {
            let mut packed = GzEncoder::new(&mut file, Compression::default());
            let points = write_to(&mut packed, export, measurements)?;
            packed.finish().map_err(Error::file(new))?;
            points
        } else {
            write_to(&mut file, export, measurements)?
        };
        file.sync_all().map_err(Error::file(new))?;
        Ok(points)
    })
}

fn write_to(
    out: &mut impl Write,
    export: &Exporting<'_>,
    measurements: &[Measurement],
) -> Result<u64, Error> {
    let path: &Path = &export.command.output;
    let database = &export.command.database;
    let mut write = |text: &str| out.write_all(text.as_bytes()).map_err(Error::file(path));
    write("# DDL\n")?;
    for statement in statements(database, &export.policies) {
        write(&format!("{statement}\n"))?;
    }
    write("# DML\n")?;
    let mut policy = "";
    let mut points = 0;
    for measurement in measurements {
        if measurement.policy != policy {
            policy = &measurement.policy;
            write(&format!("# CONTEXT-DATABASE:{database}\n# CONTEXT-RETENTION-POLICY:{policy}\n"))?;
        }
        let mut answer = export.points(measurement)?;
        let mut text = String::new();
        while answer.read(|tags, rows| {
            for row in rows {
                let mut point = PointPrinter::begin(&mut text, &measurement.name);
                tags.iter().for_each(|(key, value)| point.tag(key, value));
                let (time, values) = row.split_first().ok_or_else(|| Error::usage("a row without a time"))?;
                for (raw, (name, kind)) in values.iter().zip(&measurement.fields) {
                    point.field(name, &value_of(raw, *kind)?);
                }
                let time =
                    time.get().parse().map_err(|_| Error::usage(format!("no time: {}", time.get())))?;
                points += u64::from(point.end(time));
            }
            Ok(())
        })? {
            write(&text)?;
            text.clear();
        }
    }
    for statement in limits(database, &export.policies) {
        write(&format!("{AFTER_IMPORT}{statement}\n"))?;
    }
    Ok(points)
}

/// What makes the database and its policies.
fn statements(database: &str, policies: &[Policy]) -> Vec<String> {
    let name = quote(database);
    let durations = |policy: &Policy| {
        let duration = if policy.duration == "0s" { "INF" } else { &policy.duration };
        format!(
            "DURATION {duration} REPLICATION {} SHARD DURATION {}",
            policy.replication, policy.shard_group_duration
        )
    };
    let mut statements = Vec::new();
    match policies.iter().find(|policy| policy.is_default) {
        Some(policy) => statements.push(format!(
            "CREATE DATABASE {name} WITH {} NAME {}",
            durations(policy),
            quote(&policy.name)
        )),
        None => statements.push(format!("CREATE DATABASE {name}")),
    }
    for policy in policies.iter().filter(|policy| !policy.is_default) {
        let text = format!("CREATE RETENTION POLICY {} ON {name} {}", quote(&policy.name), durations(policy));
        statements.push(text);
    }
    statements
}

/// What gives the policies their write limits.
fn limits(database: &str, policies: &[Policy]) -> Vec<String> {
    let name = quote(database);
    let limited = policies.iter().map(|policy| (policy, policy.write_limits()));
    let limited = limited.filter(|(_, limits)| !limits.is_empty());
    limited
        .map(|(policy, limits)| format!("ALTER RETENTION POLICY {} ON {name}{limits}", quote(&policy.name)))
        .collect()
}
