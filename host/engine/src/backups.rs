//! Backup sets of a platform: made by backups, bound by updates, used by backouts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runner_types::{BackupSet, BoundUpdate, ComponentVersion, Digest, Releases, Target, Timestamp};

use crate::artifacts::{Store, StoreError};
use crate::state;

/// Why a backup set cannot be kept, found or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system failed.
    #[error("cannot use the backup sets in {path}: {source}")]
    Io {
        /// The directory or file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A set's file is damaged, or of another format.
    #[error("the backup set {path} cannot be read: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// No set can be what an update rests on.
    #[error("no backup set of {component} can back this update: {}", because(.reasons))]
    NoneForUpdate {
        /// Component.
        component: String,
        /// Why each of the sets is not good enough, newest first.
        reasons: Vec<String>,
    },
    /// No update of the component is there to be reversed.
    #[error("no update of {component} is recorded on this platform, so there is none to back out")]
    NoneForBackout {
        /// Component.
        component: String,
    },
    /// Data of a set is missing or damaged.
    #[error("the backup set {set} of {component} is not whole: {name}")]
    NotWhole {
        /// Set.
        set: String,
        /// Component.
        component: String,
        /// Artifact.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

fn because(reasons: &[String]) -> String {
    if reasons.is_empty() {
        "there is none; run a backup first".to_owned()
    } else {
        format!("{}; run a backup first", reasons.join("; "))
    }
}

/// The backup sets of all platforms that share a state directory.
#[derive(Debug, Clone)]
pub struct Backups {
    directory: PathBuf,
}

impl Backups {
    /// Opens the directory of the sets, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, BackupError> {
        let backups = Self { directory: directory.to_owned() };
        state::make_directory(directory).map_err(|source| backups.failed(directory, source))?;
        Ok(backups)
    }

    fn failed(&self, path: &Path, source: std::io::Error) -> BackupError {
        BackupError::Io { path: path.display().to_string(), source }
    }

    /// Writes a set whole or not at all, in place of an earlier state of it.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn save(&self, set: &BackupSet) -> Result<(), BackupError> {
        let path = self.directory.join(format!("{}.json", set.id));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
            serde_json::to_writer_pretty(&mut file, set)?;
            file.write_all(b"\n")?;
            state::share(file.as_file(), &self.directory)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            fs::File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| self.failed(&path, source))
    }

    /// The sets of a platform, newest first.
    ///
    /// # Errors
    /// When a set cannot be read: one that is passed over in silence could be the one that matters.
    pub fn list(&self, platform: &str) -> Result<Vec<BackupSet>, BackupError> {
        let entries = fs::read_dir(&self.directory).map_err(|source| self.failed(&self.directory, source))?;
        let mut sets = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| self.failed(&self.directory, source))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let set = self.read(&path)?;
            if set.platform == platform {
                sets.push(set);
            }
        }
        sets.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
        Ok(sets)
    }

    fn read(&self, path: &Path) -> Result<BackupSet, BackupError> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            format: runner_types::FormatVersion,
        }
        let damaged = |reason: String| BackupError::Damaged { path: path.display().to_string(), reason };
        let text = fs::read(path).map_err(|source| self.failed(path, source))?;
        let versioned: Versioned = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        versioned.format.check().map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
    }

    /// The set to go back to: of those bound to updates of a component that were not backed out the one bound last, of
    /// those that hold something of every one of these hosts where there are such; `None` when none is bound.
    ///
    /// # Errors
    /// When sets cannot be read.
    pub fn bound(&self, platform: &str, component: &str, hosts: &Hosts) -> Result<Option<BackupSet>, BackupError> {
        let mut sets = self.of(platform, component)?;
        sets.retain(|set| set.bound_to.is_some());
        Ok(latest(&sets, hosts).cloned())
    }

    fn of(&self, platform: &str, component: &str) -> Result<Vec<BackupSet>, BackupError> {
        let mut sets = self.list(platform)?;
        sets.retain(|set| set.component == component);
        Ok(sets)
    }

    /// Chooses and verifies the set that an update is to rest on. Nothing is bound yet.
    ///
    /// An update that is repeated keeps its set: whatever its age while it is unfinished, so that a repetition over a
    /// half-updated platform never forgets where it started; and where it ended well the repetition needs a young set as
    /// any update, but the one from before the update stays the one to go back to. Once the platform was taken back by
    /// other means, which a later set of the same release shows, that one is chosen.
    ///
    /// # Errors
    /// When no set is complete, whole, of one release, younger than `max_age` and of every host.
    pub async fn choose(&self, store: &dyn Store, wanted: &Wanted<'_>) -> Result<BackupSet, BackupError> {
        let sets = self.of(wanted.platform, wanted.component)?;
        let bound: Vec<BackupSet> = sets.iter().filter(|set| set.bound_to.is_some()).cloned().collect();
        let repeated = latest(&bound, wanted.hosts).filter(|set| {
            !set.update.hosts.is_empty()
                && !set.update.goals.is_disjoint(wanted.goals)
                && lacking(set, wanted).is_none()
        });
        let mut reasons = Vec::new();
        let mut candidate = None;
        for set in &sets {
            match usable(set, wanted) {
                Ok(()) => {
                    candidate = Some(set);
                    break;
                }
                Err(reason) => reasons.push(format!("{} {reason}", set.id)),
            }
        }
        let chosen = match (repeated, candidate) {
            (Some(repeated), _) if !repeated.update.finished => repeated,
            (Some(repeated), Some(candidate)) if candidate.release != repeated.release => repeated,
            (_, Some(candidate)) => candidate,
            (_, None) => {
                return Err(BackupError::NoneForUpdate { component: wanted.component.to_owned(), reasons });
            }
        };
        verify(store, chosen).await?;
        Ok(chosen.clone())
    }

    /// Binds a set to an update that begins on these hosts; none: another component's begins, of the same run.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn bind(&self, set: &BackupSet, update: &Begun<'_>) -> Result<BackupSet, BackupError> {
        let mut set = set.clone();
        if set.bound_to.is_none() {
            set.bound_to = Some(update.run.to_owned());
            set.update = BoundUpdate::default();
        }
        set.update.bound = Some(update.bound);
        if !update.hosts.is_empty() {
            if set.update.goals.is_disjoint(update.goals) {
                set.update.goals.clear();
                set.update.finished = false;
            }
            set.update.goals.extend(update.goals.iter().cloned());
            set.update.hosts.extend(update.hosts.iter().cloned());
        }
        self.save(&set)?;
        Ok(set)
    }

    /// Notes that a set's update ended well: where it did so on every host that the set holds something of, it is
    /// finished, and no update before it is to be backed out any more.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn finish(&self, set: &BackupSet) -> Result<(), BackupError> {
        if !set.installed_on().iter().all(|host| set.update.hosts.contains(*host)) {
            return Ok(());
        }
        let update = BoundUpdate { finished: true, ..set.update.clone() };
        self.save(&BackupSet { update, ..set.clone() })?;
        for other in self.of(&set.platform, &set.component)? {
            if other.id != set.id && other.bound_to.is_some() && set.lacks(places(&other)).is_empty() {
                self.release(&other)?;
            }
        }
        Ok(())
    }

    /// The set that a backout goes to: bound to the update that it reverses, whatever its age, and whole.
    ///
    /// # Errors
    /// When there is no such update, or the set's data is missing or damaged.
    pub async fn for_backout(
        &self,
        store: &dyn Store,
        platform: &str,
        component: &str,
        hosts: &Hosts,
    ) -> Result<BackupSet, BackupError> {
        let set = self
            .bound(platform, component, hosts)?
            .ok_or_else(|| BackupError::NoneForBackout { component: component.to_owned() })?;
        verify(store, &set).await?;
        Ok(set)
    }

    /// Notes that the update was backed out: its set is bound no more.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn release(&self, set: &BackupSet) -> Result<(), BackupError> {
        self.save(&BackupSet { bound_to: None, update: BoundUpdate::default(), ..set.clone() })
    }
}

