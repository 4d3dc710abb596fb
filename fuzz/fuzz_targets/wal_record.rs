//! Any bytes, with and without a valid checksum: they are a record or they are not; a record that is read can be
//! stored and read again.

#![no_main]

use hyperbytedb_storage_rocksdb::{decode_record, encode_record};
use libfuzzer_sys::fuzz_target;

/// The checksum covers everything but itself.
const CHECKSUM: std::ops::Range<usize> = 2..6;

fuzz_target!(|data: &[u8]| {
    check(data);
    let mut sealed = data.to_vec();
    if sealed.len() >= CHECKSUM.end {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&sealed[..CHECKSUM.start]);
        hasher.update(&sealed[CHECKSUM.end..]);
        sealed[CHECKSUM].copy_from_slice(&hasher.finalize().to_le_bytes());
        check(&sealed);
    }
});

fn check(bytes: &[u8]) {
    let Ok(record) = decode_record(bytes) else { return };
    let stored = encode_record(&record).expect("what was read can be stored");
    let again = decode_record(&stored).expect("what was stored can be read");
    // Not `==` on the records: a stored NaN is not equal to itself.
    assert_eq!(encode_record(&again).ok(), Some(stored));
}
