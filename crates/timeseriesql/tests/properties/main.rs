//! Properties that hold for every text and every tree.

mod generate;
mod round_trip;
mod soup;
