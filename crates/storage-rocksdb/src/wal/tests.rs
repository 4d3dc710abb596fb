use std::time::{Duration, Instant};

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::wal::WriteEntry;
use tempfile::TempDir;

use super::*;

fn record(number: u64) -> WalRecord {
    let body = format!("cpu v={number}\n").into_bytes();
    let entry = WalEntry::Write(WriteEntry {
        database: "db".into(),
        retention_policy: String::new(),
        precision: Precision::Nanosecond,
        default_time: number as i64,
        tables: Vec::new(),
        shards: Vec::new(),
        form: Default::default(),
        body: body.into(),
    });
    WalRecord { origin: 1, clock: number, entry }
}

/// Appends records as the committer does.
fn append(wal: &RocksWal, records: &[WalRecord]) -> Sequence {
    let encoded = records.iter().map(|record| NewRecord {
        origin: record.origin,
        clock: record.clock,
        entry: wal.encode(&record.entry).unwrap(),
        is_foreign: false,
    });
    wal.append(encoded.collect(), false).unwrap()
}

fn options(dir: &TempDir) -> StorageOptions {
    StorageOptions { wal_write_buffer_bytes: 1 << 20, ..StorageOptions::in_directory(dir.path()) }
}

fn sequences(records: &[(Sequence, WalRecord)]) -> Vec<Sequence> {
    records
        .iter()
        .map(|(sequence, record)| {
            assert_eq!(record.clock, *sequence);
            *sequence
        })
        .collect()
}

#[test]
fn appended_records_are_read_in_order() {
    let dir = TempDir::new().unwrap();
    let wal = RocksWal::open(&options(&dir)).unwrap();
    assert_eq!((wal.last_sequence(), wal.size_bytes()), (0, 0));
    assert_eq!(wal.read_from(0, usize::MAX).unwrap(), []);
    assert_eq!(append(&wal, &[record(1), record(2)]), 1);
    assert_eq!(append(&wal, &[record(3)]), 3);
    assert_eq!(append(&wal, &[]), 4);
    assert_eq!(wal.last_sequence(), 3);
    assert_eq!(sequences(&wal.read_from(0, usize::MAX).unwrap()), [1, 2, 3]);
    assert_eq!(sequences(&wal.read_from(2, usize::MAX).unwrap()), [2, 3]);
    assert_eq!(sequences(&wal.read_from(2, 1).unwrap()), [2]);
    assert_eq!(sequences(&wal.read_from(4, usize::MAX).unwrap()), [] as [u64; 0]);
}

#[test]
fn truncation_and_size_survive_reopening() {
    let dir = TempDir::new().unwrap();
    let mut size = 0;
    {
        let wal = RocksWal::open(&options(&dir)).unwrap();
        for number in 1..=100 {
            append(&wal, &[record(number)]);
        }
        let full = wal.size_bytes();
        wal.truncate_before(41).unwrap();
        wal.truncate_before(11).unwrap();
        size += wal.size_bytes();
        assert!(size * 10 > full * 5 && size * 10 < full * 7, "{size} of {full}");
    }
    {
        let wal = RocksWal::open(&options(&dir)).unwrap();
        assert_eq!((wal.last_sequence(), wal.size_bytes()), (100, size));
        assert_eq!(sequences(&wal.read_from(1, usize::MAX).unwrap()), (41..=100).collect::<Vec<_>>());
        wal.truncate_before(u64::MAX).unwrap();
        assert_eq!((wal.last_sequence(), wal.size_bytes()), (100, 0));
        assert_eq!(wal.read_from(1, usize::MAX).unwrap(), []);
    }
    let wal = RocksWal::open(&options(&dir)).unwrap();
    assert_eq!((wal.last_sequence(), wal.size_bytes(), wal.last_clock()), (100, 0, 100));
    assert_eq!(append(&wal, &[record(101)]), 101);
    assert_eq!(sequences(&wal.read_from(1, usize::MAX).unwrap()), [101]);
}

#[test]
fn commands_keep_their_place_among_writes() {
    let dir = TempDir::new().unwrap();
    let wal = RocksWal::open(&options(&dir)).unwrap();
    let drop = WalRecord {
        entry: WalEntry::Command(Command::DropMeasurement { database: "db".into(), name: "m".into() }),
        ..record(2)
    };
    let records = [record(1), drop, record(3)];
    append(&wal, &records);
    let read: Vec<WalRecord> = wal.read_from(1, usize::MAX).unwrap().into_iter().map(|(_, r)| r).collect();
    assert_eq!(read, records);
}

