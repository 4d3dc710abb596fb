use tempfile::TempDir;

use super::*;
use crate::catalog::open_database;

const NEW: Result<bool, SeriesRefusal> = Ok(true);
const KNOWN: Result<bool, SeriesRefusal> = Ok(false);

fn options(dir: &TempDir) -> StorageOptions {
    StorageOptions::in_directory(dir.path())
}

fn open(options: &StorageOptions) -> RocksSeriesIndex {
    RocksSeriesIndex::load(open_database(options, Database::open).unwrap(), options).unwrap()
}

fn table(id: u64) -> Table {
    Table {
        id: TableId(id),
        database: "db".into(),
        retention_policy: "autogen".into(),
        measurement: "m".into(),
        version: 0,
        shard_duration: 1,
        tags: Vec::new(),
        fields: Vec::new(),
    }
}

fn tags(text: &str) -> Tags {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    Tags::new(text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect())
}

/// Registers series written as `key=value,…`.
fn register(index: &RocksSeriesIndex, table: &Table, series: &[&str]) -> Vec<Result<bool, SeriesRefusal>> {
    let tags: Vec<Tags> = series.iter().map(|text| tags(text)).collect();
    let series: Vec<(SeriesId, &Tags)> = tags.iter().map(|tags| (tags.series_id(), tags)).collect();
    index.register(table, &series).unwrap()
}

fn keys(tags: &Tags) -> String {
    tags.series_key("m")
}

