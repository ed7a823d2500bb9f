//! `runner platform`: the simulated platform.

use std::fs;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use runner_engine::project::Project;

use crate::args::{Common, Files, ListOutput};
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;

/// Look at the simulated platform, or begin it anew
#[derive(Debug, Args)]
pub(crate) struct Platform {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    Reset(Reset),
}

/// Show the facts of the simulated platform
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner platform show")]
struct Show {
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
    #[command(flatten)]
    files: Files,
}

/// Forget everything that happened on the simulated platform: the next run begins with the seed
///
/// Runs, backup sets and artifacts stay.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner platform reset")]
struct Reset {
    #[command(flatten)]
    files: Files,
}

impl Platform {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::Show(show) => show.carry_out(common),
            Command::Reset(reset) => reset.carry_out(common),
        }
    }
}

fn simulated(common: &Common, files: &Files) -> anyhow::Result<Project> {
    let project = Project::load(Surroundings::real().options(common, files, None)?)?;
    if project.is_simulated() {
        return Ok(project);
    }
    let message = format!(
        "platform {} is a real one: nothing of it is simulated",
        project.platform()
    );
    Err(Problem::usage(message)
        .hint("runner versions and runner verify look at real platforms")
        .into())
}

impl Show {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = simulated(common, &self.files)?;
        let _ = (&project, self.output);
        Ok(Exit::Succeeded)
    }
}

impl Reset {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = simulated(common, &self.files)?;
        let directory = project.platform_directory();
        if !directory.exists() {
            out::stderr(&format!(
                "platform {} is as its seed says: nothing to forget\n",
                project.platform()
            ));
            return Ok(Exit::Succeeded);
        }
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
        out::stderr(&format!(
            "platform {} begins anew with its seed\n",
            project.platform()
        ));
        Ok(Exit::Succeeded)
    }
}
