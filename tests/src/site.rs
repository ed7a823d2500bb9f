//! Other platforms than the demo's.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::runner::{Ended, Invocation, root};

/// A demo platform with changes, in a folder of its own.
pub struct Site {
    folder: TempDir,
}

impl Site {
    /// The demo's files, each changed by its name.
    ///
    /// # Errors
    /// When they cannot be read, changed or written.
    pub fn new(change: impl Fn(&str, String) -> Result<String>) -> Result<Self> {
        let site = Self { folder: TempDir::with_prefix("runner-site-")? };
        for name in ["inventory.json", "policy.json", "platform.json"] {
            let text = fs::read_to_string(root().join("workflows/inventories/demo").join(name))?;
            fs::write(site.path(name), change(name, text)?)?;
        }
        Ok(site)
    }

    /// A file of it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A call of `run` with a shipped workflow and values of `-e`.
    #[must_use]
    pub fn workflow(&self, workflow: &str, extras: &[&str]) -> Invocation {
        let values = extras.iter().flat_map(|extra| ["-e".to_owned(), (*extra).to_owned()]);
        Invocation::new(["run".to_owned(), format!("workflows/{workflow}.json")])
            .args(values)
            .args(["--inventory".into(), self.path("inventory.json").into_os_string()])
            .args(["--releases", "workflows/releases.json"])
            .env("RUNNER_STATE_DIR", self.path("state"))
    }

    /// Carries out a shipped workflow.
    ///
    /// # Errors
    /// When it cannot be carried out; how it ended is in the answer.
    pub fn run(&self, workflow: &str, extras: &[&str]) -> Result<Ended> {
        self.workflow(workflow, extras).run()
    }
}
