use std::collections::BTreeMap;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{FieldType, TimeRange};

use super::*;

fn run(text: &str) -> Result<String, Refused> {
    let parameters = BTreeMap::from([("p".to_owned(), "it's".to_owned())]);
    let statement = RawStatement::parse(text)?;
    Ok(RawSelect::new(statement, Vec::new(), &parameters)?.to_string().trim_end().to_owned())
}

#[test]
fn statements_are_printed_from_their_tokens() {
    for (text, expected) in [
        ("select 1;", "select 1"),
        ("SELECT -- x\n 1 /* ; */ + 0xFF;;", "SELECT 1 + 0xFF"),
        (r"SELECT 'a\'b''c\d' , `x``y`, \u", "Character('\\\\')"),
        (r"SELECT 'a\'b''c\d' , `x``y`", r"SELECT 'a\'b\'c\\d' , `x\`y`"),
        ("SELECT a.b, \"c d\" FROM m", "SELECT a . b , `c d` FROM m"),
        ("SELECT {p:Nullable(String)}", r"SELECT CAST ( 'it\'s' , 'Nullable ( String ) ' )"),
        (r"SELECT '\x41\n\x00\xé\x+1'", r"SELECT 'A\x0A\x00\\xé\\x+1'"),
        ("SELECT {q:String}", "Unbound(\"q\")"),
        ("SELECT {p:Identifier}", "Parameter"),
        ("SELECT 1.5e-3, 2E5, 1e, 2", "Number(\"1e, 2\")"),
        ("SELECT 1.5e-3, 2E5, t.1", "SELECT 1.5e-3 , 2e5 , t . 1"),
        (
            "SELECT quantileIf(0.5)(a, b), sumOrNullIf(a, b) FROM m",
            "SELECT quantileIf ( 0.5 ) ( a , b ) , sumOrNullIf ( a , b ) FROM m",
        ),
        ("SELECT 1) UNION ALL (SELECT 2", "Character(')')"),
        ("SELECT (1", "Unclosed(\"(\")"),
        ("SELECT 'a", "Unclosed(\"'\")"),
        ("SELECT 1 FORMAT JSON", "SELECT 1"),
        ("SELECT 1 FORMAT JSON INTO OUTFILE 'x'", "Format"),
        ("", "Empty"),
        ("DROP TABLE x", "NoSelect"),
    ] {
        let printed = run(text).unwrap_or_else(|refused| format!("{refused:?}"));
        assert_eq!(printed, expected, "{text}");
    }
    assert_eq!(RawStatement::parse("SELECT 1 format Csv").unwrap().format.as_deref(), Some("Csv"));
}

#[test]
fn measurements_are_tables_of_their_own_names() {
    let field = |name: &str, field_type| FieldDef { name: name.into(), field_type };
    let table = Table {
        id: TableId(7),
        tags: vec!["host".into(), "v".into()],
        fields: vec![field("v", FieldType::Float), field("time", FieldType::String)],
        ..Table::default()
    };
    let range = TimeRange { min: 5, max: i64::MAX };
    let rows = RowSelection { shards: Some(Arc::new([3])), ..RowSelection::of_time(range) };
    let tables = || vec![("m`".to_owned(), view(&table, crate::schema::table_name(table.id), &rows))];
    let print = |text: &str| {
        let statement = RawStatement::parse(text).unwrap();
        RawSelect::new(statement, tables(), &BTreeMap::new()).unwrap().to_string()
    };
    let with = r"WITH `m\`` AS (SELECT fromUnixTimestamp64Nano(`time`, 'UTC') AS `time`, `t0` AS `host`, `t1` AS `v_1`, CAST(`f0`, 'Nullable(Float64)') AS `v`, CAST(`f1`, 'Nullable(String)') AS `time_1` FROM (SELECT `time`, `t0`, `t1`, `f0`, `f1` FROM `hyperbyte`.`m7` FINAL WHERE (`shard` IN (3)) AND (`time` >= 5)))";
    assert_eq!(print("SELECT 1"), format!("{with} SELECT 1 "));
    assert_eq!(print("WITH x AS (SELECT 1) SELECT 1"), format!("{with}, x AS ( SELECT 1 ) SELECT 1 "));
    let recursive = with.replacen("WITH", "WITH RECURSIVE", 1);
    assert_eq!(
        print("with recursive x AS (SELECT 1) SELECT 1"),
        format!("{recursive}, x AS ( SELECT 1 ) SELECT 1 ")
    );
}
