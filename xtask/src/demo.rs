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
        &["no_interactive=True", "interactive_update=False"],
    ),
    ("Look at what runs now", "verify-all", &["release=2.0"]),
    (
        "Back out flannel, which comes first",
        "backout-flannel",
        &["no_interactive=True"],
    ),
    (
        "Back out every other component",
        "backout-all",
        &[
            "no_interactive=True",
            "interactive_backout=False",
            "delete_pv_data=metrics",
        ],
    ),
];

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let runner = build::everything(arguments.release)?;
    let state = target().join("demo");
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
    say("The platform before: simulated, three hosts with Kubernetes and one with storage");
    versions(&runner, &state)?;
    for (what, workflow, extras) in ACTS {
        say(what);
        let mut command = command(&runner, &state, "run");
        command.arg(format!("workflows/{workflow}.json"));
        for extra in extras {
            command.args(["-e", extra]);
        }
        run(&mut command)?;
    }
    say("The platform after: every component is back at release 1.0");
    versions(&runner, &state)?;
    eprintln!(
        "\nEverything that was done stands in {}: `runner runs list --state-dir {0}`",
        state.display()
    );
    Ok(())
}

fn versions(runner: &Path, state: &Path) -> Result<()> {
    run(&mut command(runner, state, "versions"))
}

fn command(runner: &Path, state: &Path, name: &str) -> Command {
    let mut command = Command::new(runner);
    command
        .arg(name)
        .current_dir(root())
        .arg("--state-dir")
        .arg(state);
    command.args(["--inventory", "workflows/inventories/demo/inventory.json"]);
    command
}

fn say(what: &str) {
    eprintln!("\n=== {what}\n");
}