/// Hosts, each with its cluster where it has one.
pub type Hosts = BTreeSet<(Option<String>, String)>;

/// What an update wants its backup set to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Platform.
    pub platform: &'a str,
    /// Component.
    pub component: &'a str,
    /// Hosts that the update works on.
    pub hosts: &'a Hosts,
    /// Digests of the parameters of its steps.
    pub goals: &'a BTreeSet<Digest>,
    /// Greatest age of the set.
    pub max_age: Duration,
    /// The time now.
    pub now: Timestamp,
}

/// An update that begins.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// Its run.
    pub run: &'a str,
    /// When that began to update.
    pub bound: Timestamp,
    /// Hosts on which it begins; none yet.
    pub hosts: &'a [String],
    /// Digests of the parameters of its steps.
    pub goals: &'a BTreeSet<Digest>,
}

/// Of bound sets the one that was bound last, if possible one that holds something of all these hosts.
pub(crate) fn latest<'s>(bound: &'s [BackupSet], hosts: &Hosts) -> Option<&'s BackupSet> {
    let holds_all = |set: &BackupSet| set.lacks(each(hosts)).is_empty();
    bound.iter().max_by_key(|set| (holds_all(set), set.update.bound, set.created))
}

fn each(hosts: &Hosts) -> impl Iterator<Item = (Option<&str>, &str)> {
    hosts.iter().map(|(cluster, host)| (cluster.as_deref(), host.as_str()))
}

