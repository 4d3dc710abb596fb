//! Completions and man pages, from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::error::{Error, Result};

pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "hyperbytedb-cli", &mut std::io::stdout());
}

pub fn man_pages(folder: &Path) -> Result<()> {
    clap_mangen::generate_to(Arguments::command(), folder)
        .map_err(|reason| Error::File { path: folder.display().to_string(), reason })
}
