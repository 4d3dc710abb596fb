//! An empty node becomes a copy of a member: its catalogue, stored points and log as they were at one moment. What came after
//! that the others have kept for it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyperbytedb_domain::backup::{Snapshot, SnapshotFile, checksum};
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use reqwest::Method;

use crate::client::{Client, To};
use crate::membership::{JoinAnswer, JoinRequest};
use crate::server::{COPY, JOIN};
use crate::signature::Secret;
use crate::tls::Tls;

const FILES_AT_ONCE: usize = 4;
/// Pauses between attempts to reach a member.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
const COPY_TIMEOUT: Duration = Duration::from_secs(300);
/// Folders of the engine that it expects to be there.
const EMPTY_FOLDERS: [&str; 1] = ["chdb/data"];

/// Where the parts of a copy go.
#[derive(Debug, Clone)]
pub struct DataFolders {
    pub engine: PathBuf,
    pub meta: PathBuf,
    pub wal: PathBuf,
}

impl DataFolders {
    /// The place of a file of a copy; `None` when its name is none that a copy has.
    fn place(&self, name: &str) -> Option<PathBuf> {
        let (folder, rest) = name.split_once('/')?;
        let is_plain = Path::new(rest).components().all(|part| matches!(part, Component::Normal(_)));
        let folder = match folder {
            "chdb" => &self.engine,
            "meta" => &self.meta,
            "wal" => &self.wal,
            _ => return None,
        };
        is_plain.then(|| folder.join(rest))
    }
}

/// A node that wants to join.
pub struct Joining<'a> {
    pub node: NodeId,
    pub address: NodeAddress,
    pub secret: Secret,
    pub tls: Option<Tls>,
    /// The newest protocol that it speaks.
    pub protocol: u32,
    /// Members, any of which will do.
    pub members: &'a [String],
}

/// What was copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// The node that it was copied from.
    pub source: NodeId,
}

/// Asks to join and copies a member into `folders`, which must be empty. Tries until some member is there; a member that
/// refuses ends it.
pub fn copy_member(joining: &Joining<'_>, folders: &DataFolders) -> Result<Copied, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads of the cluster: {error}"))?;
    runtime.block_on(async {
        let secret = joining.secret.clone();
        let client = Client::new(joining.node, secret, joining.tls.as_ref(), joining.protocol)?;
        let answer = ask_to_join(&client, joining).await;
        tracing::info!(source = answer.source, address = answer.address, "joining: copying a member");
        copy(&client, To { node: answer.source, address: &answer.address }, folders).await?;
        Ok(Copied { source: answer.source })
    })
}

async fn ask_to_join(client: &Client, joining: &Joining<'_>) -> JoinAnswer {
    let request = JoinRequest { node: joining.node, address: joining.address.clone() };
    let mut pause = FIRST_PAUSE;
    loop {
        for member in joining.members {
            match client.ask(To { node: 0, address: member }, JOIN, &request, JOIN_TIMEOUT).await {
                Ok(answer) => return answer,
                Err(error) => tracing::warn!(member, %error, "this node could not join yet"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn copy(client: &Client, from: To<'_>, folders: &DataFolders) -> Result<(), String> {
    let snapshot: Snapshot =
        client.ask(from, COPY, &(), COPY_TIMEOUT).await.map_err(|error| error.to_string())?;
    let copied = copy_files(client, from, &snapshot, folders).await;
    let path = format!("{COPY}/{}", snapshot.id);
    // It would go by itself, too.
    let _ = client.send(Method::DELETE, from, &path, Bytes::new(), Some(JOIN_TIMEOUT)).await;
    copied
}

async fn copy_files(
    client: &Client,
    from: To<'_>,
    snapshot: &Snapshot,
    folders: &DataFolders,
) -> Result<(), String> {
    for folder in EMPTY_FOLDERS {
        let place = place(folders, folder)?;
        fs::create_dir_all(&place).map_err(|error| at(&place, error))?;
    }
    let path = format!("{COPY}/{}/file", snapshot.id);
    let files = snapshot.files.iter().map(|file| copy_file(client, from, &path, file, folders));
    stream::iter(files).buffer_unordered(FILES_AT_ONCE).try_collect::<()>().await?;
    for link in &snapshot.links {
        let place = place(folders, &link.name)?;
        create_parent(&place)?;
        std::os::unix::fs::symlink(&link.target, &place).map_err(|error| at(&place, error))?;
    }
    for folder in [&folders.engine, &folders.meta, &folders.wal] {
        let sync = |folder: File| rustix::fs::syncfs(&folder).map_err(std::io::Error::from);
        File::open(folder).and_then(sync).map_err(|error| at(folder, error))?;
    }
    Ok(())
}

async fn copy_file(
    client: &Client,
    from: To<'_>,
    path: &str,
    file: &SnapshotFile,
    folders: &DataFolders,
) -> Result<(), String> {
    let place = place(folders, &file.name)?;
    create_parent(&place)?;
    let name = Bytes::from(file.name.clone());
    let answer = client.send(Method::GET, from, path, name, None).await.map_err(|error| error.to_string())?;
    let mut pieces = answer.bytes_stream();
    let mut target = File::create(&place).map_err(|error| at(&place, error))?;
    let mut size = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| format!("{}: {error}", file.name))?;
        size += piece.len() as u64;
        target.write_all(&piece).map_err(|error| at(&place, error))?;
    }
    if size != file.size {
        return Err(format!("{}: {size} bytes came instead of {}", file.name, file.size));
    }
    if let Some(expected) = &file.checksum {
        let bytes = fs::read(&place).map_err(|error| at(&place, error))?;
        if checksum(&bytes) != *expected {
            return Err(format!("{}: other bytes came than were sent", file.name));
        }
    }
    Ok(())
}

fn place(folders: &DataFolders, name: &str) -> Result<PathBuf, String> {
    folders.place(name).ok_or_else(|| format!("a copy has no file {name:?}"))
}

fn create_parent(place: &Path) -> Result<(), String> {
    place.parent().map_or(Ok(()), |parent| fs::create_dir_all(parent).map_err(|error| at(parent, error)))
}

fn at(place: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", place.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_in_its_folders() {
        let folders = DataFolders { engine: "/e".into(), meta: "/m".into(), wal: "/w".into() };
        assert_eq!(folders.place("chdb/store/x"), Some("/e/store/x".into()));
        assert_eq!(folders.place("wal/1.sst"), Some("/w/1.sst".into()));
        for name in ["chdb/../x", "wal//etc/x", "etc/passwd", "x", "meta/a/../../b"] {
            assert_eq!(folders.place(name), None, "{name}");
        }
    }
}