fn places(set: &BackupSet) -> impl Iterator<Item = (Option<&str>, &str)> {
    set.parts.iter().flat_map(|part| {
        let cluster = match &part.target {
            Target::Cluster(cluster) => Some(cluster.as_str()),
            Target::Host(_) | Target::Hosts => None,
        };
        part.hosts.iter().map(move |host| (cluster, host.as_str()))
    })
}

fn lacking(set: &BackupSet, wanted: &Wanted<'_>) -> Option<String> {
    let hosts: Vec<&str> = set.lacks(each(wanted.hosts)).into_iter().collect();
    (!hosts.is_empty()).then(|| format!("holds nothing of {}", hosts.join(", ")))
}

fn usable(set: &BackupSet, wanted: &Wanted<'_>) -> Result<(), String> {
    if !set.complete {
        return Err("is not complete".to_owned());
    }
    if set.release.is_none() {
        return Err("was taken while not every host was at one release".to_owned());
    }
    let age = wanted.now.since(set.created);
    if age > wanted.max_age {
        let hours = |span: Duration| span.as_secs().div_ceil(3600);
        return Err(format!("is {} h old, and at most {} h is allowed", hours(age), hours(wanted.max_age)));
    }
    lacking(set, wanted).map_or(Ok(()), Err)
}

/// Checks that all data of a set is in the store and is what its digests say.
///
/// # Errors
/// Names the first artifact that is not.
pub async fn verify(store: &dyn Store, set: &BackupSet) -> Result<(), BackupError> {
    for artifact in set.artifacts() {
        store.verify(artifact.digest.as_str()).await.map_err(|source| BackupError::NotWhole {
            set: set.id.clone(),
            component: set.component.clone(),
            name: artifact.name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The release that all these versions of a component belong to, when it is one.
#[must_use]
pub fn release_of(releases: &Releases, component: &str, versions: &[ComponentVersion]) -> Option<String> {
    let matches = |release: &&String| {
        let Some(wanted) = releases.releases.get(*release).and_then(|release| release.get(component)) else {
            return false;
        };
        let mut known = versions.iter().filter_map(|found| Some((wanted.versions.get(&found.part)?, found))).peekable();
        known.peek().is_some() && known.all(|(wanted, found)| *wanted == found.version)
    };
    releases.releases.keys().find(matches).cloned()
}

#[cfg(test)]
mod tests;
