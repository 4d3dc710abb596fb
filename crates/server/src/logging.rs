//! Structured logs on standard error, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LoggingConfig;

/// What other programs in Rust read too.
const VARIABLE: &str = "RUST_LOG";

pub fn init(config: &LoggingConfig) -> Result<(), Box<dyn std::error::Error>> {
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let (name, level) =
        if variable.is_empty() { ("logging.level", &config.level) } else { (VARIABLE, &variable) };
    let filter = EnvFilter::try_new(level).map_err(|e| format!("configuration: {name} is {level:?}: {e}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.format == "json" {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}
