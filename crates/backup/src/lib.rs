//! Backups: fetched from a running server, kept in a folder or in S3, checked, and laid out as a data folder.
//!
//! A backup is a folder (or a prefix in a bucket) with the files of a data folder below `data/`, a [`Manifest`] that names
//! each with its checksum, and the manifest's own checksum. The manifest comes last: without it there is no backup. Files
//! that an earlier backup beside it has need not be fetched again; the manifest says where they are.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod fetch;
mod layout;
mod lines;
mod manifest;
mod place;
mod progress;
mod server;
mod verify;

pub use error::Error;
pub use fetch::{Fetched, fetch};
pub use layout::lay_out;
pub use lines::Lines;
pub use manifest::Manifest;
pub use place::Place;
pub use progress::bar;
pub use server::{Client, Server};
pub use verify::{read_manifest, verify};

/// Files worked on at one time.
const FILES_AT_ONCE: usize = 8;

/// Chooses who does the cryptography of HTTPS. Once a process, before anything else of this crate.
pub fn init() {
    // Fails where somebody has chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
