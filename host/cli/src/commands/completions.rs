//! `runner completions`: completion scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::out;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner completions bash > /etc/bash_completion.d/runner
  runner completions zsh > \"${fpath[1]}/_runner\"")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn carry_out(&self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "runner", &mut script);
        out::stdout(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Succeeded)
    }
}
