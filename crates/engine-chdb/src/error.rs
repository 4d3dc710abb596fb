//! The library's errors as the engine's exceptions.

use hyperbytedb_engine_common::Exception;

pub(crate) fn exception(error: chdb_rust::error::Error) -> Exception {
    Exception::new(&error.to_string())
}
