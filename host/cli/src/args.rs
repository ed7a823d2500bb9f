//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    backups, check, completions, inventory, platform, plugin, run, runs, verify, versions, workflow,
};
use crate::exit::Exit;
use crate::out::quoted;

/// Backs up, updates, backs out and verifies a platform, one sandboxed plugin per component.
#[derive(Debug, Parser)]
#[command(
    name = "runner",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = FIRST_STEPS,
    after_long_help = long_help(),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST_STEPS: &str = "\
Examples:
  runner workflow check workflows/backout-all.json     is the workflow sound?
  runner run workflows/update-all.json                 carry it out
  runner versions                                      what is installed, and which release is it?
  runner runs show                                     how did the last run end?

`runner help COMMAND` explains a command with examples; `runner --help` lists the exit codes.";

fn long_help() -> String {
    format!(
        "{FIRST_STEPS}\n\n{}\nEnvironment:\n  \
         RUNNER_INVENTORY   inventory, when there is no -i\n  \
         RUNNER_POLICY      policy, when there is no --policy\n  \
         RUNNER_RELEASES    releases, when there is no --releases\n  \
         RUNNER_PLUGINS     directories of plugins, separated by colons\n  \
         RUNNER_STATE_DIR   runs, backup sets, artifacts [default: /var/lib/runner where it can be\n                     \
         written, else ~/.local/state/runner]\n  \
         RUNNER_CACHE_DIR   compiled plugins [default: ~/.cache/runner]\n  \
         RUNNER_LOG         diagnostics, for example debug or runner_engine=trace\n  \
         NO_COLOR           no colours\n\n\
         Text for people goes to standard error, what was asked for to standard output.",
        Exit::help()
    )
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Show effects as they happen; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Directory of runs, backup sets and artifacts
    #[arg(long, global = true, value_name = "DIR", env = "RUNNER_STATE_DIR", hide_env = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Write diagnostics to this file (chosen by RUNNER_LOG, else `info`)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

impl Common {
    /// The option that names the directory of the state, for commands that lead on: it begins with a blank, and is empty
    /// where the environment or nothing names that directory, as it then does for those commands too.
    pub(crate) fn state_option(&self) -> String {
        self.state_option_beside(std::env::var_os("RUNNER_STATE_DIR").as_deref())
    }

    fn state_option_beside(&self, environment: Option<&OsStr>) -> String {
        let given = self.state_dir.as_deref().filter(|directory| Some(directory.as_os_str()) != environment);
        given.map_or_else(String::new, |directory| format!(" --state-dir {}", quoted(&directory.to_string_lossy())))
    }
}

/// Files that a run rests on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Files {
    /// Inventory: runner's JSON, or Ansible's INI, YAML or `--list` JSON
    #[arg(short, long, value_name = "FILE", env = "RUNNER_INVENTORY", hide_env = true)]
    pub(crate) inventory: Option<PathBuf>,
    /// Policy: what plugins may do [default: policy.json beside the inventory]
    #[arg(long, value_name = "FILE", env = "RUNNER_POLICY", hide_env = true)]
    pub(crate) policy: Option<PathBuf>,
    /// Releases: which versions belong together [default: releases.json beside the inventory or the workflow]
    #[arg(long, value_name = "FILE", env = "RUNNER_RELEASES", hide_env = true)]
    pub(crate) releases: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) plugins: Plugins,
    #[command(flatten)]
    pub(crate) trusted: Trusted,
    /// Faults to inject into the simulated platform
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
}

/// Where plugins are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Plugins {
    /// Directory of plugins; may be repeated, earlier ones win
    #[arg(long = "plugins", value_name = "DIR")]
    pub(crate) directories: Vec<PathBuf>,
}

/// Which plugins are trusted.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Trusted {
    /// Digests of trusted plugins [default: plugins.lock.json beside the policy, enforced when it exists]
    #[arg(long = "plugins-lock", value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
}

/// Values of a workflow's inputs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Inputs {
    /// Inputs: NAME=VALUE, a JSON object, or @FILE with one; may be repeated, later ones win
    #[arg(short = 'e', long = "extra-vars", value_name = "NAME=VALUE")]
    pub(crate) extra: Vec<String>,
}

/// What goes to standard output while a workflow is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunOutput {
    /// Nothing: text for people goes to standard error
    #[default]
    Text,
    /// One JSON document at the end
    Json,
    /// One JSON line an event, as it happens
    Jsonl,
    /// JUnit XML at the end
    Junit,
}

/// How something is listed on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListOutput {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Run),
    Check(check::Check),
    Verify(verify::Verify),
    Versions(versions::Versions),
    Backups(backups::Backups),
    Runs(runs::Runs),
    Plugin(plugin::Plugin),
    Workflow(workflow::Workflow),
    Inventory(inventory::Inventory),
    Platform(platform::Platform),
    Completions(completions::Completions),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_that_lead_on_name_the_state_that_was_named() {
        let given = Common { state_dir: Some(PathBuf::from("/my state")), ..Common::default() };
        assert_eq!(given.state_option_beside(None), " --state-dir '/my state'");
        assert_eq!(given.state_option_beside(Some(OsStr::new("/other"))), " --state-dir '/my state'");
        assert_eq!(given.state_option_beside(Some(OsStr::new("/my state"))), "");
        assert_eq!(Common::default().state_option_beside(None), "");
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for exit in Exit::ALL {
            assert!(help.contains(exit.meaning()), "{}", exit.name());
        }
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                if !help.contains("runner ") {
                    missing.push(path.to_owned());
                }
            }
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                walk(inner, &format!("{path} {}", inner.get_name()), missing);
            }
        }
        let mut missing = Vec::new();
        walk(&Cli::command(), "runner", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn inputs_may_be_repeated_and_stand_anywhere() {
        let cli = Cli::try_parse_from([
            "runner",
            "-v",
            "run",
            "-e",
            "no_interactive=True",
            "w.json",
            "-e",
            "{\"a\": 1}",
            "-vv",
            "-i",
            "hosts.ini",
        ])
        .unwrap();
        assert_eq!(cli.common.verbose, 2);
        let Command::Run(run) = cli.command else { panic!("it is `run`") };
        assert_eq!(run.inputs.extra, ["no_interactive=True", "{\"a\": 1}"]);
        assert_eq!(run.files.inventory, Some(PathBuf::from("hosts.ini")));
    }
}
