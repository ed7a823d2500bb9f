//! The tools that runner is measured beside, of fixed versions, each in an environment of Python of its own. They are kept
//! in the user's cache. Where one cannot be had, it is left out with a reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{cache, output, run};

/// A tool.
pub(crate) struct Peer {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// What tells the bench where it is.
    pub(crate) option: &'static str,
}

/// All of them.
pub(crate) const ALL: [Peer; 2] = [
    // The last one for Python 3.11, which Debian 12 has.
    Peer { package: "ansible-core", version: "2.19.14", program: "ansible-playbook", option: "--ansible" },
    Peer { package: "pyinfra", version: "3.10.0", program: "pyinfra", option: "--pyinfra" },
];

impl Peer {
    /// The program, installed if it was not; none where it cannot be had.
    pub(crate) fn found(&self) -> Result<Option<PathBuf>> {
        let parent = cache()?.join("bench");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        match self.installed(&parent.join(format!("{}-{}", self.package, self.version))) {
            Ok(program) => Ok(Some(program)),
            Err(error) => {
                eprintln!("{} is left out: {error:#}", self.package);
                Ok(None)
            }
        }
    }

    fn installed(&self, folder: &Path) -> Result<PathBuf> {
        let program = folder.join("bin").join(self.program);
        // One cut short while it was installed does not start.
        if output(Command::new(&program).arg("--version").env("LC_ALL", "C.UTF-8")).is_ok() {
            return Ok(program);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let wanted = format!("{}=={}", self.package, self.version);
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", &wanted]))?;
        let said = output(Command::new(&program).arg("--version").env("LC_ALL", "C.UTF-8"))?;
        ensure!(said.contains(self.version), "{} says it is {}", self.program, said.trim());
        Ok(program)
    }
}
