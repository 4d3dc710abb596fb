use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::{
    Command, FieldDef, Privilege, RetentionPolicySpec, TableExtension, TableId,
};
use tempfile::TempDir;

use super::*;

fn open(dir: &TempDir) -> RocksCatalog {
    RocksCatalog::load(open_database(&StorageOptions::in_directory(dir.path()), Database::open).unwrap())
        .unwrap()
}

fn extend(measurement: &str, tags: &[&str], fields: &[&str]) -> Command {
    let field = |name: &&str| FieldDef { name: name.to_string(), field_type: FieldType::Float };
    let table = TableExtension {
        measurement: measurement.into(),
        tags: tags.iter().map(|tag| tag.to_string()).collect(),
        fields: fields.iter().map(field).collect(),
    };
    extend_schema("", vec![table], Vec::new())
}

fn extend_schema(policy: &str, tables: Vec<TableExtension>, times: Vec<i64>) -> Command {
    Command::ExtendSchema { database: "db".into(), retention_policy: policy.into(), tables, times }
}

/// Applies a command as the committer does, with the next sequence.
fn apply(store: &RocksCatalog, command: &Command) {
    let mut catalog = Catalog::clone(&store.catalog());
    catalog.apply(command).unwrap();
    store.publish(catalog, store.applied() + 1).unwrap();
}

fn create_database(name: &str) -> Command {
    Command::CreateDatabase { name: name.into(), policy: None }
}

/// One of every command, and what undoes some of them.
fn commands() -> Vec<Command> {
    let (db, user) = (|| "db".to_owned(), || "ü".to_owned());
    let spec = RetentionPolicySpec {
        name: Some("week".into()),
        duration: Some(7 * 24 * 3_600_000_000_000),
        ..Default::default()
    };
    vec![
        create_database("db"),
        create_database("other"),
        Command::CreateRetentionPolicy { database: db(), spec: spec.clone(), default: true },
        extend("m", &["host"], &["v"]),
        extend("m\0 ,=", &[], &["v"]),
        extend("m", &["dc"], &["v", "w"]),
        extend_schema("week", Vec::new(), vec![0, -1]),
        Command::CreateUser { name: user(), password_hash: "hash".into(), admin: false },
        Command::SetPrivilege { user: user(), database: db(), privilege: Privilege::Read },
        Command::CreateContinuousQuery { database: db(), name: "cq".into(), query: "SELECT 1".into() },
        Command::CreateSubscription {
            database: db(),
            retention_policy: "week".into(),
            name: "sub".into(),
            mode: "ALL".into(),
            destinations: vec!["http://127.0.0.1:1".into()],
        },
        Command::CreateMaterializedView { database: db(), name: "view".into(), query: "SELECT 1".into() },
        Command::AlterRetentionPolicy {
            database: db(),
            spec: RetentionPolicySpec { name: Some("autogen".into()), replication: Some(3), ..spec },
            default: false,
        },
        Command::SetPassword { name: user(), password_hash: "other".into() },
        Command::SetAdmin { user: user(), admin: true },
        Command::DropShardGroups { ids: vec![1] },
        Command::DropMeasurement { database: db(), name: "m".into() },
        extend("m", &["again"], &["v"]),
        Command::DropEmptyTable { table: TableId(2) },
        Command::DeletePoints { scopes: Vec::new() },
        Command::SetContinuousQueryRun { database: db(), name: "cq".into(), at: 7 },
        Command::DropContinuousQuery { database: db(), name: "cq".into() },
        Command::Backfill { database: db(), name: "view".into(), is_view: true, from: 1, to: 2 },
        Command::DropSubscription { database: db(), retention_policy: "week".into(), name: "sub".into() },
        Command::DropMaterializedView { database: db(), name: "view".into() },
        Command::DropRetentionPolicy { database: db(), name: "week".into() },
        Command::DropDatabase { name: db() },
        Command::DropUser { name: user() },
    ]
}

#[test]
fn every_step_survives_reopening() {
    let dir = TempDir::new().unwrap();
    for (applied, command) in (1..).zip(commands()) {
        let catalog = open(&dir);
        apply(&catalog, &command);
        let after = catalog.catalog();
        drop(catalog);
        let again = open(&dir);
        assert_eq!((again.catalog(), again.applied()), (after, applied), "{command:?}");
    }
    assert_eq!(open(&dir).catalog().databases.keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn a_new_field_rewrites_one_row() {
    let dir = TempDir::new().unwrap();
    let catalog = open(&dir);
    apply(&catalog, &create_database("db"));
    for number in 0..10 {
        apply(&catalog, &extend(&format!("m{number}"), &["host"], &["v"]));
    }
    let rows_written = |command: &Command| {
        let before = catalog.db.raw().latest_sequence_number();
        apply(&catalog, command);
        catalog.db.raw().latest_sequence_number() - before
    };
    // The table, and the counters with the sequence.
    assert_eq!(rows_written(&extend("m3", &[], &["w"])), 2);
    assert_eq!(rows_written(&extend("m3", &["host"], &["w", "v"])), 1);
    assert_eq!(rows_written(&extend("new", &[], &["w"])), 2);
}

#[test]
fn damage_is_named() {
    let dir = TempDir::new().unwrap();
    {
        let catalog = open(&dir);
        apply(&catalog, &create_database("db"));
        apply(&catalog, &extend("m", &[], &["v"]));
    }
    type Case<'a> = (&'a [u8], Option<&'a [u8]>, &'a str);
    let cases: [Case; 4] = [
        (b"d\0\0\0\x02db", Some(b"\x09"), "version 9 is unknown"),
        (b"d\0\0\0\x02db", Some(b""), "empty value"),
        (b"d\0\0\0\x02db", None, "in database \"db\", which is missing"),
        (b"x", Some(b""), "unknown kind of row"),
    ];
    for (key, value, expected) in cases {
        let db = open_database(&StorageOptions::in_directory(dir.path()), Database::open).unwrap();
        let family = db.family(CATALOG).unwrap();
        let before = db.raw().get_cf(family, key).unwrap();
        match value {
            Some(value) => db.raw().put_cf(family, key, value).unwrap(),
            None => db.raw().delete_cf(family, key).unwrap(),
        }
        let Err(error) = RocksCatalog::load(db.clone()) else { panic!("loaded: {expected}") };
        assert!(matches!(error, StorageError::Corrupt { .. }));
        assert!(error.to_string().contains(expected), "{error}");
        match before {
            Some(before) => db.raw().put_cf(family, key, before).unwrap(),
            None => db.raw().delete_cf(family, key).unwrap(),
        }
    }
    assert!(open(&dir).catalog().table("db", "", "m").is_some());
}

/// Rows carry no names of their fields: a changed type must come with a new version.
#[test]
fn the_stored_form_does_not_change() {
    let dir = TempDir::new().unwrap();
    let catalog = open(&dir);
    let undone = |command: &Command| matches!(command, Command::DropContinuousQuery { .. });
    for command in commands().iter().take_while(|command| !undone(command)) {
        apply(&catalog, command);
    }
    let mut rows = Vec::new();
    let family = catalog.db.family(CATALOG).unwrap();
    catalog
        .db
        .walk(family, &[], &[u8::MAX], |key, value| {
            rows.push(format!("{} = {}", key.escape_ascii(), value.escape_ascii()));
            Ok(true)
        })
        .unwrap();
    assert_eq!(rows.join("\n"), include_str!("stored_form.txt").trim_end());
}
