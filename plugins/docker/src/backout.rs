//! Backout of one host to the versions and configuration of its backup set.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::systemd::UnitStatus;
use runner_plugin_sdk::packages::Versions;
use runner_plugin_sdk::{
    Artifact, Backup, Findings, Inputs, Invocation, Problem, Report, ReportBuilder, parse, refused, units,
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
    let versions: Versions = set.versions_on(host).map(|found| (found.part.clone(), found.version.clone())).collect();
    if versions.is_empty() {
        let message = format!("backup set {} holds nothing of host {host}", set.0.id);
        return Err(refused("incomplete-backup", host, message));
    }
    // All data is read before the first write.
    let stored = Stored::read(host, &set, &notes)?;
    let now = units::status(&[host.to_owned()], &UNITS)?;
    let wanted = Configuration {
        files: notes.files.iter().map(|path| (path.clone(), stored.file(host, path))).collect(),
        drop_ins: stored.drop_ins(host, now.iter().map(|(_, status)| status)),
    };

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
    Ok(report.finish(format!("Docker and containerd on {host} are as in backup set {}", set.0.id)))
}

/// Packages that were looked for and not installed.
fn absent(notes: &Notes, versions: &Versions) -> Vec<String> {
    notes.packages.iter().filter(|name| !versions.contains_key(*name)).cloned().collect()
}

/// Permission bits noted with an artifact.
fn mode(artifact: &Artifact) -> Option<u32> {
    let label = artifact.labels.iter().find(|label| label.name == "mode")?;
    u32::from_str_radix(&label.value, 8).ok()
}

/// What the set holds of a host, by artifact name.
struct Stored(BTreeMap<String, Content>);

impl Stored {
    fn read(host: &str, set: &Backup<'_>, notes: &Notes) -> Result<Self, Problem> {
        let folder = format!("{host}/");
        let artifacts: Vec<&Artifact> =
            set.0.artifacts.iter().filter(|artifact| artifact.name.starts_with(&folder)).collect();
        // What is absent in the set is removed from the host: a set that lost something must not count.
        if notes.stored.get(host) != Some(&artifacts.len()) {
            let message = format!(
                "backup set {} holds {} files of host {host}, not those that were saved",
                set.0.id,
                artifacts.len()
            );
            return Err(refused("incomplete-backup", host, message));
        }
        let names: Vec<&str> = artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        let data = if names.is_empty() { Vec::new() } else { set.data(&names)? };
        let contents = artifacts.into_iter().zip(data).map(|(artifact, data)| {
            let mode = mode(artifact);
            (artifact.name.clone(), Content { data, mode })
        });
        Ok(Self(contents.collect()))
    }

    fn file(&self, host: &str, path: &str) -> Option<Content> {
        self.0.get(&file_name(host, path)).cloned()
    }

    /// The set's drop-ins, and the absence of those that came since.
    fn drop_ins<'a>(
        &self,
        host: &str,
        now: impl Iterator<Item = &'a UnitStatus>,
    ) -> BTreeMap<DropInName, Option<String>> {
        let mut wanted: BTreeMap<DropInName, Option<String>> =
            now.flat_map(drop_in_names).map(|name| (name, None)).collect();
        for unit in UNITS {
            let prefix = drop_in_prefix(host, unit);
            for (artifact, content) in &self.0 {
                if let Some(name) = artifact.strip_prefix(&prefix) {
                    let text = String::from_utf8_lossy(&content.data).into_owned();
                    wanted.insert((unit.to_owned(), name.to_owned()), Some(text));
                }
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_the_backup_goes() {
        let content = |text: &str| Content { data: text.as_bytes().to_vec(), mode: Some(0o640) };
        let stored = Stored(BTreeMap::from([
            (file_name("h", "/etc/docker/daemon.json"), content("{}")),
            (format!("{}10-old.conf", drop_in_prefix("h", "docker.service")), content("old")),
        ]));
        assert_eq!(stored.file("h", "/etc/docker/daemon.json"), Some(content("{}")));
        assert_eq!(stored.file("h", "/etc/containerd/config.toml"), None);
        let mut status = crate::tests::unit("docker.service", "active", "enabled", "");
        status.drop_ins = vec!["/etc/systemd/system/docker.service.d/20-new.conf".into()];
        let drop_ins = stored.drop_ins("h", std::iter::once(&status));
        let texts: Vec<(&str, Option<&str>)> =
            drop_ins.iter().map(|((_, name), text)| (name.as_str(), text.as_deref())).collect();
        assert_eq!(texts, [("10-old.conf", Some("old")), ("20-new.conf", None)]);
    }

    #[test]
    fn packages_that_were_not_there_may_go() {
        let notes =
            Notes { packages: vec!["docker.io".into(), "docker-cli".into()], files: vec![], stored: BTreeMap::new() };
        let versions = Versions::from([("docker.io".to_owned(), "20.10.24-1".to_owned())]);
        assert_eq!(absent(&notes, &versions), ["docker-cli"]);
    }
}