#[test]
fn a_damaged_record_is_named() {
    let dir = TempDir::new().unwrap();
    let wal = RocksWal::open(&options(&dir)).unwrap();
    append(&wal, &[record(1), record(2), record(3)]);
    let mut value = wal.db.raw().get(2u64.to_be_bytes()).unwrap().unwrap();
    value[30] ^= 1;
    wal.db.raw().put(2u64.to_be_bytes(), &value).unwrap();
    let error = wal.read_from(1, usize::MAX).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }));
    assert!(error.to_string().contains("sequence 2: the checksum does not match"), "{error}");
    wal.db.raw().delete(2u64.to_be_bytes()).unwrap();
    let error = wal.read_from(1, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("sequence 2: missing"), "{error}");
}

#[test]
fn a_directory_is_opened_once() {
    let dir = TempDir::new().unwrap();
    let _wal = RocksWal::open(&options(&dir)).unwrap();
    let Err(error) = RocksWal::open(&options(&dir)) else { panic!("opened twice") };
    assert!(error.to_string().contains("in use by another server"), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let options = StorageOptions { wal_dir: dir.path().join("file/wal"), ..options(&dir) };
    let Err(error) = RocksWal::open(&options) else { panic!("opened") };
    assert!(error.to_string().contains("file/wal"), "{error}");
}

#[test]
fn concurrent_appends_get_sequences_of_their_own() {
    let dir = TempDir::new().unwrap();
    let options = StorageOptions { wal_sync: WalSync::Interval(Duration::from_millis(1)), ..options(&dir) };
    let wal = RocksWal::open(&options).unwrap();
    let mut firsts: Vec<Sequence> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..50).map(|_| append(&wal, &[record(0), record(0)])).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    firsts.sort_unstable();
    assert_eq!(firsts, (0..200).map(|i| 1 + 2 * i).collect::<Vec<_>>());
}

/// Files are deleted as a whole: one whose last record is the first that is kept must stay.
#[test]
fn the_first_record_that_is_kept_is_kept_wherever_its_file_ends() {
    let dir = TempDir::new().unwrap();
    let wal = RocksWal::open(&options(&dir)).unwrap();
    append(&wal, &(1..=10).map(record).collect::<Vec<_>>());
    // All ten are in one file, and that is not a new one.
    wal.db.release(&[RECORDS, STATE]).unwrap();
    wal.truncate_before(10).unwrap();
    let kept: Vec<Sequence> =
        wal.read_from(1, usize::MAX).unwrap().into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(kept, [10]);
}

/// Forgotten records must not pile up on disk, whether they were written to tables before or not.
#[test]
fn space_stays_bounded() {
    let dir = TempDir::new().unwrap();
    let options = StorageOptions { wal_sync: WalSync::Off, ..options(&dir) };
    let wal = RocksWal::open(&options).unwrap();
    let mut noise = 1u64;
    let mut body = || -> Vec<u8> {
        let step = |_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        };
        (0..64 << 10).map(step).collect()
    };
    for round in 0..1024u64 {
        let mut record = record(round + 1);
        let WalEntry::Write(write) = &mut record.entry else { unreachable!() };
        write.body = body().into();
        append(&wal, &[record]);
        if round % 32 == 31 {
            wal.truncate_before(round - 31).unwrap();
            // At most 5 MiB are kept at a time; the store removes files in the background.
            let deadline = Instant::now() + Duration::from_secs(30);
            while disk_bytes(&options.wal_dir) >= 24 << 20 {
                assert!(Instant::now() < deadline, "{} bytes on disk", disk_bytes(&options.wal_dir));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert_eq!(wal.read_from(1, usize::MAX).unwrap().len(), 33);
    wal.truncate_before(Sequence::MAX).unwrap();
    assert!(
        disk_bytes(&options.wal_dir) < 1 << 20,
        "an empty log keeps {} bytes",
        disk_bytes(&options.wal_dir)
    );
    append(&wal, &[record(1025)]);
    assert_eq!(wal.read_from(1, usize::MAX).unwrap().len(), 1);
}

fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|m| m.blocks() * 512)
        .sum()
}
