//! Laying out a backup as a data folder.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::Error;
use crate::manifest::Manifest;
use crate::place::Place;
use crate::verify::{FileSink, read_files, read_manifest};

/// Where files are until all are known to be good.
const UNFINISHED: &str = ".unfinished-restore";
/// Folders of the engine that it expects to be there.
const EMPTY_FOLDERS: [&str; 1] = ["chdb/data"];

/// Lays out a backup as the data folder `target`, which must be empty or absent. A backup that is damaged leaves nothing
/// there.
pub async fn lay_out(place: &Place, target: &Path) -> Result<Manifest, Error> {
    let manifest = read_manifest(place).await?;
    refuse_used(target)?;
    let unfinished = target.join(UNFINISHED);
    let laid_out = fill(place, &manifest, &unfinished).await.and_then(|()| publish(&unfinished, target));
    if laid_out.is_err() {
        // The first error tells more.
        let _ = fs::remove_dir_all(&unfinished);
    }
    laid_out.map(|()| manifest)
}

fn refuse_used(target: &Path) -> Result<(), Error> {
    match fs::read_dir(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file(target)(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let text =
                    format!("{} is not empty: a backup is restored into a new data folder", target.display());
                Err(Error::Invalid(text))
            }
        },
    }
}

async fn fill(place: &Place, manifest: &Manifest, folder: &Path) -> Result<(), Error> {
    let create = |path: &Path| fs::create_dir_all(path).map_err(Error::file(path));
    create(folder)?;
    for name in EMPTY_FOLDERS {
        create(&folder.join(name))?;
    }
    read_files(place, manifest, "restoring", |file| Written { path: folder.join(&file.name), file: None })
        .await?;
    for link in &manifest.links {
        let path = folder.join(&link.name);
        path.parent().map_or(Ok(()), create)?;
        symlink(&link.target, &path).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// Moves what is complete to its place, durably.
fn publish(unfinished: &Path, target: &Path) -> Result<(), Error> {
    let sync = |folder: File| rustix::fs::syncfs(&folder).map_err(std::io::Error::from);
    File::open(unfinished).and_then(sync).map_err(Error::file(unfinished))?;
    for entry in fs::read_dir(unfinished).map_err(Error::file(unfinished))? {
        let from = entry.map_err(Error::file(unfinished))?.path();
        let Some(name) = from.file_name() else { continue };
        fs::rename(&from, target.join(name)).map_err(Error::file(&from))?;
    }
    fs::remove_dir(unfinished).map_err(Error::file(unfinished))?;
    File::open(target).and_then(|folder| folder.sync_all()).map_err(Error::file(target))
}

/// A file, made when its first bytes come.
struct Written {
    path: PathBuf,
    file: Option<File>,
}

impl Written {
    fn file(&mut self) -> std::io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
                Ok(none.insert(File::create(&self.path)?))
            }
        }
    }
}

impl FileSink for Written {
    fn push(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.file().and_then(|file| file.write_all(bytes)).map_err(Error::file(&self.path))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.file().map(drop).map_err(Error::file(&self.path))
    }
}
