//! The list of what a backup holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hyperbytedb_domain::backup::{Link, Snapshot, SnapshotFile};
use serde::{Deserialize, Serialize};

pub(crate) const MANIFEST: &str = "manifest.json";
/// The manifest's checksum and a newline.
pub(crate) const MANIFEST_CHECKSUM: &str = "manifest.json.xxh3";
/// Where the files are.
pub(crate) const DATA: &str = "data";

/// The form of backups that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// The engine's file with the checksums of a part's other files.
const PART_CHECKSUMS: &str = "checksums.txt";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub id: String,
    /// Of the server that made it.
    pub version: String,
    /// The last log record in it.
    pub sequence: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// The only database whose points are in it; `None`: all are.
    pub database: Option<String>,
    pub files: Vec<BackupFile>,
    pub links: Vec<Link>,
    /// The ids of the backups that it builds on, by their names; those that earlier versions made do not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    pub name: String,
    pub size: u64,
    /// XXH3 of 128 bits, in hexadecimal.
    pub checksum: String,
    /// The backup beside this one that holds the file; `None`: this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

impl Manifest {
    pub(crate) fn new(snapshot: &Snapshot, mut files: Vec<BackupFile>, known: Option<&Known<'_>>) -> Self {
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let bases: BTreeSet<&String> = files.iter().filter_map(|file| file.backup.as_ref()).collect();
        let id_of = |name: &String| Some((name.clone(), known?.id_of(name)?.clone()));
        let bases = bases.into_iter().filter_map(id_of).collect();
        Self {
            format: FORMAT,
            id: snapshot.id.clone(),
            version: snapshot.version.clone(),
            sequence: snapshot.sequence,
            created: snapshot.created,
            database: snapshot.database.clone(),
            files,
            links: snapshot.links.clone(),
            bases,
        }
    }

    /// Names of the backups beside this one that hold some of its files.
    pub fn builds_on(&self) -> BTreeSet<&str> {
        self.files.iter().filter_map(|file| file.backup.as_deref()).collect()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// What would not be a data folder: names that lead out of it.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        for file in &self.files {
            let is_sibling = |name: &String| is_name(name);
            if !is_inside(&file.name) || !file.backup.as_ref().is_none_or(is_sibling) {
                return Err(format!("the manifest has the odd name {:?}", file.name));
            }
        }
        for Link { name, target } in &self.links {
            let depth = name.split('/').count() - 1;
            let up = target.split('/').take_while(|part| *part == "..").count();
            let down = target.split('/').skip(up).collect::<Vec<_>>().join("/");
            if !is_inside(name) || up > depth || !is_inside(&down) {
                return Err(format!("the manifest has the odd link {name:?} to {target:?}"));
            }
        }
        Ok(())
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0'])
}

fn is_inside(path: &str) -> bool {
    path.split('/').all(is_name)
}

/// Files of an earlier backup that need not be fetched again.
///
/// Only the engine's parts can be known without reading them: a part never changes, and one file of it holds the checksums
/// of the others. The part's name alone is not enough: it can come again after a crash.
pub(crate) struct Known<'a> {
    name: &'a str,
    manifest: &'a Manifest,
    files: HashMap<&'a str, &'a BackupFile>,
}

impl<'a> Known<'a> {
    pub fn new(name: &'a str, manifest: &'a Manifest) -> Self {
        let files = manifest.files.iter().map(|file| (file.name.as_str(), file)).collect();
        Self { name, manifest, files }
    }

    /// The id of this backup or of one that it builds on.
    fn id_of(&self, name: &str) -> Option<&String> {
        if name == self.name { Some(&self.manifest.id) } else { self.manifest.bases.get(name) }
    }

    /// The entry for the file, if this backup has it. `checksums`: of the snapshot's files, by name, where it tells.
    pub fn find(&self, file: &SnapshotFile, checksums: &HashMap<&str, &str>) -> Option<BackupFile> {
        let known = self.files.get(file.name.as_str()).filter(|known| known.size == file.size)?;
        let is_same = match &file.checksum {
            Some(checksum) => *checksum == known.checksum,
            None => {
                let (part, _) = file.name.rsplit_once('/')?;
                let of_part = format!("{part}/{PART_CHECKSUMS}");
                let (now, then) = (checksums.get(of_part.as_str())?, self.files.get(of_part.as_str())?);
                *now == then.checksum
            }
        };
        is_same.then(|| BackupFile {
            backup: Some(known.backup.clone().unwrap_or_else(|| self.name.to_owned())),
            ..(*known).clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(file: &str, backup: Option<&str>, link: (&str, &str)) -> Manifest {
        Manifest {
            format: FORMAT,
            id: "1".into(),
            version: "0".into(),
            sequence: 1,
            created: 1,
            database: None,
            files: vec![BackupFile {
                name: file.into(),
                size: 1,
                checksum: "0".into(),
                backup: backup.map(str::to_owned),
            }],
            links: vec![Link { name: link.0.into(), target: link.1.into() }],
            bases: BTreeMap::new(),
        }
    }

    #[test]
    fn names_stay_in_the_folder() {
        assert!(manifest("a/b", Some("monday"), ("a/b/c", "../d/e")).check_names().is_ok());
        for (file, backup, link) in [
            ("../a", None, ("l", "t")),
            ("/a", None, ("l", "t")),
            ("a//b", None, ("l", "t")),
            ("a/./b", None, ("l", "t")),
            ("a", Some("../b"), ("l", "t")),
            ("a", Some(".."), ("l", "t")),
            ("a", None, ("../l", "t")),
            ("a", None, ("l", "../t")),
            ("a", None, ("l", "/t")),
            ("a", None, ("l/m", "../t/../../u")),
        ] {
            assert!(manifest(file, backup, link).check_names().is_err(), "{file} {backup:?} {link:?}");
        }
    }

    #[test]
    fn a_part_is_known_by_its_checksums() {
        let mut earlier = manifest("p/data.bin", Some("sunday"), ("l", "t"));
        let checksums = |checksum: &str| BackupFile {
            name: "p/checksums.txt".into(),
            size: 9,
            checksum: checksum.into(),
            backup: None,
        };
        earlier.files.push(checksums("same"));
        let known = Known::new("monday", &earlier);
        let file = SnapshotFile { name: "p/data.bin".into(), size: 1, checksum: None };
        let find = |checksum| known.find(&file, &HashMap::from([("p/checksums.txt", checksum)]));
        assert_eq!(find("same").unwrap().backup.as_deref(), Some("sunday"));
        assert_eq!(find("other"), None);
        let larger = SnapshotFile { size: 2, ..file.clone() };
        assert_eq!(known.find(&larger, &HashMap::from([("p/checksums.txt", "same")])), None);
        let of_part = SnapshotFile { name: "p/checksums.txt".into(), size: 9, checksum: Some("same".into()) };
        assert_eq!(known.find(&of_part, &HashMap::new()).unwrap().backup.as_deref(), Some("monday"));
    }
}
