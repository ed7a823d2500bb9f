//! The lab that stands, as `cargo xtask lab up` described it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The lab's files and hosts.
pub(crate) struct Site {
    out: PathBuf,
    /// Names of all hosts.
    pub(crate) hosts: Vec<String>,
    /// The inventory that runner uses there.
    pub(crate) inventory: Value,
}

impl Site {
    /// The lab in a directory.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let out = directory.join("out");
        let inventory = json(&out.join("inventory.json"))?;
        let hosts = inventory.get("hosts").and_then(Value::as_object).context("the lab's inventory has no hosts")?;
        Ok(Self { hosts: hosts.keys().cloned().collect(), inventory, out })
    }

    /// A file that `lab up` wrote.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// A command by `ssh` on a host, by a connection of its own.
    pub(crate) fn ssh(&self, host: &str, line: &str) -> Result<String> {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.path("ssh_config")).args(["-o", "BatchMode=yes", host, line]);
        Ok(timed(&mut command)?.1)
    }
}

/// A file of JSON.
pub(crate) fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// Runs a command that must succeed: the time it took, and what it said.
pub(crate) fn timed(command: &mut Command) -> Result<(Duration, String)> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let took = begun.elapsed();
    let program = Path::new(command.get_program()).display();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{program} ended with {}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok((took, said))
}
