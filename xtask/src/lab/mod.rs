//! `cargo xtask lab`: a real platform on this machine.

mod parts;

use anyhow::Result;
use clap::Subcommand;

/// What can be done with the lab.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Builds everything that a lab is made of, into the user's cache, and says where it is.
    Parts,
}

pub(crate) fn command(command: &Command) -> Result<()> {
    match command {
        Command::Parts => {
            print!("{}", parts::ensure(&|line| eprintln!("{line}"))?);
            Ok(())
        }
    }
}
