//! `runner backups`: the backup sets of a platform.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use runner_engine::backups::verify;
use runner_engine::project::Project;
use runner_types::{BackupSet, Timestamp, did_you_mean};

use crate::args::{Common, Files, ListOutput};
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;
use crate::reporter::duration;

/// Look at backup sets
#[derive(Debug, Args)]
pub(crate) struct Backups {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Verify(Verify),
}

/// List the backup sets of a platform, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner backups list
  runner backups list --component etcd
  runner backups list --output json -i inventory.json")]
struct List {
    /// Only sets of this component
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    #[command(flatten)]
    files: Files,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

/// Read all data of backup sets and compare it with the digests that were taken
///
/// A set that is missing data, or whose data is not what was stored, gives exit code 3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner backups verify                    all sets of the platform
  runner backups verify etcd-3f2a91        one of them")]
struct Verify {
    /// Sets to read [default: all of the platform]
    sets: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

impl Backups {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::List(list) => list.carry_out(common),
            Command::Verify(verify) => verify.carry_out(common),
        }
    }
}

fn project(common: &Common, files: &Files) -> anyhow::Result<Project> {
    Ok(Project::load(Surroundings::real().options(common, files, None)?)?)
}

impl List {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = project(common, &self.files)?;
        let mut sets = project.backups()?.list(project.platform())?;
        sets.retain(|set| self.component.as_ref().is_none_or(|component| set.component == *component));
        match self.output {
            ListOutput::Json => out::json(&sets)?,
            ListOutput::Text => {
                if sets.is_empty() {
                    out::stderr(&format!("no backup set of platform {}\n", project.platform()));
                }
                out::stdout(&table(&sets, Timestamp::from(SystemTime::now())))?;
            }
        }
        Ok(Exit::Succeeded)
    }
}

impl Verify {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = project(common, &self.files)?;
        let sets = chosen(project.backups()?.list(project.platform())?, &self.sets, &common.state_option())?;
        let store = project.store()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut exit = Exit::Succeeded;
        let mut results = Vec::with_capacity(sets.len());
        for set in &sets {
            let problem = match runtime.block_on(verify(&*store, set)) {
                Ok(()) if set.complete => None,
                Ok(()) => Some("a target's backup did not succeed".to_owned()),
                Err(error) => Some(full(&error)),
            };
            if problem.is_some() {
                exit = Exit::Failed;
            }
            results.push((set, problem));
        }
        match self.output {
            ListOutput::Json => {
                let results: Vec<_> = results
                    .iter()
                    .map(|(set, problem)| {
                        serde_json::json!({"set": set.id, "component": set.component, "whole": problem.is_none(), "problem": problem})
                    })
                    .collect();
                out::json(&results)?;
            }
            ListOutput::Text => match states(&results) {
                Some(table) => out::stdout(&table)?,
                None => out::stderr(&format!("no backup set of platform {}\n", project.platform())),
            },
        }
        Ok(exit)
    }
}

/// What was found of each set; none: there is no set.
fn states(results: &[(&BackupSet, Option<String>)]) -> Option<String> {
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|(set, problem)| {
            let state = problem.clone().unwrap_or_else(|| "whole".to_owned());
            vec![set.id.clone(), set.component.clone(), set.artifacts().count().to_string(), state]
        })
        .collect();
    (!rows.is_empty()).then(|| out::table(&["SET", "COMPONENT", "ARTIFACTS", "STATE"], &rows))
}

/// An error with its causes in one line.
fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let message = source.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = source.source();
    }
    text
}

fn chosen(sets: Vec<BackupSet>, names: &[String], state_option: &str) -> anyhow::Result<Vec<BackupSet>> {
    if names.is_empty() {
        return Ok(sets);
    }
    names
        .iter()
        .map(|name| {
            sets.iter().find(|set| set.id == *name).cloned().ok_or_else(|| {
                let near = did_you_mean(name, sets.iter().map(|set| set.id.as_str()));
                Problem::usage(format!("there is no backup set {name:?}{near}"))
                    .hint(format!("runner backups list{state_option} names them"))
                    .into()
            })
        })
        .collect()
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut rest = bytes;
    let mut unit = "B";
    for next in UNITS {
        if rest < 1_024 * 10 {
            break;
        }
        rest = rest.div_ceil(1_024);
        unit = next;
    }
    format!("{rest} {unit}")
}

fn table(sets: &[BackupSet], now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|set| {
            let bytes = set.artifacts().map(|artifact| artifact.size).sum();
            vec![
                set.id.clone(),
                set.component.clone(),
                format!("{} ago", duration(now.since(set.created))),
                set.release.clone().unwrap_or_else(|| "mixed".to_owned()),
                if set.complete { "yes" } else { "NO" }.to_owned(),
                size(bytes),
                set.bound_to.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    out::table(&["SET", "COMPONENT", "TAKEN", "RELEASE", "COMPLETE", "SIZE", "UPDATE THAT RESTS ON IT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::{Digest, FormatVersion};

    fn set(id: &str) -> BackupSet {
        BackupSet {
            format: FormatVersion::CURRENT,
            id: id.to_owned(),
            component: "etcd".to_owned(),
            platform: "demo".to_owned(),
            created: Timestamp::from_unix_millis(0),
            run: "r".to_owned(),
            step: "etcd".to_owned(),
            plugin: Digest::zero(),
            release: Some("1.0".to_owned()),
            complete: true,
            parts: Vec::new(),
            bound_to: None,
            update: runner_types::BoundUpdate::default(),
        }
    }

    #[test]
    fn sets_are_listed_with_what_matters() {
        let now = Timestamp::from_unix_millis(90_000);
        assert_eq!(
            table(&[set("etcd-1")], now),
            "SET     COMPONENT  TAKEN            RELEASE  COMPLETE  SIZE  UPDATE THAT RESTS ON IT\n\
             etcd-1  etcd       1 min 30 s ago   1.0      yes       0 B   -\n"
                .replace("ago   ", "ago  ")
                .replace("TAKEN            ", "TAKEN           ")
        );
    }

    #[test]
    fn a_heading_alone_is_no_answer() {
        assert_eq!(states(&[]), None);
        let table = states(&[(&set("etcd-1"), None)]);
        assert!(table.is_some_and(|table| table.ends_with("\netcd-1  etcd       0          whole\n")));
    }

    #[test]
    fn an_unknown_set_is_named_with_the_nearest() {
        let error = chosen(vec![set("etcd-1")], &["etcd-2".to_owned()], "").unwrap_err().to_string();
        assert!(error.contains("etcd-1"), "{error}");
        assert_eq!(chosen(vec![set("a"), set("b")], &[], "").unwrap().len(), 2);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(10), size(20_480), size(2 << 30)], ["10 B", "20 KiB", "2048 MiB"]);
    }
}
