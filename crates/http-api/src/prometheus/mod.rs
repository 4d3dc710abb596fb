//! Prometheus remote write and read, as InfluxDB 1.x maps them: a sample is a point of the measurement that `__name__`
//! names, its labels are tags (`__name__` too), its value is the field `value`.

mod messages;
mod read;
mod write;

use bytes::Bytes;
use prost::Message;

use crate::admission::BodyShare;
use crate::error::ApiError;
use crate::options::HttpOptions;

pub use messages::{ReadRequest as ReadMessage, WriteRequest as WriteMessage};
pub use read::{read, statement};
pub use write::{print, write};

const NAME_LABEL: &str = "__name__";
const FIELD: &str = "value";

/// The message of a body: protobuf within snappy's block format. What it unpacks to is counted in `share`.
pub fn decode<M: Message + Default>(
    body: &Bytes,
    share: &mut BodyShare,
    options: &HttpOptions,
) -> Result<M, ApiError> {
    let corrupt = || ApiError::bad_request("snappy: corrupt input");
    let length = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if length > options.max_inflated_body_bytes {
        return Err(crate::body::inflates_too_much(options));
    }
    share.grow_to(body.len() + length)?;
    let unpacked = snap::raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())?;
    M::decode(unpacked.as_slice()).map_err(|error| ApiError::bad_request(format!("proto: {error}")))
}

#[cfg(test)]
mod tests {
    use crate::admission::BodyBudget;

    use super::*;

    #[test]
    fn bodies_are_bounded_before_they_are_unpacked() {
        let options = HttpOptions { max_inflated_body_bytes: 1000, ..HttpOptions::default() };
        let mut share = BodyBudget::new(1 << 20).share();
        let mut decode = |body: &[u8]| {
            decode::<messages::WriteRequest>(&Bytes::copy_from_slice(body), &mut share, &options).map(drop)
        };
        let packed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        assert!(decode(&packed(b"")).is_ok());
        assert_eq!(decode(b"").unwrap_err().text, "snappy: corrupt input");
        assert_eq!(decode(b"\xff\xff\xff\xff\xff\xff").unwrap_err().text, "snappy: corrupt input");
        assert_eq!(decode(&packed(&[0; 1001])).unwrap_err().status, 413);
        assert!(decode(&packed(&[7; 20])).unwrap_err().text.starts_with("proto: "));
    }
}
