//! What servers say of themselves and of their cluster.

use hyperbytedb_domain::catalog::TableId;

use crate::expr::{Expr, Literal};
use crate::schema::Database;
use crate::select::{Select, Source};

fn from_system(table: &str, columns: impl IntoIterator<Item = &'static str>) -> Select {
    let columns = columns.into_iter().map(Expr::column).collect();
    Select::new(columns, Source::Table(Database::new("system").named(table)))
}

fn equals(column: &str, text: &str) -> Expr {
    Expr::column(column).infix("=", Expr::string(text))
}

fn one_of<'a>(column: &str, texts: impl IntoIterator<Item = &'a str>) -> Expr {
    let values = texts.into_iter().map(Literal::string).collect();
    Expr::In { expr: Box::new(Expr::column(column)), values }
}

/// One row: the server's version, String.
pub fn version() -> Select {
    Select::new(vec![Expr::call("version", [])], from_system("one", []).source)
}

/// Numbers (String) of `system` and of one of its tables. At least one of them is another after each start of the server, which makes
/// these tables anew; a table that the user may read is taken, since others are not shown.
pub fn numbers_of_system() -> [Select; 2] {
    let numbered = |table, conditions| {
        let number = Expr::call("toString", [Expr::column("uuid")]);
        let mut select = Select::new(vec![number], from_system(table, []).source);
        select.conditions = conditions;
        select
    };
    [
        numbered("databases", vec![equals("name", "system")]),
        numbered("tables", vec![equals("database", "system"), equals("name", "parts")]),
    ]
}

/// The servers of a cluster: (shard's number UInt32, its weight UInt32, host String, whether it is the one asked UInt8), by
/// shard.
pub fn members(cluster: &str) -> Select {
    let mut select = from_system("clusters", ["shard_num", "shard_weight", "host_name", "is_local"]);
    select.conditions = vec![equals("cluster", cluster)];
    select
}

/// Which of these settings of tables the server knows: String.
pub fn known_table_settings(names: impl IntoIterator<Item = &'static str>) -> Select {
    let mut select = from_system("merge_tree_settings", ["name"]);
    select.conditions = vec![one_of("name", names)];
    select
}

/// Whether the database is there, for this user: its name, String.
pub fn database(database: &Database) -> Select {
    let mut select = from_system("databases", ["name"]);
    select.conditions = vec![equals("name", database.name())];
    select
}

/// The tables of a database and their comments: (String, String).
pub fn tables(database: &Database) -> Select {
    let mut select = from_system("tables", ["name", "comment"]);
    select.conditions = vec![equals("database", database.name())];
    select
}

/// Columns of the tables of a measurement: (table String, column String).
pub fn measurement_columns(database: &Database, id: TableId) -> Select {
    let mut select = from_system("columns", ["table", "name"]);
    let (stored, distributed) = (database.table(id).table, database.distributed_table(id).table);
    select.conditions = vec![equals("database", database.name()), one_of("table", [&*stored, &*distributed])];
    select
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::table_name;
    use crate::statement::{Statement, TableEngine};

    #[test]
    fn questions() {
        assert_eq!(version().to_string(), "SELECT version() FROM `system`.`one`");
        assert_eq!(
            members("c'").to_string(),
            r"SELECT `shard_num`, `shard_weight`, `host_name`, `is_local` FROM `system`.`clusters` WHERE (`cluster` = 'c\'')"
        );
        assert_eq!(
            measurement_columns(&Database::new("d"), TableId(7)).to_string(),
            "SELECT `table`, `name` FROM `system`.`columns` WHERE (`database` = 'd') AND (`table` IN ('m7', 'm7_all'))"
        );
    }

    #[test]
    fn tables_of_a_cluster() {
        let database = Database::default();
        let distributed = Statement::CreateDistributed {
            table: database.distributed_table(TableId(7)),
            columns: Vec::new(),
            cluster: "c'".into(),
            stored: table_name(TableId(7)),
        };
        assert_eq!(
            distributed.to_string(),
            r"CREATE TABLE IF NOT EXISTS `hyperbyte`.`m7_all` () ENGINE = Distributed('c\'', 'hyperbyte', 'm7', `sid`)"
        );
        let engine = TableEngine::Replicated { path: "/clickhouse/tables/{shard}/d'/m7".into() };
        assert_eq!(
            engine.to_string(),
            r"ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/d\'/m7', '{replica}')"
        );
        let marker = Statement::CreateMarker { table: database.named("installation"), comment: "1".into() };
        assert!(marker.to_string().ends_with("ENGINE = Null COMMENT '1'"));
    }
}
