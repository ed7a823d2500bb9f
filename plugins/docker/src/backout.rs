//! Backout of one host to the versions and configuration of its backup set.

use std::collections::BTreeMap;

use runner_plugin_sdk::packages::Versions;
use runner_plugin_sdk::{
    Artifact, Findings, Inputs, Invocation, Problem, Report, ReportBuilder, parse, refused, units,
};

use crate::backup::{Notes, drop_in_prefix, file_name};
use crate::change::Change;
use crate::configuration::{Configuration, Content, DropInName, drop_in_names};
use crate::engine::UNITS;
use crate::parameters::Backout;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parse(invocation)?;
    let host = invocation.host()?.name.as_str();
    let set = invocation.backup_set()?;
    let notes: Notes = set.notes()?;
    let versions: Versions = set
        .versions_on(host)
        .map(|found| (found.part.clone(), found.version.clone()))
        .collect();
    if versions.is_empty() {
        let message = format!("backup set {} holds nothing of host {host}", set.0.id);
        return Err(refused("incomplete-backup", host, message));
    }
    // All data is read before the first write.
    let mut wanted = Configuration::default();
    for path in &notes.files {
        let name = file_name(host, path);
        let content = match set
            .0
            .artifacts
            .iter()
            .find(|artifact| artifact.name == name)
        {
            Some(artifact) => Some(Content {
                data: set.data(&[&name])?.pop().unwrap_or_default(),
                mode: mode(artifact),
            }),
            None => None,
        };
        wanted.files.insert(path.clone(), content);
    }
    wanted.drop_ins = drop_ins(host, &set)?;

    let change = Change {
        host,
        layout: parameters.layout(),
        packages: &parameters.packages,
        removals: absent(&notes, &versions),
        versions,
        wanted,
        downgrade: true,
        remove_all: parameters.remove_containers_and_images,
        install_seconds: parameters.install_seconds,
        restart_seconds: parameters.restart_seconds,
    };
    let seen = change.look()?;
    let mut report = ReportBuilder::new();
    change.carry_out(seen, Findings::new(), &mut report)?;
    Ok(report.finish(format!(
        "Docker and containerd on {host} are as in backup set {}",
        set.0.id
    )))
}

/// Packages that were looked for and not installed.
fn absent(notes: &Notes, versions: &Versions) -> Vec<String> {
    notes
        .packages
        .iter()
        .filter(|name| !versions.contains_key(*name))
        .cloned()
        .collect()
}

/// Permission bits noted with an artifact.
pub(crate) fn mode(artifact: &Artifact) -> Option<u32> {
    let label = artifact.labels.iter().find(|label| label.name == "mode")?;
    u32::from_str_radix(&label.value, 8).ok()
}

/// The set's drop-ins, and the absence of those that came since.
fn drop_ins(
    host: &str,
    set: &runner_plugin_sdk::Backup<'_>,
) -> Result<BTreeMap<DropInName, Option<String>>, Problem> {
    let now = units::status(&[host.to_owned()], &UNITS)?;
    let mut wanted: BTreeMap<DropInName, Option<String>> = now
        .iter()
        .flat_map(|(_, status)| drop_in_names(status))
        .map(|name| (name, None))
        .collect();
    for unit in UNITS {
        let prefix = drop_in_prefix(host, unit);
        for artifact in &set.0.artifacts {
            let Some(name) = artifact.name.strip_prefix(&prefix) else {
                continue;
            };
            let data = set.data(&[&artifact.name])?.pop().unwrap_or_default();
            let text = String::from_utf8_lossy(&data).into_owned();
            wanted.insert((unit.to_owned(), name.to_owned()), Some(text));
        }
    }
    Ok(wanted)
}
