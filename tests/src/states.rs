//! State directories: clean ones, and copies of those that the shipped workflows leave behind. Those are made once and
//! shared, because most tests begin after an update.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use tempfile::TempDir;

use crate::runner::{Invocation, binary, plugins, root, target};

/// Age at which a prepared state is made anew, well below what a workflow accepts of a backup.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// How far the shipped workflows have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Nothing was done.
    Fresh,
    /// Every component is backed up.
    BackedUp,
    /// Every component is updated.
    Updated,
    /// Flannel is backed out again.
    FlannelBackedOut,
    /// Everything else is, too.
    BackedOut,
}

impl Step {
    /// The step before, and the workflow that leads from there to here, with its options.
    fn way(self) -> Option<(Self, &'static str, &'static [&'static str])> {
        match self {
            Self::Fresh => None,
            Self::BackedUp => Some((Self::Fresh, "backup-all", &[])),
            Self::Updated => Some((
                Self::BackedUp,
                "update-all",
                &["no_interactive=True", "interactive_update=False", "stop_containers=True"],
            )),
            Self::FlannelBackedOut => Some((Self::Updated, "backout-flannel", &["no_interactive=True"])),
            Self::BackedOut => Some((
                Self::FlannelBackedOut,
                "backout-all",
                &["no_interactive=True", "interactive_backout=False", "stop_containers=True", "delete_pv_data=metrics"],
            )),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::BackedUp => "backed-up",
            Self::Updated => "updated",
            Self::FlannelBackedOut => "flannel-backed-out",
            Self::BackedOut => "backed-out",
        }
    }
}

/// A state directory of a test's own; gone when it is dropped.
pub struct State {
    directory: TempDir,
}

impl State {
    /// A state directory in which the shipped workflows have come so far on the demo platform.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn after(step: Step) -> Result<Self> {
        let directory = TempDir::with_prefix("runner-state-")?;
        if step != Step::Fresh {
            copy(&prepared(step)?, directory.path())?;
        }
        Ok(Self { directory })
    }

    /// A copy of this one as it is now.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copied(&self) -> Result<Self> {
        let directory = TempDir::with_prefix("runner-state-")?;
        copy(self.path(), directory.path())?;
        Ok(Self { directory })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A call of the binary on the demo platform in this state.
    pub fn call<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Invocation {
        Invocation::new(arguments).env("RUNNER_STATE_DIR", self.path())
    }

    /// A call of `run` with a shipped workflow and values of `-e`.
    #[must_use]
    pub fn workflow(&self, name: &str, extras: &[&str]) -> Invocation {
        let workflow = format!("workflows/{name}.json");
        let values = extras.iter().flat_map(|extra| ["-e", extra]);
        self.call(["run", &workflow]).args(values.map(str::to_owned))
    }
}

/// The directory of a prepared state, made when it is not there or too old.
fn prepared(step: Step) -> Result<PathBuf> {
    let target = target().join("test-states");
    fs::create_dir_all(&target)?;
    let place = target.join(format!("{}-{:016x}", step.name(), fingerprint()?));
    let lock = File::create(target.join(format!("{}.lock", step.name())))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let age = |path: &Path| -> Option<Duration> {
        SystemTime::now().duration_since(path.metadata().ok()?.modified().ok()?).ok()
    };
    let done = place.join("done");
    if age(&done).is_some_and(|age| age < MAX_AGE) {
        return Ok(place.join("state"));
    }
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let (before, workflow, extras) = step.way().context("a fresh state is not prepared")?;
    let state = State::after(before)?;
    state.workflow(workflow, extras).run()?.with(0).with_context(|| format!("preparing {}", step.name()))?;
    copy(state.path(), &place.join("state"))?;
    File::create(done)?;
    Ok(place.join("state"))
}

/// Changes when anything changes that a prepared state rests on.
fn fingerprint() -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![binary()?];
    let mut folders = vec![root().join("workflows"), plugins()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        let metadata = file.metadata()?;
        (file, metadata.len(), metadata.modified()?).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (path, into) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &into)?;
        } else if kind.is_file() {
            fs::copy(&path, &into).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    fs::set_permissions(to, from.metadata()?.permissions())?;
    Ok(())
}
