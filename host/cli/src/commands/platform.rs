//! `runner platform`: the simulated platform.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use runner_engine::lock::{Holder, PlatformLock};
use runner_engine::project::Project;
use runner_types::Timestamp;
use serde_json::{Map, Value};

use crate::args::{Common, Files, ListOutput};
use crate::console::operator;
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;

/// Look at the simulated platform, or begin it anew
#[derive(Debug, Args)]
pub(crate) struct Platform {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    Reset(Reset),
}

/// Show the simulated platform as it is now
///
/// An overview of packages, units and Kubernetes objects; with a prefix the facts themselves, by their keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner platform show
  runner platform show host/node-1/unit                     facts of one kind
  runner platform show cluster/main/object/Pod/monitoring
  runner platform show --output json > before.json          to compare with later")]
struct Show {
    /// Show the facts whose key begins so
    facts: Option<String>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
    #[command(flatten)]
    files: Files,
}

/// Forget everything that happened on the simulated platform: the next run begins with the seed
///
/// Runs, backup sets and artifacts stay; no set is bound to an update any more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner platform reset")]
struct Reset {
    #[command(flatten)]
    files: Files,
}

impl Platform {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::Show(show) => show.carry_out(common),
            Command::Reset(reset) => reset.carry_out(common),
        }
    }
}

fn simulated(common: &Common, files: &Files) -> anyhow::Result<Project> {
    let project = Project::load(Surroundings::real().options(common, files, None)?)?;
    if project.is_simulated() {
        return Ok(project);
    }
    let message = format!("platform {} is a real one: nothing of it is simulated", project.platform());
    Err(Problem::usage(message).hint("runner versions and runner verify look at real platforms").into())
}

impl Show {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = simulated(common, &self.files)?;
        let platform = project.simulated(project.store()?)?;
        let prefix = self.facts.as_deref().unwrap_or_default();
        let facts: BTreeMap<String, String> = platform.facts(prefix).into_iter().collect();
        match self.output {
            ListOutput::Json => out::json(&document(&facts))?,
            ListOutput::Text if self.facts.is_some() => {
                let lines: Vec<String> = facts.iter().map(|(key, fact)| format!("{key} {fact}\n")).collect();
                out::stdout(&out::printable(&lines.concat()))?;
            }
            ListOutput::Text => {
                let mut text = format!("platform {}, {} facts\n", project.platform(), facts.len());
                text.push_str(&overview(&facts));
                out::stdout(&out::printable(&text))?;
            }
        }
        Ok(Exit::Succeeded)
    }
}

/// The facts with their values as JSON.
fn document(facts: &BTreeMap<String, String>) -> Map<String, Value> {
    let value = |fact: &String| serde_json::from_str(fact).unwrap_or_else(|_| Value::from(fact.as_str()));
    facts.iter().map(|(key, fact)| (key.clone(), value(fact))).collect()
}

/// What an operator would look at first.
fn overview(facts: &BTreeMap<String, String>) -> String {
    let facts = document(facts);
    let below = |prefix: &str| -> Vec<(String, &Value)> {
        facts.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value))).collect()
    };
    let mut text = String::new();
    for (host, _) in below("hosts/") {
        let packages: Vec<String> = below(&format!("host/{host}/package/"))
            .into_iter()
            .filter_map(|(name, package)| {
                let version = package.get("version")?.as_str()?;
                let broken = if package.get("broken").is_some() { " BROKEN" } else { "" };
                Some(format!("{name} {version}{broken}"))
            })
            .collect();
        let units: Vec<String> = below(&format!("host/{host}/unit/"))
            .into_iter()
            .map(|(name, unit)| format!("{name} {}", unit.get("active").and_then(Value::as_str).unwrap_or("?")))
            .collect();
        let _ = writeln!(text, "\nhost {host}");
        for (title, items) in [("packages", packages), ("units", units)] {
            for (index, item) in items.iter().enumerate() {
                let _ = writeln!(text, "  {:<8}  {item}", if index == 0 { title } else { "" });
            }
        }
    }
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (key, object) in below("cluster/") {
        let mut parts = key.split('/');
        let (Some(cluster), Some("object"), Some(kind)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        *kinds.entry((cluster.to_owned(), kind.to_owned())).or_default() += 1;
        if kind == "Node" {
            let _ = writeln!(
                text,
                "\nnode {} of cluster {cluster}: {}",
                key.rsplit('/').next().unwrap_or(""),
                node(object)
            );
        }
    }
    let mut last = String::new();
    for ((cluster, kind), count) in kinds {
        if cluster != last {
            let _ = writeln!(text, "\ncluster {cluster}");
            last = cluster;
        }
        let _ = writeln!(text, "  {count:>4} {kind}");
    }
    text
}

fn node(object: &Value) -> String {
    let ready = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == "Ready"))
        .is_some_and(|condition| condition["status"] == "True");
    let version = object.pointer("/status/nodeInfo/kubeletVersion").and_then(Value::as_str).unwrap_or("?");
    let cordoned = object.pointer("/spec/unschedulable").is_some_and(|flag| *flag == Value::Bool(true));
    let cordoned = if cordoned { ", cordoned" } else { "" };
    format!("{}, kubelet {version}{cordoned}", if ready { "Ready" } else { "NOT READY" })
}

impl Reset {
    fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let project = simulated(common, &self.files)?;
        let directory = project.platform_directory();
        if !directory.exists() {
            out::stderr(&format!("platform {} is as its seed says: nothing to forget\n", project.platform()));
            return Ok(Exit::Succeeded);
        }
        // Not under the feet of a run.
        let holder = Holder {
            run: "platform reset".to_owned(),
            operator: operator(),
            since: Timestamp::from(SystemTime::now()),
            process: std::process::id(),
        };
        let lock = project.options().state.join("locks").join(format!("{}.lock", project.platform()));
        let _lock = PlatformLock::take(&lock, &holder)?;
        // The updates of the platform that is forgotten are none of the new one's.
        let backups = project.backups()?;
        for set in backups.list(project.platform())? {
            if set.bound_to.is_some() {
                backups.release(&set)?;
            }
        }
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        out::stderr(&format!("platform {} begins anew with its seed\n", project.platform()));
        Ok(Exit::Succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_shows_what_an_operator_would_look_at() {
        let facts = [
            ("hosts/node-1", "{}"),
            ("host/node-1/package/kubelet", r#"{"version": "1.33.13-1"}"#),
            ("host/node-1/package/docker.io", r#"{"version": "26.1.5", "broken": true}"#),
            ("host/node-1/package/gone", "{}"),
            ("host/node-1/unit/kubelet.service", r#"{"active": "active"}"#),
            ("cluster/main", "{}"),
            (
                "cluster/main/object/Node//node-1",
                r#"{"spec": {"unschedulable": true}, "status": {"nodeInfo": {"kubeletVersion": "v1.33.13"},
                    "conditions": [{"type": "Ready", "status": "True"}]}}"#,
            ),
            ("cluster/main/object/Pod/web/a", "{}"),
            ("cluster/main/object/Pod/web/b", "{}"),
        ];
        let facts = facts.into_iter().map(|(key, fact)| (key.to_owned(), fact.to_owned())).collect();
        assert_eq!(
            overview(&facts),
            "\nhost node-1\n  \
               packages  docker.io 26.1.5 BROKEN\n            \
                         kubelet 1.33.13-1\n  \
               units     kubelet.service active\n\
             \nnode node-1 of cluster main: Ready, kubelet v1.33.13, cordoned\n\
             \ncluster main\n     \
                1 Node\n     \
                2 Pod\n"
        );
    }
}
