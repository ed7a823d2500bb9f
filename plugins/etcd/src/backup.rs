//! Backup: a snapshot of the data, checked, and every member's configuration.
//!
//! The snapshot is taken from the leader, which is the one sure to have all data
//! (<https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/>, step 2).

use std::collections::BTreeMap;

use runner_plugin_sdk::api::files as file_api;
use runner_plugin_sdk::api::types::Label;
use runner_plugin_sdk::packages::{self, Installed};
use runner_plugin_sdk::{
    Answers, Artifact, Failure, Finding, Inputs, Invocation, Presence, Problem, Report, ReportBuilder, artifacts,
    finding, parse, refused,
};
use serde::{Deserialize, Serialize};

use crate::etcdctl::{self, SnapshotStatus};
use crate::parameters::{Backup, Versions};
use crate::site::{Expected, Site};
use crate::view::{Seen, View};

/// Name of the snapshot in the backup set.
pub const SNAPSHOT: &str = "snapshot.db";
/// Seconds that saving or reading a snapshot may take: 8 GiB, the greatest database etcd suggests, at 10 MiB a second.
pub const SNAPSHOT_SECONDS: u32 = 900;
/// Seconds that fetching the packages may take.
const FETCH_SECONDS: u32 = 900;

/// What a backup leaves in the set for the backout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notes {
    /// What is in the snapshot.
    pub snapshot: SnapshotStatus,
    /// Host that took it.
    pub taken_from: String,
    /// Number of the cluster, as text: it does not fit into JSON's numbers everywhere.
    pub cluster_id: String,
    /// Configuration files, with the artifacts that hold them.
    pub files: Vec<FileNote>,
}

/// A configuration file in the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Host that it belongs on.
    pub host: String,
    /// Where it belongs.
    pub path: String,
    /// Name of its artifact.
    pub artifact: String,
}

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parse(invocation)?;
    let site = Site::read(invocation, parameters.settings())?;
    let hosts = site.hosts();
    let names = [site.settings.server_package.as_str(), site.settings.client_package.as_str()];
    let installed = packages::status(&hosts, &names)?;
    let versions = to_keep(&installed, &names).map_err(Problem::Refused)?;

    let view = site.look(&Expected::default())?;
    let mut report = ReportBuilder::new();
    report.warnings(view.findings(None));
    let source = source(&view)?;

    let (snapshot, artifact) = take_snapshot(invocation, &site, &parameters, &view, source)?;
    let (files, configuration) = save_configuration(&site, &parameters)?;
    // A backout needs the packages of today. That they can be had is only known once they are there.
    packages::fetch(&versions, FETCH_SECONDS)?;

    let revision = snapshot.revision;
    let size = snapshot.total_size;
    report.artifact(&artifact).artifacts(&configuration).versions(packages::versions(&installed));
    report.outputs(&Notes {
        snapshot,
        taken_from: source.host.clone(),
        cluster_id: source.status.as_ref().map(|status| status.header.cluster_id).unwrap_or(0).to_string(),
        files,
    });
    Ok(report.finish(format!(
        "snapshot of etcd at revision {revision} ({size} bytes) from {}, configuration of {} members",
        source.host,
        hosts.len()
    )))
}

/// Versions that a backout will need, by host; findings where they are not known.
fn to_keep(installed: &Installed, names: &[&str]) -> Result<Vec<(String, Versions)>, Vec<Finding>> {
    let mut keep = Vec::new();
    let mut findings = Vec::new();
    for (host, packages) in installed {
        let mut versions = BTreeMap::new();
        for name in names {
            match packages.get(*name).and_then(|status| status.version.clone()) {
                Some(version) => drop(versions.insert((*name).to_owned(), version)),
                None => {
                    let message = format!("package {name} is not installed on host {host}");
                    findings.push(finding("not-installed", host.as_str(), message));
                }
            }
        }
        keep.push((host.clone(), versions));
    }
    if findings.is_empty() { Ok(keep) } else { Err(findings) }
}

/// The member to take the snapshot from: the leader, else whoever is healthy. Corrupt data is not worth saving.
fn source(view: &View) -> Result<&Seen, Problem> {
    if let Ok(alarms) = &view.alarms
        && alarms.iter().any(|alarm| alarm.kind() == "CORRUPT")
    {
        return Err(refused(
            "alarm",
            "etcd",
            "etcd has raised the alarm CORRUPT: a snapshot of its data would be of no use",
        ));
    }
    let leader = view.leader().and_then(|host| view.on(host)).filter(|seen| seen.health.is_ok());
    let healthy = || view.seen.iter().find(|seen| seen.health.is_ok() && seen.status.is_ok());
    leader.or_else(healthy).ok_or_else(|| Problem::Refused(view.findings(None)))
}

/// Saves, checks and stores the snapshot. Its file on the host goes away however that ends.
fn take_snapshot(
    invocation: &Invocation,
    site: &Site,
    parameters: &Backup,
    view: &View,
    source: &Seen,
) -> Result<(SnapshotStatus, Artifact), Problem> {
    let host = source.host.as_str();
    let spool = parameters.spool.trim_end_matches('/');
    let etcdctl = site.etcdctl_on(host).ok_or_else(|| refused("no-members", host, "the host is none of the step"))?;
    let directory = file_api::DirectoryOrder {
        host: host.to_owned(),
        path: spool.to_owned(),
        attributes: Some(file_api::Attributes { mode: Some(0o700), owner: None, group: None, context: None }),
    };
    file_api::make_directory(&[directory]).one()?;
    let room = file_api::space(&[runner_plugin_sdk::files::at(host, spool)]).one()?;
    let needed = room_for(view.size());
    if room.available < needed {
        let message =
            format!("{spool} on host {host} has room for {} bytes, a snapshot of etcd needs {needed}", room.available);
        return Err(refused("no-room", host, message));
    }
    let path = format!("{spool}/snapshot-{}.db", invocation.stamp_name());
    let stored = save_and_store(&etcdctl, view, &path);
    // The snapshot holds every Secret of the cluster; what `etcdctl` leaves when it is cut off is as bad.
    let leftovers = [path.clone(), format!("{path}.part")];
    let removals: Vec<_> = leftovers
        .into_iter()
        .map(|path| file_api::RemovalOrder {
            host: host.to_owned(),
            path,
            recursive: false,
            contents_only: false,
            precondition: file_api::Precondition::Anything,
        })
        .collect();
    let removed = file_api::remove(&removals).all();
    let (snapshot, artifact) = stored?;
    removed?;
    Ok((snapshot, artifact))
}

