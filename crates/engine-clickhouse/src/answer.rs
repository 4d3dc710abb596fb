//! Arrow batches out of an answer that may break off.
//!
//! A failure after the first byte comes as `200 OK`, some batches, `__exception__` with a text, and no last chunk. So an
//! answer counts only when its transport and its Arrow stream have both ended as they should.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use hyperbytedb_engine_common::Exception;

use crate::failure::Failure;

/// Bytes at the end of an answer that are looked at for what went wrong.
const TAIL_BYTES: usize = 16 << 10;

const EXCEPTION_MARK: &str = "__exception__";
const CODE: &str = "Code: ";

#[derive(Default)]
pub(crate) struct Batches {
    decoder: StreamDecoder,
    rest: Buffer,
    /// The last chunks: at least [`TAIL_BYTES`], if so many have come.
    tail: VecDeque<Bytes>,
    tail_bytes: usize,
}

impl Batches {
    /// Takes a chunk of the answer. All batches of the last one must have been taken out.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.rest = Buffer::from(chunk.clone());
        self.tail_bytes += chunk.len();
        self.tail.push_back(chunk);
        while self.tail.front().is_some_and(|first| self.tail_bytes - first.len() >= TAIL_BYTES) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |first| first.len());
        }
    }

    /// The next batch of what has come.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match self.decoder.decode(&mut self.rest) {
            Ok(batch) => Ok(batch),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The answer is over.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        match self.decoder.finish() {
            // Nothing at all is no Arrow stream.
            Ok(()) if self.decoder.schema().is_some() => Ok(()),
            Ok(()) => Err(self.broken(&ArrowError::IpcError("the answer is empty".to_owned()))),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Why an answer ended before its end: what the server wrote last, if it is about that.
    pub(crate) fn broken_off(&self, failure: Failure) -> Failure {
        self.exception().map_or(failure, Failure::Exception)
    }

    fn broken(&self, error: &ArrowError) -> Failure {
        let unreadable = || Failure::Unreachable(format!("its answer broke off: {error}"));
        self.exception().map_or_else(unreadable, Failure::Exception)
    }

    fn exception(&self) -> Option<Exception> {
        let tail: Vec<u8> = self.tail.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        let text = String::from_utf8_lossy(&tail);
        let said = match text.find(EXCEPTION_MARK) {
            Some(at) => &text[at + EXCEPTION_MARK.len()..],
            None => &text[exception_without_mark(&text)?..],
        };
        Some(Exception::new(said)).filter(|exception| exception.code().is_some())
    }
}

/// Where a server that writes no mark says what went wrong. The text may be of the answer's own values, so no less will do.
fn exception_without_mark(text: &str) -> Option<usize> {
    let at = text.rfind(CODE)?;
    let digits = text[at + CODE.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    digits.starts_with(". DB::Exception: ").then_some(at)
}

/// The batches of a whole answer.
pub(crate) fn all_rows(answer: Bytes) -> Result<Vec<RecordBatch>, Failure> {
    let mut batches = Batches::default();
    batches.push(answer);
    let mut rows = Vec::new();
    while let Some(batch) = batches.next()? {
        rows.push(batch);
    }
    batches.finish()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    fn stream(batches: usize) -> Vec<u8> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        for n in 0..batches {
            let numbers = Arc::new(Int64Array::from(vec![n as i64; 100]));
            writer.write(&RecordBatch::try_new(schema.clone(), vec![numbers]).unwrap()).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn read(bytes: &[u8], chunk: usize) -> Result<usize, Failure> {
        let mut batches = Batches::default();
        let mut count = 0;
        for chunk in bytes.chunks(chunk) {
            batches.push(Bytes::copy_from_slice(chunk));
            while batches.next()?.is_some() {
                count += 1;
            }
        }
        batches.finish().map(|()| count)
    }

    #[test]
    fn batches_come_out_however_they_are_cut() {
        let bytes = stream(3);
        for chunk in [1, 7, 64, 1_000, bytes.len()] {
            assert!(matches!(read(&bytes, chunk), Ok(3)), "chunks of {chunk}");
        }
        assert!(matches!(read(&stream(0), 10), Ok(0)));
    }

    #[test]
    fn what_values_say_is_no_exception() {
        let mut broken = stream(3);
        broken.truncate(broken.len() - 100);
        broken.extend_from_slice(b" Code: 394 of 395 ");
        assert!(matches!(read(&broken, 64), Err(Failure::Unreachable(_))));
        broken.extend_from_slice(b"Code: 394. DB::Exception: Query was cancelled.");
        assert!(
            matches!(read(&broken, 64), Err(Failure::Exception(exception)) if exception.code() == Some(394))
        );
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let bytes = stream(3);
        assert!(matches!(read(&[], 1), Err(Failure::Unreachable(_))));
        // Within a message.
        assert!(matches!(read(&bytes[..bytes.len() - 100], 64), Err(Failure::Unreachable(_))));
        let mut failed = bytes[..bytes.len() - 8].to_vec();
        failed.extend_from_slice(
            b"\r\n__exception__\r\nabc\r\nCode: 241. DB::Exception: memory limit\r\n49 abc\r\n__exception__\r\n",
        );
        for chunk in [3, 64, failed.len()] {
            let Err(Failure::Exception(exception)) = read(&failed, chunk) else {
                panic!("chunks of {chunk}")
            };
            assert_eq!(exception.code(), Some(241));
        }
    }
}
