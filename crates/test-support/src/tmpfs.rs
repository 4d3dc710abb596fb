//! A small file system in memory, to be filled.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Mounted on a folder until it is dropped.
pub struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    /// `None` where this process may not mount.
    pub fn mount(folder: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("ballast")).expect("a file");
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives back what `fill` took.
    pub fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the file");
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
