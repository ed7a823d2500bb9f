//! `runner runs`: runs that there were, from their journals.

mod journal;
mod list;
mod show;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use runner_engine::journal::{ENTRIES, HEADER};
use runner_types::did_you_mean;

use crate::args::Common;
use crate::error::Problem;
use crate::exit::Exit;
use crate::paths::Surroundings;

/// Look at runs
#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Journal(journal::Journal),
}

impl Runs {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let folder = Folder::open(common)?;
        match &self.command {
            Command::List(list) => list.carry_out(&folder),
            Command::Show(show) => show.carry_out(&folder),
            Command::Journal(journal) => journal.carry_out(&folder, common.verbose),
        }
    }
}

/// The directory of all runs.
pub(super) struct Folder {
    path: PathBuf,
    /// The option that names it to commands that lead on.
    option: String,
}

impl Folder {
    fn open(common: &Common) -> anyhow::Result<Self> {
        Ok(Self { path: Surroundings::real().state(common)?.join("runs"), option: common.state_option() })
    }

    /// Names of the runs, oldest first: a name begins with its time.
    fn names(&self) -> anyhow::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("cannot read {}", self.path.display())));
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A run appears whole: what has no header is none yet.
            if entry.path().join(HEADER).is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The directory of a run: by its name, by a part of it that only it has, or the latest.
    fn find(&self, wanted: Option<&str>) -> anyhow::Result<PathBuf> {
        let names = self.names()?;
        let Some(wanted) = wanted else {
            return names.last().map(|name| self.path.join(name)).ok_or_else(|| {
                Problem::usage(format!("there is no run in {}", self.path.display()))
                    .hint("runner run begins one; --state-dir names another directory")
                    .into()
            });
        };
        let fitting: Vec<&String> = match names.iter().find(|name| *name == wanted) {
            Some(exact) => vec![exact],
            None => names.iter().filter(|name| name.contains(wanted)).collect(),
        };
        match fitting.as_slice() {
            [one] => Ok(self.path.join(one)),
            [] => {
                let near = did_you_mean(wanted, names.iter().map(String::as_str));
                Err(Problem::usage(format!("there is no run {wanted:?} in {}{near}", self.path.display()))
                    .hint(format!("runner runs list{} names them", self.option))
                    .into())
            }
            many => {
                let names: Vec<&str> = many.iter().map(|name| name.as_str()).collect();
                Err(Problem::usage(format!("{wanted:?} may be any of {}", names.join(", "))).into())
            }
        }
    }
}

/// Whether a process has the run's journal.
fn is_running(directory: &Path) -> bool {
    File::open(directory.join(ENTRIES))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn runs_are_found_by_a_part_of_their_name() {
        let home = tempfile::tempdir().unwrap();
        for name in ["2026-11-20-update-3f2a", "2026-11-21-update-77aa", "2026-11-21-backout-1111"] {
            let run = home.path().join(name);
            std::fs::create_dir(&run).unwrap();
            std::fs::write(run.join(HEADER), "{}").unwrap();
        }
        std::fs::create_dir(home.path().join("unborn")).unwrap();
        let at = |path: &Path| Folder { path: path.to_owned(), option: " --state-dir s".to_owned() };
        let folder = at(home.path());
        let found = |wanted| folder.find(wanted).map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(found(None).unwrap(), "2026-11-21-update-77aa");
        assert_eq!(found(Some("3f2a")).unwrap(), "2026-11-20-update-3f2a");
        assert_eq!(found(Some("backout")).unwrap(), "2026-11-21-backout-1111");
        let many = found(Some("update")).unwrap_err().to_string();
        assert!(many.contains("3f2a") && many.contains("77aa"), "{many}");
        let unborn = crate::error::tell(&found(Some("unborn")).unwrap_err(), &Common::default()).0;
        assert!(unborn.contains("runner runs list --state-dir s names them"), "{unborn}");
        assert!(at(&home.path().join("none")).find(None).is_err());
    }
}
