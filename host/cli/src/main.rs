//! The command `runner`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod console;
mod error;
mod exit;
mod hosts;
mod inputs;
mod logging;
mod out;
mod paths;
mod reporter;
mod session;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, whose reader may have gone away.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Succeeded }.into();
        }
    };
    let exit = logging::start(cli.common.log_file.as_deref()).and_then(|()| carry_out(&cli));
    exit.unwrap_or_else(|error| error::show(&error, &cli.common)).into()
}

fn carry_out(cli: &Cli) -> anyhow::Result<Exit> {
    let common = &cli.common;
    match &cli.command {
        Command::Run(command) => command.carry_out(common),
        Command::Check(command) => command.carry_out(common),
        Command::Verify(command) => command.carry_out(common),
        Command::Versions(command) => command.carry_out(common),
        Command::Backups(command) => command.carry_out(common),
        Command::Runs(command) => command.carry_out(common),
        Command::Plugin(command) => command.carry_out(common),
        Command::Workflow(command) => command.carry_out(common),
        Command::Inventory(command) => command.carry_out(common),
        Command::Platform(command) => command.carry_out(common),
        Command::Completions(command) => command.carry_out(),
    }
}
