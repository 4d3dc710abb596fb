//! Progress, where somebody looks.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over so many bytes. Shown on a terminal only.
pub fn bar(what: &'static str, bytes: u64) -> ProgressBar {
    let style = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = ProgressBar::new(bytes).with_message(what);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