fn save_and_store(
    etcdctl: &etcdctl::Etcdctl<'_>,
    view: &View,
    path: &str,
) -> Result<(SnapshotStatus, Artifact), Failure> {
    etcdctl.save_snapshot(path, SNAPSHOT_SECONDS).run()?;
    let forecast =
        SnapshotStatus { revision: view.revision().unwrap_or(0), total_size: view.size(), ..SnapshotStatus::default() };
    let text = etcdctl::snapshot_status(etcdctl.host, path, SNAPSHOT_SECONDS, &forecast).text()?;
    let snapshot = etcdctl::snapshot(&text).map_err(|why| etcdctl::unreadable(etcdctl.host, why))?;
    let mut order = artifacts::file(etcdctl.host, path, SNAPSHOT);
    let labels = [("revision", snapshot.revision.to_string()), ("hash", format!("{:08x}", snapshot.hash))];
    order.labels = labels.map(|(name, value)| Label { name: name.to_owned(), value }).to_vec();
    let artifact = runner_plugin_sdk::api::artifacts::put(&[order]).one()?;
    Ok((snapshot, artifact))
}

/// Room that a snapshot of a database of that size needs: it may grow while it is taken.
fn room_for(size: u64) -> u64 {
    size.saturating_add(size / 10).saturating_add(16 * 1024 * 1024)
}

fn save_configuration(site: &Site, parameters: &Backup) -> Result<(Vec<FileNote>, Vec<Artifact>), Problem> {
    let mut notes = Vec::new();
    let mut orders = Vec::new();
    let config = &site.settings.config;
    let more = parameters.more_configuration.iter();
    let paths = std::iter::once(config).chain(more.filter(|path| *path != config));
    for seat in &site.seats {
        for path in paths.clone() {
            let artifact = format!("{}{path}", seat.host);
            orders.push(artifacts::file(&seat.host, path, &artifact));
            notes.push(FileNote { host: seat.host.clone(), path: path.clone(), artifact });
        }
    }
    let stored = runner_plugin_sdk::api::artifacts::put(&orders);
    let stored = stored.into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
    // Only the further files may be absent: the first one has been read already.
    Ok(notes.into_iter().zip(stored).filter_map(|(note, artifact)| Some((note, artifact?))).unzip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdctl::Alarm;
    use crate::view::tests::{cluster, member};
    use runner_plugin_sdk::api::packages::PackageStatus;

    fn three() -> View {
        cluster((1..=3).map(|n| member(n, "3.5.35", "")).collect())
    }

    #[test]
    fn the_leader_is_the_source_and_else_whoever_is_healthy() {
        let mut view = three();
        assert_eq!(source(&view).map(|seen| seen.host.as_str()).ok(), Some("h1"));
        view.seen[0].health = Err("slow".into());
        assert_eq!(source(&view).map(|seen| seen.host.as_str()).ok(), Some("h2"));
        for seen in &mut view.seen {
            seen.health = Err("down".into());
        }
        assert!(matches!(source(&view), Err(Problem::Refused(findings)) if findings.len() == 3));
    }

    #[test]
    fn corrupt_data_is_not_saved() {
        let mut view = three();
        view.alarms = Ok(vec![Alarm { member_id: 1, alarm: 1 }]);
        assert!(source(&view).is_ok());
        view.alarms = Ok(vec![Alarm { member_id: 1, alarm: 2 }]);
        assert!(source(&view).is_err());
    }

    #[test]
    fn what_is_not_installed_cannot_be_kept() {
        let status = |version: Option<&str>| PackageStatus {
            name: String::new(),
            version: version.map(str::to_owned),
            broken: false,
            held: false,
            available: vec![],
        };
        let packages = BTreeMap::from([("s".to_owned(), status(Some("1"))), ("c".to_owned(), status(None))]);
        let installed = Installed::from([("h".to_owned(), packages)]);
        assert_eq!(to_keep(&installed, &["s"]).unwrap()[0].1["s"], "1");
        assert_eq!(to_keep(&installed, &["s", "c"]).unwrap_err().len(), 1);
    }

    #[test]
    fn a_snapshot_needs_more_room_than_the_database() {
        assert!(room_for(0) > 0);
        assert!(room_for(1 << 30) > (1 << 30) + (1 << 26));
        assert_eq!(room_for(u64::MAX), u64::MAX);
    }

    #[test]
    fn notes_are_read_back_as_they_were_written() {
        let notes = Notes {
            snapshot: etcdctl::snapshot(include_str!("../fixtures/snapshot-3.5.json")).unwrap(),
            taken_from: "h1".into(),
            cluster_id: "17857285563427398504".into(),
            files: vec![FileNote { host: "h1".into(), path: "/c".into(), artifact: "h1/c".into() }],
        };
        let text = ReportBuilder::new().outputs(&notes).finish("").outputs;
        assert_eq!(serde_json::from_str::<Notes>(&text).unwrap(), notes);
    }
}
