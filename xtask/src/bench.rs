//! `cargo xtask bench`: speed and size.

mod peers;

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::workspace::{root, run};
use crate::{build, lab};

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Hosts of the simulated platforms, smallest first.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000], conflicts_with = "lab")]
    hosts: Vec<u32>,
    /// Measure on the lab that stands, beside other tools, and nothing else. The procedures update it and back it out.
    #[arg(long, value_name = "PART", value_parser = ["all", "commands", "procedures"], num_args = 0..=1,
          require_equals = true, default_missing_value = "all")]
    lab: Option<String>,
    /// How often commands are measured on the lab.
    #[arg(long, default_value_t = 5, requires = "lab")]
    times: u32,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    // Before anything takes long.
    let lab = arguments.lab.as_ref().map(|part| lab::standing().map(|directory| (directory, part))).transpose()?;
    let runner = build::everything(true)?;
    let guests = build::guests(&runner)?;
    let mut command = Command::new(build::program("runner-bench", true)?);
    command.current_dir(root()).arg("--runner").arg(&runner).arg("--guests").arg(guests);
    match lab {
        None => {
            let hosts: Vec<String> = arguments.hosts.iter().map(u32::to_string).collect();
            command.args(["--hosts", &hosts.join(",")]);
        }
        Some((directory, part)) => {
            command.arg("--lab").arg(directory).args(["--part", part, "--times", &arguments.times.to_string()]);
            for peer in peers::ALL {
                if let Some(program) = peer.found()? {
                    command.arg(peer.option).arg(program);
                }
            }
            command.env("RUNNER_TEST_BINARY", runner);
        }
    }
    run(&mut command)
}
