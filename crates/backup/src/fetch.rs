//! Fetching a backup from a running server.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt, stream};
use hyperbytedb_domain::backup::{Snapshot, SnapshotFile, checksum};
use indicatif::ProgressBar;
use xxhash_rust::xxh3::Xxh3;

use crate::FILES_AT_ONCE;
use crate::error::Error;
use crate::manifest::{BackupFile, DATA, Known, MANIFEST, MANIFEST_CHECKSUM, Manifest};
use crate::place::Place;
use crate::progress::bar;
use crate::server::{Client, Server};
use crate::verify::read_manifest;

/// What came of it.
#[derive(Debug)]
pub struct Fetched {
    pub manifest: Manifest,
    /// Bytes that were fetched; the others are in earlier backups.
    pub fetched_bytes: u64,
}

/// Makes a backup of a server at `place`, which must be empty. Files that `since` has, or those it builds on, are not
/// fetched again.
pub async fn fetch(
    server: &Server,
    place: &Place,
    database: Option<&str>,
    since: Option<&Place>,
) -> Result<Fetched, Error> {
    if place.is_used().await? {
        return Err(Error::Invalid(format!("{place} is not empty: a backup needs a folder of its own")));
    }
    let earlier = match since {
        Some(since) if !since.is_beside(place) => {
            let text = format!("{since} must lie beside {place}: the new backup names it relative to itself");
            return Err(Error::Invalid(text));
        }
        Some(since) => Some((since.name(), read_manifest(since).await?)),
        None => None,
    };
    let client = Client::new(server)?;
    let snapshot = client.create(database).await?;
    let known = earlier.as_ref().map(|(name, manifest)| Known::new(name, manifest));
    let fetched = fetch_files(&client, &snapshot, place, known.as_ref()).await;
    // Whatever came of it, the server need not keep it; it would go by itself, too.
    let removed = client.remove(&snapshot.id).await;
    let fetched = fetched?;
    removed?;
    Ok(fetched)
}

async fn fetch_files(
    client: &Client,
    snapshot: &Snapshot,
    place: &Place,
    known: Option<&Known<'_>>,
) -> Result<Fetched, Error> {
    let checksums: HashMap<&str, &str> = snapshot
        .files
        .iter()
        .filter_map(|file| Some((file.name.as_str(), file.checksum.as_deref()?)))
        .collect();
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    for file in &snapshot.files {
        match known.and_then(|known| known.find(file, &checksums)) {
            Some(file) => files.push(file),
            None => missing.push(file),
        }
    }
    let fetched_bytes = missing.iter().map(|file| file.size).sum();
    let progress = bar("fetching", fetched_bytes);
    let fetches = missing.into_iter().map(|file| fetch_file(client, &snapshot.id, file, place, &progress));
    let fetched: Vec<BackupFile> =
        stream::iter(fetches).buffer_unordered(FILES_AT_ONCE).try_collect().await?;
    progress.finish_and_clear();
    files.extend(fetched);
    let manifest = Manifest::new(snapshot, files, known);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|e| Error::Invalid(e.to_string()))?;
    place.write(MANIFEST_CHECKSUM, format!("{}\n", checksum(&text)).into_bytes()).await?;
    place.write(MANIFEST, text).await?;
    Ok(Fetched { manifest, fetched_bytes })
}

async fn fetch_file(
    client: &Client,
    id: &str,
    file: &SnapshotFile,
    place: &Place,
    progress: &ProgressBar,
) -> Result<BackupFile, Error> {
    let mut writer = place.writer(&format!("{DATA}/{}", file.name));
    let mut bytes = pin!(client.file(id, &file.name).await?);
    let (mut hasher, mut size) = (Xxh3::new(), 0);
    while let Some(piece) = bytes.next().await.transpose()? {
        hasher.update(&piece);
        size += piece.len() as u64;
        progress.inc(piece.len() as u64);
        writer.push(piece).await?;
    }
    let checksum = format!("{:032x}", hasher.digest128());
    if size != file.size || file.checksum.as_ref().is_some_and(|expected| *expected != checksum) {
        let text = format!(
            "{}: {size} bytes came instead of {}, or others than the server read",
            file.name, file.size
        );
        return Err(Error::Invalid(text));
    }
    writer.finish().await?;
    Ok(BackupFile { name: file.name.clone(), size, checksum, backup: None })
}
