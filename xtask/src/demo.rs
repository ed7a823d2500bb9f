//! `cargo xtask demo`: a platform's backup, update and backout, carried out on a fresh simulated one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::build;
use crate::workspace::{root, run, target};

/// Options of `demo`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Build the binary optimised.
    #[arg(long)]
    release: bool,
}

/// The workflows in order, each with what it is and the options with which it asks nothing.
const ACTS: [(&str, &str, &[&str]); 5] = [
    ("Back up every component at release 1.0", "backup-all", &[]),
    (
        "Update every component to release 2.0",
        "update-all",
        &["no_interactive=True", "interactive_update=False", "stop_containers=True"],
    ),
    ("Look at what runs now", "verify-all", &["release=2.0"]),
    ("Back out flannel, which comes first", "backout-flannel", &["no_interactive=True"]),
    (
        "Back out every other component",
        "backout-all",
        &["no_interactive=True", "interactive_backout=False", "stop_containers=True", "delete_pv_data=metrics"],
    ),
];

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let binary = build::everything(arguments.release)?;
    let state = target().join("demo");
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
    say("The platform before: simulated, three hosts with Kubernetes and one with storage");
    versions(&binary, &state)?;
    for (what, workflow, extras) in ACTS {
        say(what);
        let mut act = runner(&binary, &state, "run");
        act.arg(format!("workflows/{workflow}.json"));
        for extra in extras {
            act.args(["-e", extra]);
        }
        run(&mut act)?;
    }
    say("The platform after: every component is back at release 1.0");
    versions(&binary, &state)?;
    eprintln!("\nEverything that was done stands in {}: `runner runs list --state-dir {0}`", state.display());
    Ok(())
}

fn versions(binary: &Path, state: &Path) -> Result<()> {
    run(&mut runner(binary, state, "versions"))
}

fn runner(binary: &Path, state: &Path, name: &str) -> Command {
    let mut command = Command::new(binary);
    command.env("RUNNER_PLUGINS", target().join("plugins"));
    command.arg(name).current_dir(root()).arg("--state-dir").arg(state);
    command.args(["--inventory", "workflows/inventories/demo/inventory.json"]);
    command
}

fn say(what: &str) {
    eprintln!("\n=== {what}\n");
}
