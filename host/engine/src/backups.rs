//! Backup sets of a platform: made by backups, bound by updates, used by backouts.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runner_types::{BackupSet, ComponentVersion, Releases, Timestamp};

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

    /// The set bound to the latest update of a component that was not backed out, when there is one.
    ///
    /// # Errors
    /// When sets cannot be read.
    pub fn bound(&self, platform: &str, component: &str) -> Result<Option<BackupSet>, BackupError> {
        let sets = self.list(platform)?;
        Ok(sets.into_iter().find(|set| set.component == component && set.bound_to.is_some()))
    }

    /// Binds an update to the set that a backout of it will use.
    ///
    /// An update that was begun before keeps its set, so that a repetition over a half-updated platform never forgets
    /// where it started; only a complete later backup of another release replaces it.
    ///
    /// # Errors
    /// When no set is complete, verified, of one release and younger than `max_age`.
    pub async fn bind(&self, store: &dyn Store, wanted: &Binding<'_>) -> Result<BackupSet, BackupError> {
        let sets: Vec<BackupSet> =
            self.list(wanted.platform)?.into_iter().filter(|set| set.component == wanted.component).collect();
        let bound = sets.iter().find(|set| set.bound_to.is_some());
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
        let chosen = match (bound, candidate) {
            (Some(bound), Some(candidate)) if replaces(candidate, bound) => candidate,
            (Some(bound), _) => bound,
            (None, Some(candidate)) => candidate,
            (None, None) => {
                return Err(BackupError::NoneForUpdate { component: wanted.component.to_owned(), reasons });
            }
        };
        verify(store, chosen).await?;
        let mut chosen = chosen.clone();
        if chosen.bound_to.is_none() {
            chosen.bound_to = Some(wanted.run.to_owned());
            self.save(&chosen)?;
            for other in sets.iter().filter(|set| set.id != chosen.id && set.bound_to.is_some()) {
                let released = BackupSet { bound_to: None, ..other.clone() };
                self.save(&released)?;
            }
        }
        Ok(chosen)
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
    ) -> Result<BackupSet, BackupError> {
        let set = self
            .bound(platform, component)?
            .ok_or_else(|| BackupError::NoneForBackout { component: component.to_owned() })?;
        verify(store, &set).await?;
        Ok(set)
    }

    /// Notes that the update was backed out: its set is bound no more.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn release(&self, set: &BackupSet) -> Result<(), BackupError> {
        self.save(&BackupSet { bound_to: None, ..set.clone() })
    }
}

/// What an update wants its backup set to be.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// Platform.
    pub platform: &'a str,
    /// Component.
    pub component: &'a str,
    /// Run of the update.
    pub run: &'a str,
    /// Greatest age of the set.
    pub max_age: Duration,
    /// The time now.
    pub now: Timestamp,
}

fn usable(set: &BackupSet, wanted: &Binding<'_>) -> Result<(), String> {
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
    Ok(())
}

fn replaces(candidate: &BackupSet, bound: &BackupSet) -> bool {
    candidate.created > bound.created && candidate.release != bound.release
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
mod tests {
    use super::*;
    use crate::artifacts::DirectoryStore;
    use runner_types::{Artifact, BackupPart, Digest, FormatVersion, Place, Target};

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: i64 = 1_795_000_000_000;

    struct Home {
        _home: tempfile::TempDir,
        backups: Backups,
        store: DirectoryStore,
    }

    fn home() -> Home {
        let home = tempfile::tempdir().unwrap();
        let backups = Backups::open(&home.path().join("sets")).unwrap();
        let store = DirectoryStore::open(&home.path().join("store")).unwrap();
        Home { _home: home, backups, store }
    }

    async fn set(home: &Home, id: &str, age: Duration, release: Option<&str>) -> BackupSet {
        let digest = home.store.put_bytes(id.as_bytes().to_vec()).await.unwrap();
        let set = BackupSet {
            format: FormatVersion::CURRENT,
            id: id.to_owned(),
            component: "db".to_owned(),
            platform: "p".to_owned(),
            created: Timestamp::from_unix_millis(NOW - i64::try_from(age.as_millis()).unwrap()),
            run: "backup-run".to_owned(),
            step: "db".to_owned(),
            plugin: Digest::zero(),
            release: release.map(str::to_owned),
            complete: true,
            parts: vec![BackupPart {
                target: Target::Hosts,
                hosts: vec!["a".to_owned()],
                versions: Vec::new(),
                artifacts: vec![Artifact {
                    digest: digest.parse().unwrap(),
                    size: id.len() as u64,
                    name: "data".to_owned(),
                    origin: Place::Runner,
                    labels: Vec::new(),
                }],
                notes: serde_json::Map::new(),
            }],
            bound_to: None,
        };
        home.backups.save(&set).unwrap();
        set
    }

    fn wanted(run: &str) -> Binding<'_> {
        Binding { platform: "p", component: "db", run, max_age: DAY, now: Timestamp::from_unix_millis(NOW) }
    }

    #[tokio::test]
    async fn an_update_without_a_good_backup_is_refused_with_every_reason() {
        let home = home();
        set(&home, "old", DAY * 3, Some("1.0")).await;
        set(&home, "mixed", DAY / 4, None).await;
        let error = home.backups.bind(&home.store, &wanted("u1")).await.unwrap_err().to_string();
        assert!(error.contains("old is 72 h old") && error.contains("mixed was taken while"), "{error}");
    }

    #[tokio::test]
    async fn a_repeated_update_keeps_its_first_set() {
        let home = home();
        set(&home, "first", DAY / 2, Some("1.0")).await;
        assert_eq!(home.backups.bind(&home.store, &wanted("u1")).await.unwrap().id, "first");
        set(&home, "again", DAY / 4, Some("1.0")).await;
        set(&home, "mixed", DAY / 8, None).await;
        assert_eq!(home.backups.bind(&home.store, &wanted("u2")).await.unwrap().id, "first");
        set(&home, "later", DAY / 16, Some("2.0")).await;
        assert_eq!(home.backups.bind(&home.store, &wanted("u3")).await.unwrap().id, "later");
        assert_eq!(home.backups.for_backout(&home.store, "p", "db").await.unwrap().id, "later");
    }

    #[tokio::test]
    async fn a_backout_wants_an_update_and_whole_data() {
        let home = home();
        let made = set(&home, "first", DAY / 2, Some("1.0")).await;
        let none = home.backups.for_backout(&home.store, "p", "db").await.unwrap_err();
        assert!(matches!(none, BackupError::NoneForBackout { .. }));
        home.backups.bind(&home.store, &wanted("u1")).await.unwrap();
        let digest = made.artifacts().next().unwrap().digest.to_string();
        let file = home._home.path().join("store").join(&digest[..2]).join(&digest);
        fs::write(file, "other").unwrap();
        let damaged = home.backups.for_backout(&home.store, "p", "db").await.unwrap_err();
        assert!(matches!(damaged, BackupError::NotWhole { .. }), "{damaged}");
    }

    #[tokio::test]
    async fn a_set_that_cannot_be_read_is_not_passed_over() {
        let home = home();
        set(&home, "first", DAY / 2, Some("1.0")).await;
        fs::write(home._home.path().join("sets/second.json"), "{\"format\": 99}").unwrap();
        let error = home.backups.list("p").unwrap_err().to_string();
        assert!(error.contains("second.json") && error.contains("newer"), "{error}");
    }
}