fn all(index: &RocksSeriesIndex, table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    index
        .for_each_series(table.id, &mut |id, tags| {
            assert_eq!(id, tags.series_id());
            found.push(keys(tags));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn values(index: &RocksSeriesIndex, table: &Table, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    index
        .for_each_tag_value(table.id, key, &mut |value| {
            found.push(value.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn with_tag(index: &RocksSeriesIndex, table: &Table, key: &str, value: &str) -> Vec<String> {
    let mut found = Vec::new();
    index
        .for_each_series_with_tag(table.id, key, value, &mut |id, tags| {
            assert_eq!(id, tags.series_id());
            found.push(keys(tags));
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort_unstable();
    found
}

#[test]
fn series_come_in_influxdbs_order() {
    let dir = TempDir::new().unwrap();
    let index = open(&options(&dir));
    let mixed = [
        "host2=a",
        "host!=x",
        "host=é",
        "host=a=b",
        "host=a-b",
        "host=a,zz=1",
        "host=a b",
        "host=B",
        "",
        "host=a",
        "host=a!,z=1",
        "b=2,host=a",
    ];
    assert!(register(&index, &table(1), &mixed).iter().all(Result::is_ok));
    let expected = [
        "m",
        "m,b=2,host=a",
        "m,host=B",
        "m,host=a",
        "m,host=a,zz=1",
        "m,host=a\\ b",
        "m,host=a!,z=1",
        "m,host=a-b",
        "m,host=a\\=b",
        "m,host=é",
        "m,host!=x",
        "m,host2=a",
    ];
    assert_eq!(all(&index, &table(1)), expected);
    assert_eq!(index.series_count(TableId(1)).unwrap(), 12);
    assert_eq!(index.tag_keys(TableId(1)).unwrap(), ["b", "host", "host!", "host2", "z", "zz"]);
    assert_eq!(values(&index, &table(1), "host"), ["B", "a", "a b", "a!", "a-b", "a=b", "é"]);
    assert_eq!(with_tag(&index, &table(1), "host", "a"), ["m,b=2,host=a", "m,host=a", "m,host=a,zz=1"]);
    assert_eq!(with_tag(&index, &table(1), "host", "nope"), [] as [&str; 0]);
    let up_to = |max| index.series_with_tag(TableId(1), "host", "a", max).unwrap();
    assert_eq!(up_to(3).map(|series| series.len()), Some(3));
    assert_eq!(up_to(2), None);
    assert_eq!(all(&index, &table(2)), [] as [&str; 0]);
}

#[test]
fn visitors_can_stop() {
    let dir = TempDir::new().unwrap();
    let index = open(&options(&dir));
    register(&index, &table(1), &["a=1,t=x", "a=2,t=x", "a=3,t=x"]);
    let mut seen = 0;
    let mut stop = || {
        seen += 1;
        ControlFlow::Break(())
    };
    index.for_each_series(TableId(1), &mut |_, _| stop()).unwrap();
    index.for_each_tag_value(TableId(1), "a", &mut |_| stop()).unwrap();
    index.for_each_series_with_tag(TableId(1), "t", "x", &mut |_, _| stop()).unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn registering_again_changes_nothing_also_after_reopening() {
    let dir = TempDir::new().unwrap();
    for reopened in [false, true] {
        let index = open(&options(&dir));
        for again in [reopened, true] {
            let first = Ok(!again);
            assert_eq!(register(&index, &table(1), &["a=1", "a=1", "a=2"]), [first.clone(), KNOWN, first]);
            assert_eq!(all(&index, &table(1)), ["m,a=1", "m,a=2"]);
            assert_eq!(index.series_count(TableId(1)).unwrap(), 2);
            assert_eq!(values(&index, &table(1), "a"), ["1", "2"]);
        }
    }
}

#[test]
fn two_series_of_one_id_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (tags("a=1"), tags("a=2"));
    let collision = Err(SeriesRefusal::Collision("m,a=2".into()));
    {
        let index = open(&options(&dir));
        let same_call = index.register(&table(1), &[(SeriesId(7), &first), (SeriesId(7), &second)]).unwrap();
        assert_eq!(same_call, [NEW, collision.clone()]);
        let later_call = index.register(&table(1), &[(SeriesId(7), &second)]).unwrap();
        assert_eq!(later_call.first(), Some(&collision));
    }
    let index = open(&options(&dir));
    assert_eq!(index.register(&table(1), &[(SeriesId(7), &second)]).unwrap(), [collision]);
    assert_eq!(index.register(&table(1), &[(SeriesId(7), &first)]).unwrap(), [KNOWN]);
    assert_eq!(index.register(&table(2), &[(SeriesId(7), &second)]).unwrap(), [NEW]);
}

#[test]
fn series_beyond_the_databases_limit_are_refused_together() {
    let dir = TempDir::new().unwrap();
    let options = StorageOptions { max_series_per_database: 3, ..options(&dir) };
    let refused = Err(SeriesRefusal::MaxSeriesPerDatabase { limit: 3 });
    {
        let index = open(&options);
        register(&index, &table(1), &["a=1"]);
        register(&index, &table(2), &["a=1"]);
        let answers = register(&index, &table(1), &["a=1", "a=2", "a=3"]);
        assert_eq!(answers, [KNOWN, refused.clone(), refused.clone()]);
        assert_eq!(register(&index, &table(2), &["a=3"]), [NEW]);
        let elsewhere = Table { database: "other".into(), ..table(3) };
        assert_eq!(register(&index, &elsewhere, &["a=1"]), [NEW]);
    }
    let index = open(&options);
    assert_eq!(register(&index, &table(1), &["a=2"]), [refused]);
    index.remove_series(&table(1), &[tags("a=1").series_id()]).unwrap();
    assert_eq!(register(&index, &table(1), &["a=2"]), [NEW]);
    index.drop_table(TableId(1)).unwrap();
    assert_eq!(register(&index, &table(2), &["a=9"]), [NEW]);
}

#[test]
fn new_values_of_a_full_tag_are_refused() {
    let dir = TempDir::new().unwrap();
    let options = StorageOptions { max_values_per_tag: 2, ..options(&dir) };
    let index = open(&options);
    // The limit is looked at once a call, as InfluxDB does.
    assert_eq!(register(&index, &table(1), &["a=1", "a=2", "a=3"]), [NEW, NEW, NEW]);
    let answers = register(&index, &table(1), &["a=1,b=1", "a=4", "b=2"]);
    let refused = SeriesRefusal::MaxValuesPerTag {
        count: 3,
        limit: 2,
        measurement: "m".into(),
        tag: "a".into(),
        value: "4".into(),
    };
    assert_eq!(
        refused.to_string(),
        r#"max-values-per-tag limit exceeded (3/2): measurement="m" tag="a" value="4""#
    );
    assert_eq!(answers, [NEW, Err(refused), NEW]);
    assert_eq!(register(&index, &table(2), &["a=4"]), [NEW]);
    index.remove_series(&table(1), &["a=2", "a=3"].map(|series| tags(series).series_id())).unwrap();
    assert_eq!(register(&index, &table(1), &["a=4"]), [NEW]);
}

#[test]
fn removed_series_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let index = open(&options(&dir));
    // Several chunks for the common value.
    let series: Vec<String> = (0..40).map(|i| format!("host={i:02},dc=x")).collect();
    for part in series.chunks(15) {
        register(&index, &table(1), &part.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let ids =
        |range: std::ops::Range<usize>| series[range].iter().map(|s| tags(s).series_id()).collect::<Vec<_>>();
    index.remove_series(&table(1), &ids(0..20)).unwrap();
    index.remove_series(&table(1), &ids(0..1)).unwrap();
    let expected: Vec<String> = (20..40).map(|i| format!("m,dc=x,host={i:02}")).collect();
    assert_eq!(all(&index, &table(1)), expected);
    assert_eq!(with_tag(&index, &table(1), "dc", "x"), expected);
    assert_eq!(values(&index, &table(1), "dc"), ["x"]);
    assert_eq!(values(&index, &table(1), "host").len(), 20);
    assert_eq!(index.series_count(TableId(1)).unwrap(), 20);

    assert_eq!(register(&index, &table(1), &["host=00,dc=x"]), [NEW]);
    assert_eq!(with_tag(&index, &table(1), "dc", "x").len(), 21);
    index.remove_series(&table(1), &ids(0..40)).unwrap();
    assert_eq!(all(&index, &table(1)), [] as [&str; 0]);
    assert_eq!(values(&index, &table(1), "dc"), [] as [&str; 0]);
    assert_eq!(index.tag_keys(TableId(1)).unwrap(), [] as [&str; 0]);
    assert_eq!(index.series_count(TableId(1)).unwrap(), 0);
    let (from, to) = keys::table_range(TableId(1));
    index
        .db
        .walk(index.db.family(POSTINGS).unwrap(), &from, &to, |key, _| panic!("{key:?} is left"))
        .unwrap();
}

#[test]
fn a_dropped_table_is_gone_and_its_neighbours_stay() {
    let dir = TempDir::new().unwrap();
    let index = open(&options(&dir));
    for id in 1..=3 {
        register(&index, &table(id), &["a=1", "b=1"]);
    }
    index.drop_table(TableId(2)).unwrap();
    assert_eq!(all(&index, &table(2)), [] as [&str; 0]);
    assert_eq!(index.series_count(TableId(2)).unwrap(), 0);
    let mut catalog = Catalog::default();
    index.retain_tables(&catalog).unwrap();
    for id in 1..=3 {
        assert_eq!(all(&index, &table(id)), [] as [&str; 0]);
    }
    register(&index, &table(1), &["a=1", "b=1"]);
    register(&index, &table(3), &["a=1"]);
    let policy = hyperbytedb_domain::catalog::RetentionPolicy {
        tables: [("m".to_owned(), Arc::new(table(3)))].into(),
        ..Default::default()
    };
    let database = hyperbytedb_domain::catalog::Database {
        retention_policies: [("autogen".to_owned(), Arc::new(policy))].into(),
        ..Default::default()
    };
    catalog.databases.insert("db".into(), Arc::new(database));
    index.retain_tables(&catalog).unwrap();
    assert_eq!(all(&index, &table(1)), [] as [&str; 0]);
    assert_eq!(all(&index, &table(3)), ["m,a=1"]);
}

#[test]
fn values_of_many_chunks_are_listed_once() {
    let dir = TempDir::new().unwrap();
    let index = open(&options(&dir));
    for i in 0..30 {
        register(&index, &table(1), &[&format!("t=x,i={i:02}"), &format!("t=x\0,i={i:02}")]);
    }
    assert_eq!(values(&index, &table(1), "t"), ["x", "x\0"]);
    assert_eq!(with_tag(&index, &table(1), "t", "x").len(), 30);
}

#[test]
fn what_is_registered_is_unsettled_until_it_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir);
    let index = open(&options);
    let ids = |texts: &[&str]| {
        let mut ids: Vec<SeriesId> = texts.iter().map(|text| tags(text).series_id()).collect();
        ids.sort_unstable();
        ids
    };
    register(&index, &table(1), &["h=a", "h=b"]);
    register(&index, &table(1), &["h=b", "h=c"]);
    register(&index, &table(2), &["h=a"]);
    let logged = tags("h=d");
    index.restore(&table(1), &[(logged.series_id(), &logged)]).unwrap();
    drop(index);
    let index = open(&options);
    let unsettled = |index: &RocksSeriesIndex| {
        let mut unsettled = index.unsettled().unwrap();
        unsettled.sort_unstable();
        unsettled
    };
    let mut expected =
        vec![(TableId(1), ids(&["h=a", "h=b"])), (TableId(1), ids(&["h=c"])), (TableId(2), ids(&["h=a"]))];
    expected.sort_unstable();
    assert_eq!(unsettled(&index), expected);
    index.settle(TableId(1), &ids(&["h=b", "h=a"])).unwrap();
    index.drop_table(TableId(2)).unwrap();
    assert_eq!(unsettled(&index), [(TableId(1), ids(&["h=c"]))]);
}
