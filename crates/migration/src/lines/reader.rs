//! Reads lines from a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use hyperbytedb_line_protocol::line_end;

use crate::error::Error;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const FIRST_BUFFER_BYTES: usize = 1 << 20;

/// As long as a server takes it. What goes on past that, as a quote that is never closed lets a line do, ends at its
/// first newline instead.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A line and where it begins.
pub struct Line<'a> {
    /// Without its newline.
    pub text: &'a [u8],
    pub number: u64,
    /// Bytes before it, after decompression.
    pub offset: u64,
}

pub struct Input {
    file: PathBuf,
    reader: Box<dyn Read>,
    read: Arc<AtomicU64>,
    buffer: Vec<u8>,
    /// The bytes of the buffer that are filled, of which `start` are taken.
    filled: usize,
    start: usize,
    at_end: bool,
    offset: u64,
    number: u64,
}

impl Input {
    /// Opens a file, or standard input when it is called `-`.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let raw: Box<dyn Read> = if file.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(file).map_err(Error::file(file))?)
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut raw = BufReader::with_capacity(1 << 16, Counted { reader: raw, count: read.clone() });
        let is_gzip = raw.fill_buf().map_err(Error::file(file))?.starts_with(&GZIP);
        let reader: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        Ok(Self {
            file: file.to_owned(),
            reader,
            read,
            buffer: vec![0; FIRST_BUFFER_BYTES],
            filled: 0,
            start: 0,
            at_end: false,
            offset: 0,
            number: 0,
        })
    }

    /// Bytes of the file that were read, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Goes on behind `offset`, where line `number` begins.
    pub fn skip(&mut self, offset: u64, number: u64) -> Result<(), Error> {
        let skipped = io::copy(&mut (&mut self.reader).take(offset), &mut io::sink());
        if skipped.map_err(Error::file(&self.file))? < offset {
            let text = format!("{}: shorter than when its import began", self.file.display());
            return Err(Error::usage(text));
        }
        (self.offset, self.number) = (offset, number.saturating_sub(1));
        Ok(())
    }

    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        let length = loop {
            let waiting = &self.buffer[self.start..self.filled];
            if let Some(end) = line_end(waiting) {
                break end;
            }
            if self.at_end || waiting.len() > MAX_LINE_BYTES {
                if waiting.is_empty() {
                    return Ok(None);
                }
                break memchr::memchr(b'\n', waiting).unwrap_or(waiting.len());
            }
            self.fill()?;
        };
        let (start, end) = (self.start, self.start + length);
        let (number, offset) = (self.number + 1, self.offset);
        let taken = (length + 1).min(self.filled - start);
        self.start += taken;
        self.offset += taken as u64;
        let text = &self.buffer[start..end];
        // A string may hold newlines.
        self.number = number + memchr::memchr_iter(b'\n', text).count() as u64;
        Ok(Some(Line { text, number, offset }))
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled * 2 > self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.reader.read(&mut self.buffer[self.filled..]).map_err(Error::file(&self.file))?;
        self.at_end = count == 0;
        self.filled += count;
        Ok(())
    }
}

/// The sizes of files together; none where one has no size.
pub fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    files
        .iter()
        .map(|file| file.metadata().ok().filter(|found| found.is_file()).map(|found| found.len()))
        .sum()
}

struct Counted<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const TEXT: &[u8] = b"a v=1 1\nb s=\"two\nlines\" 2\n\nc v=1 3";

    fn lines(bytes: &[u8], skip: Option<(u64, u64)>) -> Vec<(u64, u64, String)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut input = Input::open(file.path()).unwrap();
        if let Some((offset, number)) = skip {
            input.skip(offset, number).unwrap();
        }
        let mut found = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            found.push((line.number, line.offset, String::from_utf8_lossy(line.text).into_owned()));
        }
        found
    }

    #[test]
    fn lines_have_numbers_and_offsets() {
        let expected = vec![
            (1, 0, "a v=1 1".to_owned()),
            (2, 8, "b s=\"two\nlines\" 2".to_owned()),
            (4, 26, String::new()),
            (5, 27, "c v=1 3".to_owned()),
        ];
        assert_eq!(lines(TEXT, None), expected);
        assert_eq!(lines(TEXT, Some((8, 2))), expected[1..]);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(TEXT).unwrap();
        assert_eq!(lines(&gzip.finish().unwrap(), Some((27, 5))), expected[3..]);
    }

    #[test]
    fn an_open_quote_does_not_swallow_the_file() {
        let found = lines(b"a s=\"open 1\nb v=1 2\n", None);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].2, "b v=1 2");
    }

    #[test]
    fn long_lines_come_whole() {
        let long = format!("a s=\"{}\" 1\nb v=1 2", "x".repeat(3 << 20));
        assert_eq!(lines(long.as_bytes(), None)[1].2, "b v=1 2");
    }
}
