//! Small stored values: a version byte, then postcard.

use hyperbytedb_domain::StorageError;
use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 2;

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StorageError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| StorageError::failed("encode", error))
}

/// `place` names the value in the error.
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    place: impl FnOnce() -> String,
) -> Result<T, StorageError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| StorageError::corrupt(place(), error))
        }
        Some((version, _)) => Err(StorageError::corrupt(
            place(),
            format!("version {version} is unknown; was it written by a newer server?"),
        )),
        None => Err(StorageError::corrupt(place(), "empty value")),
    }
}
