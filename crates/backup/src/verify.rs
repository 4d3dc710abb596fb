//! Reading a backup and finding out whether it is whole.

use std::collections::HashMap;
use std::pin::pin;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyperbytedb_domain::backup::checksum;
use xxhash_rust::xxh3::Xxh3;

use crate::FILES_AT_ONCE;
use crate::error::Error;
use crate::manifest::{BackupFile, DATA, FORMAT, MANIFEST, MANIFEST_CHECKSUM, Manifest};
use crate::place::Place;
use crate::progress::bar;

/// Faults that are listed.
const FAULTS_MAX: usize = 20;

/// The manifest of a backup, if it is what was written.
pub async fn read_manifest(place: &Place) -> Result<Manifest, Error> {
    let damaged = |fault: String| Error::Damaged { place: place.to_string(), faults: vec![fault] };
    let Some(text) = place.read(MANIFEST).await? else {
        let text = format!("{place} has no {MANIFEST}: it is no backup, or one that was never finished");
        return Err(Error::Invalid(text));
    };
    let expected = place.read(MANIFEST_CHECKSUM).await?;
    if expected.as_deref() != Some(format!("{}\n", checksum(&text)).as_bytes()) {
        return Err(damaged(format!("{MANIFEST}: its checksum is not the one in {MANIFEST_CHECKSUM}")));
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
    if manifest.format != FORMAT {
        let text = format!("{place}: form {} is unknown; was it made by a newer version?", manifest.format);
        return Err(Error::Invalid(text));
    }
    manifest.check_names().map_err(damaged)?;
    Ok(manifest)
}

/// Reads the whole backup, also what it builds on, and compares each file with its checksum.
pub async fn verify(place: &Place) -> Result<Manifest, Error> {
    let manifest = read_manifest(place).await?;
    read_files(place, &manifest, "verifying", |_| Discard).await?;
    Ok(manifest)
}

/// Takes the bytes of one file.
pub(crate) trait FileSink {
    fn push(&mut self, bytes: &Bytes) -> Result<(), Error>;
    /// After the last one, when they are what they were.
    fn finish(self) -> Result<(), Error>;
}

struct Discard;

impl FileSink for Discard {
    fn push(&mut self, _: &Bytes) -> Result<(), Error> {
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reads all files into sinks. Fails when one is not what it was, after all were read.
pub(crate) async fn read_files<S: FileSink>(
    place: &Place,
    manifest: &Manifest,
    what: &'static str,
    sink: impl Fn(&BackupFile) -> S,
) -> Result<(), Error> {
    let progress = bar(what, manifest.bytes());
    let places: HashMap<&str, Place> =
        manifest.builds_on().into_iter().map(|name| (name, place.sibling(name))).collect();
    let reads = manifest.files.iter().map(|file| {
        let place = file.backup.as_deref().and_then(|name| places.get(name)).unwrap_or(place);
        let (sink, progress) = (sink(file), &progress);
        async move {
            let read = read_file(place, file, sink).await;
            progress.inc(file.size);
            read
        }
    });
    let mut reads = pin!(stream::iter(reads).buffer_unordered(FILES_AT_ONCE));
    let (mut faults, mut more) = (Vec::new(), 0);
    while let Some(fault) = reads.next().await.transpose()? {
        match fault {
            Some(fault) if faults.len() < FAULTS_MAX => faults.push(fault),
            Some(_) => more += 1,
            None => {}
        }
    }
    progress.finish_and_clear();
    if faults.is_empty() {
        return Ok(());
    }
    faults.sort_unstable();
    if more > 0 {
        faults.push(format!("and {more} files more"));
    }
    faults.splice(..0, wrong_bases(manifest, &places).await);
    Err(Error::Damaged { place: place.to_string(), faults })
}

/// Backups that it builds on and that are not there, or others under their names: that is why files are wrong.
async fn wrong_bases(manifest: &Manifest, places: &HashMap<&str, Place>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, place) in places {
        match (read_manifest(place).await, manifest.bases.get(*name)) {
            (Ok(base), Some(id)) if base.id != *id => found.push(format!(
                "it builds on {name}, but {place} is another backup now: {}, not {id}; put that one back",
                base.id
            )),
            (Err(Error::Invalid(_)), _) => {
                found.push(format!(
                    "it builds on {name}, but there is no backup at {place}: put that one back"
                ));
            }
            _ => {}
        }
    }
    found.sort_unstable();
    found
}

/// What is wrong with the file, if something is.
async fn read_file(
    place: &Place,
    file: &BackupFile,
    mut sink: impl FileSink,
) -> Result<Option<String>, Error> {
    let name = format!("{DATA}/{}", file.name);
    let Some(bytes) = place.stream(&name).await? else {
        return Ok(Some(format!("{place}/{name}: missing")));
    };
    let mut bytes = pin!(bytes);
    let (mut hasher, mut size) = (Xxh3::new(), 0);
    while let Some(piece) = bytes.next().await.transpose()? {
        hasher.update(&piece);
        size += piece.len() as u64;
        sink.push(&piece)?;
    }
    if size != file.size {
        return Ok(Some(format!("{place}/{name}: {size} bytes instead of {}", file.size)));
    }
    if format!("{:032x}", hasher.digest128()) != file.checksum {
        return Ok(Some(format!("{place}/{name}: the checksum is another: its bytes were altered")));
    }
    sink.finish()?;
    Ok(None)
}
