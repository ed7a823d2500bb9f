//! Backup: the objects, and the database at rest.

use runner_plugin_sdk::api::artifacts::{self as api, PutOrder};
use runner_plugin_sdk::api::progress;
use runner_plugin_sdk::artifacts::{put_json, tree};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::{
    Answers, Artifact, Findings, Invocation, Problem, Report, ReportBuilder, images, parse, refused,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::found::{Found, check_layout};
use crate::parameters::{Backup, Method, Place};
use crate::prometheus;
use crate::stage::{backout_under_way, replicas, without_notes};
use crate::volume::{self, Saved, directories, entries, is_database, names};

/// Artifact that holds the objects.
pub(crate) const OBJECTS: &str = "objects.json";
/// Artifact that holds what is in the volume besides the blocks.
pub(crate) const REST: &str = "volume/rest";

/// What the set notes for the backout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Notes {
    pub(crate) method: Method,
    pub(crate) images: Vec<String>,
    pub(crate) volume_host: String,
    pub(crate) volume_path: String,
    pub(crate) data_directory: String,
    pub(crate) saved: Saved,
}

/// Artifact that holds a block.
pub(crate) fn block_name(block: &str) -> String {
    format!("volume/blocks/{block}")
}

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parse(invocation)?;
    let place = parameters.place();
    let found = Found::read(invocation, place)?;
    let workload = found.installed()?;
    let images = images::of_workload(workload);
    let available = found.images(invocation, &images)?;
    let mut findings = check(&parameters, workload);
    findings.extend(available.nowhere);
    findings.extend(found.foreign_pods()?);
    findings.refuse()?;
    let Some(version) = found.version() else {
        let message = "the image of Prometheus has no tag that says its version";
        return Err(refused("no-version", place.name, message));
    };

    let mut report = ReportBuilder::new();
    let (stored, saved) = match parameters.backup_method {
        Method::Snapshot => snapshot(place, &mut report)?,
        Method::ScaleDown => at_rest(&found, workload)?,
    };
    let objects: Vec<Value> = found.objects.portable().into_iter().map(clean).collect();
    let count = objects.len();
    report
        .artifacts(&put_json(&[(OBJECTS, &Value::Array(objects))])?)
        .artifacts(&stored)
        .warnings(available.partly)
        .cluster_version(found.cluster.0, "prometheus", version)
        .outputs(&Notes {
            method: parameters.backup_method,
            images,
            volume_host: parameters.volume_host.clone(),
            volume_path: parameters.volume_path.clone(),
            data_directory: parameters.data_directory.clone(),
            saved,
        });
    Ok(report.finish(format!("Prometheus {version}: {count} objects and its database")))
}

/// What stands against a backup.
fn check(parameters: &Backup, workload: &Value) -> Findings {
    let mut findings = Findings::new();
    check_layout(parameters.place(), workload, &mut findings);
    let at = format!("{}/{}", parameters.namespace, parameters.name);
    if let Some(note) = backout_under_way(workload) {
        let message = format!("a backout of StatefulSet {at} is under way ({note}); finish it first");
        findings.add("backout-under-way", at.as_str(), message);
    }
    match (replicas(workload), parameters.backup_method) {
        (1, _) | (0, Method::ScaleDown) => {}
        (0, Method::Snapshot) => {
            let message = format!(
                "StatefulSet {at} has no replica, so nobody can make a snapshot; give `backup-method` as scale-down"
            );
            findings.add("not-running", at.as_str(), message);
        }
        (several, _) => {
            let message =
                format!("StatefulSet {at} has {several} replicas, each with a volume of its own; one is supported");
            findings.add("several-replicas", at.as_str(), message);
        }
    }
    findings
}

fn clean(object: Value) -> Value {
    if object.text("/kind") == Some("StatefulSet") { without_notes(object) } else { object }
}

/// Has Prometheus make a snapshot, stores it, and removes it from the volume.
fn snapshot(place: Place<'_>, report: &mut ReportBuilder) -> Result<(Vec<Artifact>, Saved), Problem> {
    volume::expect_database(place)?;
    let snapshots = place.in_database("snapshots");
    let others = names(&entries(place, &snapshots)?);
    progress::show("Prometheus makes a snapshot", None, None);
    let name = prometheus::snapshot(place)?;
    let others: Vec<&String> = others.iter().filter(|other| **other != name).collect();
    if !others.is_empty() {
        let message = format!(
            "{} on host {} holds {} older snapshots, which take room: nobody but their makers knows whether they are needed",
            place.within(&snapshots),
            place.volume_host,
            others.len()
        );
        report.warn("old-snapshots", place.volume_path, message);
    }
    let folder = format!("{snapshots}/{name}");
    if volume::listed(place, &folder)?.is_none() {
        let message = format!(
            "Prometheus made snapshot {name}, and it is not at {} on host {}: check volume-host, volume-path and \
             data-directory, and remove it where it is",
            place.within(&folder),
            place.volume_host
        );
        return Err(refused("volume-elsewhere", place.volume_path, message));
    }
    let stored = store(place, &folder);
    // The snapshot goes also when it could not be stored: it would keep deleted blocks alive for ever.
    let removed = volume::remove(place, &folder, false);
    let stored = stored?;
    removed?;
    Ok(stored)
}

/// Stops Prometheus, stores the whole volume, and starts it again.
fn at_rest(found: &Found<'_>, workload: &Value) -> Result<(Vec<Artifact>, Saved), Problem> {
    let place = found.place;
    volume::expect_database(place)?;
    progress::show("Prometheus stops for the backup", None, None);
    let stored = found.stop(workload, None).and_then(|()| store(place, place.data_directory));
    // It does not stay down for a backup that was not made.
    found.begin_again(workload)?;
    let stored = stored?;
    found.follow()?;
    Ok(stored)
}

