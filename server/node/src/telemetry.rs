//! The log. It goes to standard error; standard output is for answers.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging.
///
/// # Errors
/// When the filter is not one, or logging was started before.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| anyhow::anyhow!("log.filter '{}' is not valid: {error}", log.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let news = filter_fn(is_news);
    let started = match log.format {
        LogFormat::Text => builder.finish().with(news).try_init(),
        LogFormat::Json => builder.json().finish().with(news).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// The one error of this part of iroh is that its queue is closed, which it is whenever an endpoint closes in good
/// order while something arrives (<https://github.com/n0-computer/iroh/issues/3749>).
fn is_news(what: &Metadata<'_>) -> bool {
    *what.level() != Level::ERROR || what.target() != "iroh::socket::transports::relay"
}
