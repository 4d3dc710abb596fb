//! `-import`: files that `influx_inspect export` has written: statements under `# DDL`, points under `# DML`, and comments that
//! say to which database and policy the points that follow go.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Arguments;
use crate::client::{Client, Target};
use crate::error::{Error, Result};

const MAX_BATCH_LINES: usize = 5_000;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Past this, a line is no line protocol.
const MAX_LINE_BYTES: u64 = 64 << 20;

struct Import<'a> {
    client: &'a Client,
    target: Target,
    batch: Vec<u8>,
    lines: u64,
    statements: u64,
    inserted: u64,
    refused: u64,
    points_per_second: u64,
    started: Instant,
    progress: ProgressBar,
}

/// Imports the file that the arguments name; whether all of it was taken.
pub fn run(client: &Client, arguments: &Arguments) -> Result<bool> {
    if arguments.path.is_empty() {
        return Err(Error::Usage("ERROR: file argument required".to_owned()));
    }
    let progress = progress(Path::new(&arguments.path))?;
    let file = progress.wrap_read(open(&arguments.path)?);
    let reader: Box<dyn Read> =
        if arguments.compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let precision =
        if arguments.precision == "rfc3339" { String::new() } else { arguments.precision.clone() };
    let mut import = Import {
        client,
        target: Target {
            database: arguments.database.clone(),
            policy: String::new(),
            precision,
            consistency: arguments.consistency.clone(),
        },
        batch: Vec::new(),
        lines: 0,
        statements: 0,
        inserted: 0,
        refused: 0,
        points_per_second: arguments.pps,
        started: Instant::now(),
        progress,
    };
    let read = import.read(BufReader::new(reader), &arguments.path);
    import.progress.finish_and_clear();
    println!("Processed {} commands", import.statements);
    println!("Processed {} inserts", import.inserted);
    println!("Failed {} inserts", import.refused);
    read?;
    Ok(import.refused == 0)
}

fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|reason| Error::File { path: path.to_owned(), reason })
}

fn progress(path: &Path) -> Result<ProgressBar> {
    let size =
        path.metadata().map_err(|reason| Error::File { path: path.display().to_string(), reason })?.len();
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
        .map_err(|error| Error::Usage(error.to_string()))?;
    Ok(ProgressBar::new(size).with_style(style))
}

impl Import<'_> {
    fn read(&mut self, mut reader: impl BufRead, path: &str) -> Result<()> {
        let mut statements = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            let read = read.map_err(|reason| Error::File { path: path.to_owned(), reason })?;
            if read as u64 == MAX_LINE_BYTES {
                return Err(Error::Usage(format!("{path}: a line is longer than 64 MiB")));
            }
            if read == 0 {
                return self.write();
            }
            let text = line.trim_ascii();
            match text.strip_prefix(b"#") {
                Some(comment) => self.comment(comment, &mut statements)?,
                None if text.is_empty() => {}
                None if statements => self.statement(&String::from_utf8_lossy(text))?,
                None => {
                    self.batch.extend_from_slice(line.trim_ascii_end());
                    self.batch.push(b'\n');
                    self.lines += 1;
                    if self.lines as usize >= MAX_BATCH_LINES || self.batch.len() >= MAX_BATCH_BYTES {
                        self.write()?;
                    }
                }
            }
        }
    }

    fn comment(&mut self, comment: &[u8], statements: &mut bool) -> Result<()> {
        let comment = String::from_utf8_lossy(comment);
        match comment.trim().split_once(':').unwrap_or((comment.trim(), "")) {
            ("DDL", _) => *statements = true,
            ("DML", _) => *statements = false,
            ("CONTEXT-DATABASE", name) => {
                self.write()?;
                self.target.database = name.trim().to_owned();
            }
            ("CONTEXT-RETENTION-POLICY", name) => {
                self.write()?;
                self.target.policy = name.trim().to_owned();
            }
            _ => {}
        }
        Ok(())
    }

    fn statement(&mut self, text: &str) -> Result<()> {
        self.statements += 1;
        match self.client.first_column(text, "") {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Usage(format!("ERROR: {text}: {error}"))),
        }
    }

    /// Sends what was gathered. Lines that the server refuses are counted and told; the import goes on.
    fn write(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (batch, lines) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.lines));
        match self.client.write(&self.target, batch) {
            Ok(()) => self.inserted += lines,
            Err(Error::Refused(answer)) => {
                let refused = lost(&answer).unwrap_or(lines).min(lines);
                self.refused += refused;
                self.inserted += lines - refused;
                self.progress.suspend(|| eprintln!("error writing batch: {}", answer.trim_end()));
            }
            Err(error) => return Err(error),
        }
        if self.points_per_second > 0 {
            let written = Duration::from_secs(self.inserted + self.refused)
                / u32::try_from(self.points_per_second).unwrap_or(u32::MAX);
            std::thread::sleep(written.saturating_sub(self.started.elapsed()));
        }
        Ok(())
    }
}

/// How many lines a partly refused write has lost, at least one; none where nothing was written. Lines that are no points are
/// named, and not among those that count as dropped.
fn lost(answer: &str) -> Option<u64> {
    if !answer.contains("partial write") {
        return None;
    }
    let (_, count) = answer.rsplit_once("dropped=")?;
    let count: String = count.chars().take_while(char::is_ascii_digit).collect();
    let unreadable = answer.matches("unable to parse '").count() as u64;
    Some(count.parse::<u64>().ok()?.saturating_add(unreadable).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_points_are_those_that_the_server_says() {
        for (answer, count) in [
            (r#"{"error":"partial write: points beyond retention policy dropped=3"}"#, Some(3)),
            (
                r#"{"error":"partial write: unable to parse 'a': missing fields\nunable to parse 'b c': invalid field format dropped=0"}"#,
                Some(2),
            ),
            (r#"{"error":"partial write: something else dropped=0"}"#, Some(1)),
            (r#"{"error":"field type conflict"}"#, None),
        ] {
            assert_eq!(lost(answer), count, "{answer}");
        }
    }
}
