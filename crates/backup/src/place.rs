//! Where a backup is: a folder, or `s3://BUCKET/PREFIX`.
//!
//! S3 is set up by the usual variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, and `AWS_ENDPOINT` (with
//! `AWS_ALLOW_HTTP=true` for one without TLS) for a service that is not Amazon's.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;

use crate::error::Error;

/// Bytes collected before they are sent on: parts of an upload.
const WRITE_BYTES: usize = 8 << 20;

/// Names one backup among those that lie beside it.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    /// Of the backups that lie beside it, within the store.
    parent: String,
    name: String,
    /// For messages.
    shown: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Place {
    /// A place to read from; nothing of it is made.
    pub fn open(text: &str) -> Result<Self, Error> {
        Self::parse(text, false)
    }

    /// A place to write to: folders above it are made.
    pub fn create(text: &str) -> Result<Self, Error> {
        Self::parse(text, true)
    }

    fn parse(text: &str, create: bool) -> Result<Self, Error> {
        match text.split_once("://") {
            Some(("s3", rest)) => Self::in_bucket(text, rest),
            Some(_) => Err(Error::Invalid(format!("{text}: a backup is a folder or s3://BUCKET/PREFIX"))),
            None => Self::in_folder(text, create),
        }
    }

    fn in_bucket(text: &str, rest: &str) -> Result<Self, Error> {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        if bucket.is_empty() || path.is_empty() {
            return Err(Error::Invalid(format!("{text}: give a bucket and a prefix: s3://BUCKET/PREFIX")));
        }
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
        let store = store.map_err(|source| Error::Store { place: text.to_owned(), source })?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(Self {
            store: Arc::new(store),
            parent: parent.to_owned(),
            name: name.to_owned(),
            shown: text.to_owned(),
        })
    }

    fn in_folder(text: &str, create: bool) -> Result<Self, Error> {
        let path = std::path::absolute(text).map_err(Error::file(text.as_ref()))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Invalid(format!("{text}: a backup needs a folder of its own")));
        };
        let name = name.to_str().ok_or_else(|| Error::Invalid(format!("{text}: the name is not UTF-8")))?;
        if create {
            std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
        }
        let store = LocalFileSystem::new_with_prefix(parent);
        let store = store.map_err(|source| Error::Store { place: text.to_owned(), source })?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            parent: String::new(),
            name: name.to_owned(),
            shown: text.to_owned(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The backup of this name beside it.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        let shown = match self.shown.trim_end_matches('/').rsplit_once('/') {
            Some((parent, _)) => format!("{parent}/{name}"),
            None => name.to_owned(),
        };
        Self { name: name.to_owned(), shown, ..self.clone() }
    }

    /// Whether the other one lies beside it.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        // Stores print what they are over: a folder, or a bucket.
        self.store.to_string() == other.store.to_string() && self.parent == other.parent
    }

    fn path(&self, file: &str) -> Path {
        Path::from_iter(
            [self.parent.as_str(), self.name.as_str(), file]
                .into_iter()
                .flat_map(|p| p.split('/'))
                .filter(|p| !p.is_empty()),
        )
    }

    fn failed(&self, file: &str) -> impl FnOnce(object_store::Error) -> Error {
        let place = format!("{self}/{file}");
        move |source| Error::Store { place, source }
    }

    /// Whether anything is there.
    pub(crate) async fn is_used(&self) -> Result<bool, Error> {
        let mut found = self.store.list(Some(&self.path("")));
        Ok(found.try_next().await.map_err(self.failed(""))?.is_some())
    }

    /// The whole of a small file; `None` when there is none.
    pub(crate) async fn read(&self, file: &str) -> Result<Option<Bytes>, Error> {
        match self.store.get(&self.path(file)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            got => Ok(Some(got.map_err(self.failed(file))?.bytes().await.map_err(self.failed(file))?)),
        }
    }

    /// A file's bytes as they come; `None` when there is none.
    pub(crate) async fn stream(
        &self,
        file: &str,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, Error>> + use<>>, Error> {
        let shown = format!("{self}/{file}");
        match self.store.get(&self.path(file)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            got => {
                let stream = got.map_err(self.failed(file))?.into_stream();
                Ok(Some(stream.map_err(move |source| Error::Store { place: shown.clone(), source })))
            }
        }
    }

    /// Writes a small file whole.
    pub(crate) async fn write(&self, file: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.store.put(&self.path(file), bytes.into()).await.map(drop).map_err(self.failed(file))
    }

    pub(crate) fn writer(&self, file: &str) -> FileWriter {
        let writer = BufWriter::with_capacity(self.store.clone(), self.path(file), WRITE_BYTES);
        FileWriter { writer, place: format!("{self}/{file}") }
    }
}

/// A file that is being written. It is there only after [`finish`](Self::finish).
pub(crate) struct FileWriter {
    writer: BufWriter,
    place: String,
}

impl FileWriter {
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.writer.put(bytes).await.map_err(|source| Error::Store { place: self.place.clone(), source })
    }

    pub async fn finish(mut self) -> Result<(), Error> {
        self.writer.shutdown().await.map_err(|source| Error::File { path: self.place.clone(), source })
    }
}
