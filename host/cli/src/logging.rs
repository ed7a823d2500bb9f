//! Diagnostics of runner itself, apart from the journal: `RUNNER_LOG` chooses them, `--log-file` says where they go.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::error::Problem;

/// Variable that chooses diagnostics, for example `debug` or `runner_engine=trace`.
pub(crate) const VARIABLE: &str = "RUNNER_LOG";

/// Begins to write diagnostics: to the file when one is named, else to standard error when the variable asks for any.
///
/// # Errors
/// When the variable is no filter or the file cannot be opened.
pub(crate) fn start(file: Option<&Path>) -> anyhow::Result<()> {
    let wanted = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    if wanted.is_none() && file.is_none() {
        return Ok(());
    }
    let filter = wanted.unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Problem::usage(format!("{VARIABLE}={filter} is no filter: {error}")).hint("for example RUNNER_LOG=debug")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let started = match file {
        Some(path) => {
            let file =
                OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| {
                    Problem::usage(format!("cannot write the log file {}: {error}", path.display()))
                })?;
            subscriber.with_writer(Mutex::new(file)).try_init()
        }
        None => subscriber.with_writer(io::stderr).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error)).context("cannot start diagnostics")
}
