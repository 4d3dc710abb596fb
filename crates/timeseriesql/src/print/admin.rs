//! Statements that change the catalogue or remove data.

use std::fmt::{self, Display, Formatter};

use super::{clause, list, optional};
use crate::{
    ast::*,
    duration::format_duration,
    quote::{quote_ident, quote_string},
};

/// Prints statements that are a format string over quoted names.
macro_rules! display {
    ($($statement:ty: $format:literal, $($name:ident),+;)*) => {$(
        impl Display for $statement {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                write!(f, $format, $(quote_ident(&self.$name)),+)
            }
        }
    )*};
}

display! {
    DropDatabaseStatement: "DROP DATABASE {}", name;
    DropRetentionPolicyStatement: "DROP RETENTION POLICY {} ON {}", name, database;
    DropUserStatement: "DROP USER {}", name;
    SetPasswordStatement: "SET PASSWORD FOR {} = [REDACTED]", name;
    GrantAdminStatement: "GRANT ALL PRIVILEGES TO {}", user;
    RevokeAdminStatement: "REVOKE ALL PRIVILEGES FROM {}", user;
    DropContinuousQueryStatement: "DROP CONTINUOUS QUERY {} ON {}", name, database;
    DropMaterializedViewStatement: "DROP MATERIALIZED VIEW {} ON {}", name, database;
    DropSubscriptionStatement: "DROP SUBSCRIPTION {} ON {}.{}", name, database, retention_policy;
    DropMeasurementStatement: "DROP MEASUREMENT {}", name;
}

fn duration(f: &mut Formatter<'_>, prefix: &str, ns: Option<i64>) -> fmt::Result {
    optional(f, prefix, ns.map(format_duration))
}

impl Display for CreateDatabaseStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "CREATE DATABASE {}", quote_ident(&self.name))?;
        let Some(policy) = &self.retention_policy else {
            return Ok(());
        };
        f.write_str(" WITH")?;
        duration(f, " DURATION ", policy.duration_ns)?;
        optional(f, " REPLICATION ", policy.replication)?;
        duration(f, " SHARD DURATION ", policy.shard_duration_ns)?;
        duration(f, " FUTURE LIMIT ", policy.future_write_limit_ns)?;
        duration(f, " PAST LIMIT ", policy.past_write_limit_ns)?;
        optional(f, " NAME ", policy.name.as_deref().map(quote_ident))
    }
}

impl Display for CreateRetentionPolicyStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE RETENTION POLICY {} ON {} DURATION {} REPLICATION {}",
            quote_ident(&self.name),
            quote_ident(&self.database),
            format_duration(self.duration_ns),
            self.replication
        )?;
        duration(f, " SHARD DURATION ", self.shard_duration_ns)?;
        if self.default {
            f.write_str(" DEFAULT")?;
        }
        duration(f, " FUTURE LIMIT ", self.future_write_limit_ns)?;
        duration(f, " PAST LIMIT ", self.past_write_limit_ns)
    }
}

impl Display for AlterRetentionPolicyStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (quote_ident(&self.name), quote_ident(&self.database));
        write!(f, "ALTER RETENTION POLICY {name} ON {database}")?;
        duration(f, " DURATION ", self.duration_ns)?;
        optional(f, " REPLICATION ", self.replication)?;
        duration(f, " SHARD DURATION ", self.shard_duration_ns)?;
        if self.default {
            f.write_str(" DEFAULT")?;
        }
        duration(f, " FUTURE LIMIT ", self.future_write_limit_ns)?;
        duration(f, " PAST LIMIT ", self.past_write_limit_ns)
    }
}

impl Display for CreateUserStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hash = if matches!(self.password, NewPassword::Hash(_)) { "HASH " } else { "" };
        write!(f, "CREATE USER {} WITH PASSWORD {hash}[REDACTED]", quote_ident(&self.name))?;
        if self.admin {
            f.write_str(" WITH ALL PRIVILEGES")?;
        }
        Ok(())
    }
}

impl Display for Privilege {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::All => "ALL PRIVILEGES",
        })
    }
}

impl Display for GrantStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (database, user) = (quote_ident(&self.database), quote_ident(&self.user));
        write!(f, "GRANT {} ON {database} TO {user}", self.privilege)
    }
}

impl Display for RevokeStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (database, user) = (quote_ident(&self.database), quote_ident(&self.user));
        write!(f, "REVOKE {} ON {database} FROM {user}", self.privilege)
    }
}

impl Display for CreateContinuousQueryStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (quote_ident(&self.name), quote_ident(&self.database));
        write!(f, "CREATE CONTINUOUS QUERY {name} ON {database} ")?;
        let Resample { every_ns, for_ns, late_ns } = self.resample;
        if every_ns.or(for_ns).or(late_ns).is_some() {
            f.write_str("RESAMPLE ")?;
        }
        for (keyword, ns) in [("EVERY", every_ns), ("FOR", for_ns), ("LATE", late_ns)] {
            if let Some(ns) = ns {
                write!(f, "{keyword} {} ", format_duration(ns))?;
            }
        }
        write!(f, "BEGIN {} END", self.source)
    }
}

impl Display for CreateMaterializedViewStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (quote_ident(&self.name), quote_ident(&self.database));
        let backfill = if self.backfill { " WITH BACKFILL" } else { "" };
        write!(f, "CREATE MATERIALIZED VIEW {name} ON {database}{backfill} AS {}", self.source)
    }
}

impl Display for BackfillStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (quote_ident(&self.name), quote_ident(&self.database));
        let kind = match self.kind {
            StoredQueryKind::ContinuousQuery => "CONTINUOUS QUERY",
            StoredQueryKind::MaterializedView => "MATERIALIZED VIEW",
        };
        write!(f, "BACKFILL {kind} {name} ON {database} FROM {} TO {}", self.from, self.to)
    }
}

impl Display for SubscriptionMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "ALL",
            Self::Any => "ANY",
        })
    }
}

impl Display for CreateSubscriptionStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE SUBSCRIPTION {} ON {}.{} DESTINATIONS {} ",
            quote_ident(&self.name),
            quote_ident(&self.database),
            quote_ident(&self.retention_policy),
            self.mode
        )?;
        let quoted: Vec<_> = self.destinations.iter().map(|url| quote_string(url)).collect();
        list(f, &quoted)
    }
}

impl Display for DeleteStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("DELETE")?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WHERE ", self.condition.as_ref())
    }
}

impl Display for DropSeriesStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("DROP SERIES")?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WHERE ", self.condition.as_ref())
    }
}

impl Display for DropShardStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "DROP SHARD {}", self.id)
    }
}

impl Display for KillQueryStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "KILL QUERY {}", self.id)?;
        optional(f, " ON ", self.host.as_deref().map(quote_ident))
    }
}
