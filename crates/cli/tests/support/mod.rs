//! A terminal that a program believes in, and a server that answers what a test says.
#![allow(dead_code)] // each test binary uses its part

pub mod server;
pub mod terminal;
