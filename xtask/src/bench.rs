//! `cargo xtask bench`: speed and size.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::workspace::{cargo, run};

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Hosts of the simulated platforms, smallest first.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    hosts: Vec<u32>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let runner = build::everything(true)?;
    let guests = build::guests(&runner)?;
    let hosts: Vec<String> = arguments.hosts.iter().map(u32::to_string).collect();
    run(cargo(["run", "--quiet", "--release", "--package", "runner-bench", "--"])
        .arg("--runner")
        .arg(runner)
        .arg("--guests")
        .arg(guests)
        .args(["--hosts", &hosts.join(",")]))
}
