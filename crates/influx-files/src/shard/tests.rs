use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Points;
use crate::fixtures::{integer_points, tsm, wal_delete, wal_record, wal_write, write};

const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

fn read(folder: &Path, range: RangeInclusive<i64>) -> Result<BTreeMap<String, Vec<(i64, i64)>>, Error> {
    let shard = Shard::open(&folder.join("data"), Some(&folder.join("wal")))?;
    let mut found = BTreeMap::new();
    let mut reader = shard.series(range)?;
    while let Some(series) = reader.advance()? {
        for mut column in series.columns {
            let name = format!(
                "{} {}",
                String::from_utf8_lossy(&series.key),
                String::from_utf8_lossy(column.field())
            );
            let mut points = Points::default();
            let mut all = Vec::new();
            while column.read(&mut points)? {
                let crate::Values::Integer(values) = &points.values else { panic!("{:?}", points.values) };
                all.extend(points.times.iter().copied().zip(values.iter().copied()));
            }
            if !all.is_empty() {
                found.insert(name, all);
            }
        }
    }
    Ok(found)
}

fn tombstones(entries: &[(&str, i64, i64)]) -> Vec<u8> {
    let mut out = 0x1502u32.to_be_bytes().to_vec();
    for (key, min, max) in entries {
        out.extend((key.len() as u32).to_be_bytes());
        out.extend(key.as_bytes());
        out.extend(min.to_be_bytes());
        out.extend(max.to_be_bytes());
    }
    out
}

/// Two files, of which the first has deletes, and a WAL.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = tsm(&[
        ("a#!~#v", vec![integer_points(&[(1, 1), (2, 1), (3, 1)]), integer_points(&[(4, 1), (5, 1)])]),
        ("a#!~#w", vec![integer_points(&[(1, 1)])]),
        ("b#!~#v", vec![integer_points(&[(1, 1), (9, 1)])]),
    ]);
    write(&data, "000000001-000000001.tsm", &first);
    let gone = tombstones(&[("a#!~#v", 2, 2), ("a#!~#w", i64::MIN, i64::MAX), ("b#!~#v", 0, 5)]);
    write(&data, "000000001-000000001.tombstone", &gone);
    let second = tsm(&[
        ("a#!~#v", vec![integer_points(&[(2, 2), (3, 2), (7, 2)])]),
        ("c#!~#v", vec![integer_points(&[(1, 2)])]),
    ]);
    write(&data, "000000002-000000001.tsm", &second);
    let segment = [
        wal_write("a#!~#v", &[(7, 3), (6, 3), (6, 4), (8, 3)]),
        wal_write("d#!~#v", &[(1, 3), (2, 3)]),
        wal_delete("a#!~#v", 8, 9),
        wal_record(2, b"d#!~#v"),
        wal_write("d#!~#v", &[(2, 4)]),
    ];
    write(&folder.path().join("wal"), "_00001.wal", &segment.concat());
    folder
}

#[test]
fn later_files_win_and_deletes_hold() {
    let folder = folder();
    let expected = BTreeMap::from([
        ("a v".to_owned(), vec![(1, 1), (2, 2), (3, 2), (4, 1), (5, 1), (6, 4), (7, 3)]),
        ("b v".to_owned(), vec![(9, 1)]),
        ("c v".to_owned(), vec![(1, 2)]),
        ("d v".to_owned(), vec![(2, 4)]),
    ]);
    assert_eq!(read(folder.path(), ALL).unwrap(), expected);
    let part = BTreeMap::from([("a v".to_owned(), vec![(3, 2), (4, 1), (5, 1), (6, 4)])]);
    assert_eq!(read(folder.path(), 3..=6).unwrap(), part);
}

fn types(folder: &Path, range: RangeInclusive<i64>) -> Vec<(String, ValueType)> {
    let shard = Shard::open(&folder.join("data"), Some(&folder.join("wal"))).unwrap();
    let mut found = Vec::new();
    let visit = |key: &[u8], found_type| found.push((String::from_utf8_lossy(key).into_owned(), found_type));
    shard.each_type(&range, visit).unwrap();
    found.sort_by_key(|(key, found_type)| (key.clone(), format!("{found_type:?}")));
    found.dedup();
    found
}

