use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::{FieldDef, Privilege, RetentionPolicySpec};
use tempfile::TempDir;

use super::*;

fn open(dir: &TempDir) -> RocksMetadata {
    RocksMetadata::load(open_database(&StorageOptions::in_directory(dir.path())).unwrap()).unwrap()
}

fn extend(measurement: &str, tags: &[&str], fields: &[&str]) -> Command {
    Command::ExtendTable {
        database: "db".into(),
        retention_policy: String::new(),
        measurement: measurement.into(),
        tags: tags.iter().map(|tag| tag.to_string()).collect(),
        fields: fields
            .iter()
            .map(|name| FieldDef { name: name.to_string(), field_type: FieldType::Float })
            .collect(),
    }
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
        Command::EnsureShardGroups { database: db(), retention_policy: "week".into(), times: vec![0, -1] },
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
        Command::DropShard { id: 1 },
        Command::DropMeasurement { database: db(), name: "m".into() },
        extend("m", &["again"], &["v"]),
        Command::DropTable { database: db(), retention_policy: "week".into(), measurement: "m\0 ,=".into() },
        Command::DeletePoints { database: db(), scopes: Vec::new() },
        Command::DropContinuousQuery { database: db(), name: "cq".into() },
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
    for command in commands() {
        let metadata = open(&dir);
        metadata.apply(&command).unwrap();
        let after = metadata.catalog();
        drop(metadata);
        assert_eq!(open(&dir).catalog(), after, "{command:?}");
    }
    assert_eq!(open(&dir).catalog().databases.keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn a_refused_command_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let metadata = open(&dir);
    metadata.apply(&create_database("db")).unwrap();
    let before = metadata.catalog();
    let error = metadata.apply(&Command::DropUser { name: "nobody".into() }).unwrap_err();
    assert!(matches!(error, MetadataError::Refused(_)), "{error}");
    assert!(Arc::ptr_eq(&before, &metadata.catalog()));
}

#[test]
fn a_new_field_rewrites_one_row() {
    let dir = TempDir::new().unwrap();
    let metadata = open(&dir);
    metadata.apply(&create_database("db")).unwrap();
    for number in 0..10 {
        metadata.apply(&extend(&format!("m{number}"), &["host"], &["v"])).unwrap();
    }
    let rows_written = |command: &Command| {
        let before = metadata.db.raw().latest_sequence_number();
        metadata.apply(command).unwrap();
        metadata.db.raw().latest_sequence_number() - before
    };
    assert_eq!(rows_written(&extend("m3", &[], &["w"])), 1);
    assert_eq!(rows_written(&extend("m3", &["host"], &["w", "v"])), 0);
    // The new table and the counter.
    assert_eq!(rows_written(&extend("new", &[], &["w"])), 2);
}

#[test]
fn dirty_partitions_are_kept() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (TableId(1), TableId(2));
    {
        let metadata = open(&dir);
        metadata.mark_dirty(one, &[3, -3, 0]).unwrap();
        metadata.mark_dirty(two, &[i64::MAX, i64::MIN]).unwrap();
        metadata.mark_dirty(one, &[0]).unwrap();
        metadata.clear_dirty(one, &[3, 99]).unwrap();
        metadata.clear_dirty(TableId(7), &[3]).unwrap();
        metadata.sync().unwrap();
    }
    let metadata = open(&dir);
    assert_eq!(metadata.dirty_partitions(one).unwrap(), [-3, 0]);
    assert_eq!(metadata.dirty_partitions(two).unwrap(), [i64::MIN, i64::MAX]);
    assert_eq!(metadata.dirty_partitions(TableId(3)).unwrap(), [] as [i64; 0]);
}

#[test]
fn a_dropped_table_is_not_dirty() {
    let dir = TempDir::new().unwrap();
    let metadata = open(&dir);
    metadata.apply(&create_database("db")).unwrap();
    let table = metadata.apply(&extend("m", &[], &["v"])).unwrap().table.unwrap();
    metadata.mark_dirty(table.id, &[i64::MIN, 1, i64::MAX]).unwrap();
    metadata.apply(&Command::DropMeasurement { database: "db".into(), name: "m".into() }).unwrap();
    assert_eq!(metadata.dirty_partitions(table.id).unwrap(), [] as [i64; 0]);
    drop(metadata);
    assert_eq!(open(&dir).dirty_partitions(table.id).unwrap(), [] as [i64; 0]);
}

#[test]
fn damage_is_named() {
    let dir = TempDir::new().unwrap();
    {
        let metadata = open(&dir);
        metadata.apply(&create_database("db")).unwrap();
        metadata.apply(&extend("m", &[], &["v"])).unwrap();
    }
    type Case<'a> = (&'a [u8], Option<&'a [u8]>, &'a str);
    let cases: [Case; 4] = [
        (b"d\0\0\0\x02db", Some(b"\x09"), "version 9 is unknown"),
        (b"d\0\0\0\x02db", Some(b""), "empty value"),
        (b"d\0\0\0\x02db", None, "in database \"db\", which is missing"),
        (b"x", Some(b""), "unknown kind of row"),
    ];
    for (key, value, expected) in cases {
        let db = open_database(&StorageOptions::in_directory(dir.path())).unwrap();
        let family = db.family(CATALOG).unwrap();
        let before = db.raw().get_cf(family, key).unwrap();
        match value {
            Some(value) => db.raw().put_cf(family, key, value).unwrap(),
            None => db.raw().delete_cf(family, key).unwrap(),
        }
        let Err(error) = RocksMetadata::load(db.clone()) else { panic!("loaded: {expected}") };
        assert!(matches!(error, StorageError::Corrupt { .. }));
        assert!(error.to_string().contains(expected), "{error}");
        match before {
            Some(before) => db.raw().put_cf(family, key, before).unwrap(),
            None => db.raw().delete_cf(family, key).unwrap(),
        }
    }
    assert!(open(&dir).catalog().table("db", "", "m").is_some());
}
