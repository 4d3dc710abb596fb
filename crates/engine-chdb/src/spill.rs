//! Answers that wait for their readers, on disk.
//!
//! A connection that is needed elsewhere must not wait for a reader: the rest of its answer goes to a file without a
//! name, and the connection back to the pool. The reader goes on with the file. What all such files hold is bounded.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use hyperbytedb_domain::{limits, settings};

/// Where answers are spilled, and how much of them.
pub(crate) struct SpillArea {
    directory: PathBuf,
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl SpillArea {
    pub(crate) fn new(directory: PathBuf, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { directory, max_bytes, used_bytes: AtomicU64::new(0) })
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// Bytes of the area that a file takes.
struct Share {
    area: Arc<SpillArea>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes += bytes;
        let used = self.area.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.area.max_bytes {
            limits::exceeded(settings::CHDB_MAX_SPILL_BYTES);
            let message = format!(
                "answers that wait for slow readers take more than {} bytes ({})",
                self.area.max_bytes,
                settings::CHDB_MAX_SPILL_BYTES
            );
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.area.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A file that counts against the area.
struct SharedFile {
    file: File,
    share: Share,
}

impl Write for SharedFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.share.grow(written as u64)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Batches of one answer on their way to disk.
pub(crate) struct SpillWriter(StreamWriter<BufWriter<SharedFile>>);

impl SpillWriter {
    /// Begins with the batch that could not be handed over.
    pub(crate) fn start(area: &Arc<SpillArea>, first: &RecordBatch) -> Result<Self, ArrowError> {
        let file = tempfile::tempfile_in(&area.directory)?;
        let share = Share { area: Arc::clone(area), bytes: 0 };
        let file = BufWriter::new(SharedFile { file, share });
        let mut writer = StreamWriter::try_new(file, &first.schema())?;
        writer.write(first)?;
        Ok(Self(writer))
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)
    }

    pub(crate) fn finish(mut self) -> Result<SpilledBatches, ArrowError> {
        self.0.finish()?;
        let file = self.0.into_inner()?;
        let SharedFile { mut file, share } = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(SpilledBatches { reader: StreamReader::try_new(BufReader::new(file), None)?, _share: share })
    }
}

/// Batches read back, in order.
pub(crate) struct SpilledBatches {
    reader: StreamReader<BufReader<File>>,
    _share: Share,
}

impl SpilledBatches {
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.reader.next().transpose()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array};
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    /// Each batch with a dictionary of its own, as the engine makes them.
    fn batch(n: i64) -> RecordBatch {
        let tags: DictionaryArray<Int32Type> =
            [format!("a{n}"), format!("b{n}")].iter().map(String::as_str).collect();
        RecordBatch::try_from_iter([
            ("tag", Arc::new(tags) as ArrayRef),
            ("time", Arc::new(Int64Array::from(vec![n, n + 1]))),
        ])
        .unwrap()
    }

    #[test]
    fn batches_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let area = SpillArea::new(directory.path().into(), 1 << 20);
        let mut writer = SpillWriter::start(&area, &batch(0)).unwrap();
        (1..5).for_each(|n| writer.write(&batch(n)).unwrap());
        let mut batches = writer.finish().unwrap();
        for n in 0..5 {
            let read = batches.next_batch().unwrap().unwrap();
            assert_eq!(read.column(1).as_primitive::<Int64Type>().value(0), n);
            let tags = arrow::compute::cast(read.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            assert_eq!(tags.as_string::<i32>().value(1), format!("b{n}"));
        }
        assert!(batches.next_batch().unwrap().is_none());
        assert!(area.used_bytes.load(Ordering::Relaxed) > 0);
        drop(batches);
        assert_eq!(area.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_area_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let area = SpillArea::new(directory.path().into(), 10_000);
        let mut writer = SpillWriter::start(&area, &batch(0)).unwrap();
        let error = (1..1_000).find_map(|n| writer.write(&batch(n)).err()).unwrap();
        assert!(error.to_string().contains(settings::CHDB_MAX_SPILL_BYTES), "{error}");
        drop(writer);
        assert_eq!(area.used_bytes.load(Ordering::Relaxed), 0);
    }
}