#[test]
fn types_are_those_of_points_that_are_left() {
    let folder = folder();
    let of =
        |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), ValueType::Integer)).collect::<Vec<_>>();
    assert_eq!(types(folder.path(), ALL), of(&["a#!~#v", "b#!~#v", "c#!~#v", "d#!~#v"]));
    assert_eq!(types(folder.path(), 8..=9), of(&["b#!~#v"]));

    let booleans = Points { times: vec![1, 5], values: crate::Values::Boolean(vec![true, false]) };
    let floats = Points { times: vec![1], values: crate::Values::Float(vec![0.5]) };
    let file = tsm(&[("a#!~#v", vec![booleans]), ("b#!~#v", vec![floats])]);
    let data = folder.path().join("data");
    write(&data, "000000003-000000001.tsm", &file);
    let both = types(folder.path(), 1..=1);
    assert!(both.contains(&("a#!~#v".to_owned(), ValueType::Boolean)), "{both:?}");
    assert!(both.contains(&("b#!~#v".to_owned(), ValueType::Float)), "{both:?}");
    write(&data, "000000003-000000001.tombstone", &tombstones(&[("a#!~#v", 1, 5)]));
    let left = types(folder.path(), 1..=1);
    assert!(!left.contains(&("a#!~#v".to_owned(), ValueType::Boolean)), "{left:?}");
}

#[test]
fn an_unfinished_record_is_left_out() {
    let folder = folder();
    let path = folder.path().join("wal/_00002.wal");
    let record = wal_write("e#!~#v", &[(1, 1)]);
    std::fs::write(&path, &record[..record.len() - 1]).unwrap();
    let shard = Shard::open(&folder.path().join("data"), Some(&folder.path().join("wal"))).unwrap();
    assert_eq!(shard.unfinished_bytes(), record.len() as u64 - 1);
}

#[test]
fn overlapping_blocks_of_a_file_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = vec![
        integer_points(&[(1, 1), (5, 1)]),
        integer_points(&[(2, 2), (5, 2), (8, 2)]),
        integer_points(&[(9, 3)]),
    ];
    write(&folder.path().join("data"), "1.tsm", &tsm(&[("a#!~#v", blocks)]));
    let expected = vec![(1, 1), (2, 2), (5, 2), (8, 2), (9, 3)];
    assert_eq!(read(folder.path(), ALL).unwrap()["a v"], expected);
}

/// Writes files of random points, oldest first, and says what must come of them.
fn merged(files: &[BTreeMap<i64, i64>], folder: &Path) -> BTreeMap<i64, i64> {
    let mut expected = BTreeMap::new();
    for (number, points) in files.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
        let all: Vec<(i64, i64)> = points.iter().map(|(time, value)| (*time, *value)).collect();
        let blocks = all.chunks(5).map(integer_points).collect();
        write(&folder.join("data"), &format!("{number:09}-1.tsm"), &tsm(&[("a#!~#v", blocks)]));
        expected.extend(points);
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_are_merged(files in prop::collection::vec(prop::collection::btree_map(0..60i64, any::<i64>(), 0..40), 1..5)) {
        let folder = tempfile::tempdir().unwrap();
        let expected = merged(&files, folder.path());
        let found = read(folder.path(), ALL).unwrap().remove("a v").unwrap_or_default();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    /// An altered or cut file is an error that names it, or its change is harmless; never a panic, never other points.
    #[test]
    fn altered_files_are_refused(which in 0..4usize, at: prop::sample::Index, bit in 0..8u8, cut: bool) {
        let folder = folder();
        let expected = read(folder.path(), ALL).unwrap();
        let name = ["data/000000001-000000001.tsm", "data/000000002-000000001.tsm", "data/000000001-000000001.tombstone", "wal/_00001.wal"][which];
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, bytes).unwrap();
        match read(folder.path(), ALL) {
            Err(error) => prop_assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap())),
            // Neither an index, nor tombstones, nor the WAL have checksums of their own; blocks do.
            Ok(found) => for points in found.values() {
                prop_assert!(points.len() <= expected.values().map(Vec::len).sum());
            },
        }
    }
}