/// Stores the blocks of a database that is at rest, each by itself, so that blocks that were in an earlier set take no
/// room again; and what else is in the volume.
fn store(place: Place<'_>, database: &str) -> Result<(Vec<Artifact>, Saved), Problem> {
    progress::show("storing the database", None, None);
    let resting = entries(place, database)?;
    let stopped = database == place.data_directory;
    let top = volume::top(place)?;
    let in_database = volume::in_database(place, &top)?;
    let saved = split(place, stopped, &top, directories(&resting), &in_database);
    let mut orders: Vec<PutOrder> = saved
        .blocks
        .iter()
        .map(|block| {
            let path = if database.is_empty() { block.clone() } else { format!("{database}/{block}") };
            tree(place.volume_host, &place.within(&path), &block_name(block), &[])
        })
        .collect();
    if !saved.rest.is_empty() {
        let left_out: Vec<String> = left_out(place, stopped, &saved, &in_database);
        let left_out: Vec<&str> = left_out.iter().map(String::as_str).collect();
        orders.push(tree(place.volume_host, place.volume_path, REST, &left_out));
    }
    Ok((api::put(&orders).all()?, saved))
}

/// What of a volume is stored as blocks, and what else there is at its top. A database that was stopped has its newest
/// samples in its write-ahead log, so that belongs to the rest then; a snapshot has them in blocks.
fn split(place: Place<'_>, stopped: bool, top: &[String], found: Vec<String>, in_database: &[String]) -> Saved {
    let blocks: Vec<String> = found.into_iter().filter(|name| is_block(name)).collect();
    let nested = !place.data_directory.is_empty();
    let rest = top.iter().filter(|name| nested || !is_left_out(name, stopped, &blocks, in_database)).cloned().collect();
    Saved { blocks, rest }
}

fn is_block(name: &str) -> bool {
    is_database(name) && name.len() == 26
}

/// Whether something in the database's directory is not part of the rest.
fn is_left_out(name: &str, stopped: bool, blocks: &[String], in_database: &[String]) -> bool {
    let there = in_database.iter().any(|found| found == name);
    if stopped {
        // The lock is the running process' own; a restored one would say that somebody holds the database.
        blocks.iter().any(|block| block == name) || (there && matches!(name, "lock" | "queries.active" | "snapshots"))
    } else {
        there && is_database(name)
    }
}

/// Patterns of what the rest leaves out.
fn left_out(place: Place<'_>, stopped: bool, saved: &Saved, in_database: &[String]) -> Vec<String> {
    in_database
        .iter()
        .filter(|name| is_left_out(name, stopped, &saved.blocks, in_database))
        .map(|name| place.in_database(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::tests::{backout, workload};
    use serde_json::json;

    const BLOCK: &str = "01HQZX8C7QW2Y3F4G5H6J7K8M9";

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_snapshot_leaves_the_live_database_out() {
        let parameters = backout();
        let place = parameters.place();
        let top = list(&["lock", "wal", BLOCK, "chunks_head", "snapshots", "notes.txt", ".hidden"]);
        let saved = split(place, false, &top, list(&[BLOCK]), &top);
        assert_eq!(saved, Saved { blocks: list(&[BLOCK]), rest: list(&["notes.txt", ".hidden"]) });
        assert_eq!(left_out(place, false, &saved, &top), ["lock", "wal", BLOCK, "chunks_head", "snapshots"]);
    }

    #[test]
    fn a_stopped_database_is_stored_with_its_log_and_without_its_lock() {
        let parameters = backout();
        let place = parameters.place();
        let top = list(&["lock", "wal", BLOCK, "chunks_head", "queries.active", "notes.txt"]);
        let saved = split(place, true, &top, list(&["wal", BLOCK, "chunks_head"]), &top);
        assert_eq!(saved, Saved { blocks: list(&[BLOCK]), rest: list(&["wal", "chunks_head", "notes.txt"]) });
        assert_eq!(left_out(place, true, &saved, &top), ["lock", BLOCK, "queries.active"]);
    }

    #[test]
    fn a_nested_database_is_left_out_within_its_directory() {
        let mut parameters = backout();
        parameters.data_directory = "db".into();
        let place = parameters.place();
        let inside = list(&["lock", "wal", BLOCK, "extra"]);
        let saved = split(place, false, &list(&["db", "wal"]), list(&[BLOCK]), &inside);
        assert_eq!(saved.rest, ["db", "wal"]);
        assert_eq!(left_out(place, false, &saved, &inside), ["db/lock", "db/wal", &format!("db/{BLOCK}")]);
    }

    #[test]
    fn what_cannot_be_saved_as_one_volume_is_refused() {
        let ask = |replicas: i64, method: &str, note: Option<&str>| {
            let value =
                json!({"url": "http://p:9090", "volume-host": "s", "volume-path": "/srv/v", "backup-method": method});
            let parameters: Backup = serde_json::from_value(value).unwrap();
            let mut workload = workload();
            workload.put("/spec/replicas", json!(replicas));
            if let Some(note) = note {
                workload.put("/metadata/annotations/runner~1backout", json!(note));
            }
            check(&parameters, &workload).into_warnings().into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(ask(1, "snapshot", None), Vec::<String>::new());
        assert_eq!(ask(0, "snapshot", None), ["not-running"]);
        assert_eq!(ask(0, "scale-down", None), Vec::<String>::new());
        assert_eq!(ask(2, "scale-down", None), ["several-replicas"]);
        assert_eq!(ask(1, "snapshot", Some("stopped set-1")), ["backout-under-way"]);
    }
}
