//! Structured logs on standard error, as text or JSON; and panics, but for those that a client can cause.

use std::error::Error;
use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{Config, LoggingConfig};
use crate::traces::Traces;

/// What other programs in Rust read too.
const VARIABLE: &str = "RUST_LOG";

/// Begins to log, and to send traces until what is returned is dropped.
pub fn init(config: &Config) -> Result<Option<Traces>, Box<dyn Error>> {
    let filter = filter(&config.logging)?;
    let traces = Traces::new(&config.tracing)?;
    match &traces {
        Some(traces) => {
            let log = log(&config.logging).with_filter(filter);
            tracing_subscriber::registry().with(log).with(traces.layer()).init();
        }
        // One filter for everything is cheaper.
        None => tracing_subscriber::registry().with(filter).with(log(&config.logging)).init(),
    }
    pass_over_foreseen_panics();
    Ok(traces)
}

fn filter(config: &LoggingConfig) -> Result<EnvFilter, String> {
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let (name, level) =
        if variable.is_empty() { ("logging.level", &config.level) } else { (VARIABLE, &variable) };
    EnvFilter::try_new(level).map_err(|error| format!("configuration: {name} is {level:?}: {error}"))
}

fn log<S>(config: &LoggingConfig) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let log = fmt::layer().with_writer(std::io::stderr);
    if config.format == "json" {
        log.json().boxed()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).boxed()
    }
}

fn pass_over_foreseen_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !hyperbytedb_columnar::is_panic_foreseen() {
            report(panic);
        }
    }));
}
