//! `runner run`: carries out a workflow.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Common, Files, Inputs, RunOutput};
use crate::exit::Exit;
use crate::paths::Surroundings;
use crate::session::{self, Session};

/// Carry out a workflow
///
/// Everything is checked before anything is begun: the files, the plugins, the values of -e, and whether every question
/// can be answered. Questions are asked at the terminal and only `y` is a yes; without a terminal each needs its option.
/// What happens is shown on standard error and kept in the journal of the run. Ctrl-C stops at the next safe place.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The workflow's JSON file
    pub(crate) workflow: PathBuf,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    #[command(flatten)]
    pub(crate) files: Files,
    /// What goes to standard output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: RunOutput,
}

const EXAMPLES: &str = "\
Examples:
  runner run workflows/update-all.json
      on the simulated platform that comes with the workflows
  runner run workflows/backout-all.json -i hosts.ini --policy policy.json
      on the hosts of an Ansible inventory
  runner run workflows/backout-all.json -e no_interactive=True -e interactive_backout=False
      without the y/n question and without the waits around the load balancer
  runner run workflows/update-all.json -v --output jsonl > events.jsonl
      every effect shown as it happens, and every event kept for a machine

See also: runner workflow check, runner runs show, runner runs journal";

impl Run {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        session::told(common, self.output, self.begin(common))
    }

    fn begin(&self, common: &Common) -> anyhow::Result<Exit> {
        let options = Surroundings::real().options(common, &self.files, Some(&self.workflow))?;
        let extras = self.inputs.read()?;
        let project = session::load(options)?;
        let plan = project.plan(&extras)?;
        let concealed = project.workflow().map(|workflow| self.inputs.concealed(&workflow.value().inputs));
        let session = Session {
            project: &project,
            verbosity: common.verbose,
            output: self.output,
            told: true,
            again: session::this_command(&concealed.unwrap_or_default()),
            state_option: common.state_option(),
        };
        Ok(session.carry_out(&plan)?.exit())
    }
}
