//! Backout of one part of one host, to the versions and the configuration of the backup set.

use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{Backup, HostInfo, Inputs, Invocation, Problem, Report, ReportBuilder, refused};

use crate::change::{Change, is_silence};
use crate::cluster;
use crate::configuration;
use crate::discovery::{self, Discovery};
use crate::hosts::{self, Details, Software};
use crate::parameters::{self, Backout, Unserved};
use crate::parts::{PACKAGES, Part};
use crate::preflight::{self, Assessment, Demands};
use crate::update::{accepted, around, is_open, looked_at, of_versions, refuse_skew};
use crate::version::Version;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parameters::of(invocation)?;
    let host = invocation.host()?;
    let cluster = Cluster(invocation.cluster()?);
    let set = invocation.backup_set()?;
    let layout = parameters.layout();
    let (software, details) = looked_at(hosts::everything(std::slice::from_ref(host), layout))?;
    let versions = versions_of(set, &host.name);
    if versions.is_empty() {
        let message = format!("backup set {} has nothing of host {}", set.0.id, host.name);
        return Err(refused("host-not-in-set", host.name.as_str(), message));
    }
    let wanted = parameters
        .part
        .wanted(&host.name, &software.installed(), &versions)
        .map_err(|message| refused("nothing-to-back-out", host.name.as_str(), message))?;

    let demands = Demands {
        directory: layout.directory,
        operating_systems: &[],
        free_space_mib: parameters.free_space_mib,
        downgrade: true,
    };
    let mut found = preflight::of_host(&host.name, &software, &details, &wanted, demands);
    found.add(of_cluster(cluster, host, &parameters, set, &software, &details, &wanted)?);
    let saved = configuration::saved(set, &host.name);
    for path in configuration::added(&software.whose(&host.name), parameters.part, &saved, &details.configuration.files)
    {
        let message = format!("{path} on host {} came after backup set {} was made; it is kept", host.name, set.0.id);
        found.warn("file-not-in-set", host.name.as_str(), message);
    }
    let mut report = ReportBuilder::new();
    report.warnings(accepted(found)?);

    let change = Change {
        cluster,
        host,
        part: parameters.part,
        layout,
        admin_kubeconfig: &parameters.admin_kubeconfig,
        wanted,
        saved,
        downgrade: true,
        install_timeout: parameters.install_timeout,
        ready_timeout: parameters.ready_timeout,
    };
    change.carry_out(&software, &details, &mut report)
}

/// Versions that a set has of the packages of a host.
pub(crate) fn versions_of(set: Backup<'_>, host: &str) -> Versions {
    set.versions_on(host)
        .filter(|found| PACKAGES.contains(&found.part.as_str()))
        .map(|found| (found.part.clone(), found.version.clone()))
        .collect()
}

/// What the API server of a set served.
pub(crate) fn discovery_of(set: Backup<'_>) -> Result<Discovery, Problem> {
    let value = set.json(discovery::ARTIFACT)?;
    serde_json::from_value(value).map_err(|error| {
        refused("unreadable-backup", discovery::ARTIFACT, format!("{} cannot be read: {error}", discovery::ARTIFACT))
    })
}

/// What the cluster has against it. An API server that does not answer cannot say what is stored.
fn of_cluster(
    cluster: Cluster<'_>,
    host: &HostInfo,
    parameters: &Backout,
    set: Backup<'_>,
    software: &Software,
    details: &Details,
    wanted: &Versions,
) -> Result<Assessment, Problem> {
    let mut found = Assessment::default();
    let server = match cluster::server(cluster) {
        Ok(server) => server,
        Err(failure) if parameters.part == Part::KubeApiserver && is_silence(&failure) => {
            let message = format!("the API server does not answer ({})", failure.message);
            if is_open(details) || parameters.unserved_objects == Unserved::Restore {
                found.warn("api-server-silent", "cluster", message);
            } else {
                let message = format!(
                    "{message}, so it cannot be seen whether objects are stored that the old one does not serve: mend \
                     it, or choose a restore of etcd by unserved-objects"
                );
                found.refuse("api-server-silent", "cluster", message);
            }
            return Ok(found);
        }
        Err(failure) => return Err(failure.into()),
    };
    if parameters.unserved_objects == Unserved::Refuse {
        found.add(discovery::unserved(cluster, &Discovery::of(&server), &discovery_of(set)?)?);
    }
    let target = match parameters.part {
        Part::KubeApiserver => wanted.get("kube-apiserver").and_then(|version| Version::parse(version)),
        Part::Controllers | Part::Node => Version::parse(&server.version),
    };
    if parameters.part == Part::Node {
        cluster::node_of(cluster, host)?;
    }
    if let Some(target) = target {
        let parts = match parameters.part {
            Part::KubeApiserver => around(software, &cluster::nodes(cluster)?),
            Part::Controllers | Part::Node => of_versions(wanted),
        };
        refuse_skew(&mut found, target, &parts);
    }
    Ok(found)
}
