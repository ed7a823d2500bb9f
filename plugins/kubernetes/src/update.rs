//! Update of one part of one host.

use std::collections::BTreeMap;

use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{Answers, HostInfo, Inputs, Invocation, Problem, Report, ReportBuilder, refused};

use crate::change::{Change, is_silence};
use crate::cluster::{self, View};
use crate::hosts::{self, Details, Software};
use crate::nodes::Node;
use crate::parameters::{self, Update};
use crate::parts::{self, Part};
use crate::preflight::{self, Assessment, Demands, Rules};
use crate::version::{self, Found, Role, Version};

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parameters::of(invocation)?;
    let host = invocation.host()?;
    let cluster = Cluster(invocation.cluster()?);
    let layout = parameters.layout();
    let (software, details) = looked_at(hosts::everything(std::slice::from_ref(host), layout))?;
    let wanted = parameters
        .part
        .wanted(&host.name, &software.installed(), &parameters.versions)
        .map_err(|message| refused("nothing-to-update", host.name.as_str(), message))?;

    let demands = Demands {
        directory: layout.directory,
        operating_systems: &parameters.operating_systems,
        free_space_mib: parameters.free_space_mib,
        downgrade: false,
    };
    let mut found = preflight::of_host(&host.name, &software, &details, &wanted, demands);
    for message in parts::unknown(&parameters.versions) {
        found.refuse("unknown-package", "versions", message);
    }
    let rules = Rules { managers: &parameters.managed_by, delete_emptydir_data: None };
    found.add(of_cluster(cluster, host, parameters.part, &software, &details, &wanted, rules)?);
    let mut report = ReportBuilder::new();
    report.warnings(accepted(found)?);

    let change = Change {
        cluster,
        host,
        part: parameters.part,
        layout,
        admin_kubeconfig: &parameters.admin_kubeconfig,
        wanted,
        saved: BTreeMap::new(),
        downgrade: false,
        install_timeout: parameters.install_timeout,
        ready_timeout: parameters.ready_timeout,
    };
    change.carry_out(&software, &details, &mut report)
}

/// The one host of an operation on a host.
pub(crate) fn looked_at(hosts: Vec<hosts::Host<'_, (Software, Details)>>) -> Result<(Software, Details), Problem> {
    Ok(hosts.into_iter().map(|host| host.found).collect::<Vec<_>>().one()?)
}

/// The warnings, when nothing is refused.
pub(crate) fn accepted(found: Assessment) -> Result<Vec<sdk::Finding>, Problem> {
    if found.refusals.is_empty() { Ok(found.warnings) } else { Err(Problem::Refused(found.refusals)) }
}

/// What the cluster has against it. An API server whose own update was cut short cannot be asked.
fn of_cluster(
    cluster: Cluster<'_>,
    host: &HostInfo,
    part: Part,
    software: &Software,
    details: &Details,
    wanted: &Versions,
    rules: Rules<'_>,
) -> Result<Assessment, Problem> {
    let mut found = Assessment::default();
    let server = match cluster::server(cluster) {
        Ok(server) => server,
        Err(failure) if part == Part::KubeApiserver && is_silence(&failure) && is_open(details) => {
            let message = "the API server does not answer since its own update was cut short: what was looked at before \
                           that update began is not looked at again";
            found.warn("api-server-silent", "cluster", message);
            return Ok(found);
        }
        Err(failure) => return Err(failure.into()),
    };
    let Some(running) = Version::parse(&server.version) else {
        found.refuse(
            "unknown-version",
            "cluster",
            format!("the API server says that its version is {}", server.version),
        );
        return Ok(found);
    };
    match part {
        Part::KubeApiserver => {
            let view = View::read(cluster)?;
            if let Some(to) = wanted.get("kube-apiserver").and_then(|version| Version::parse(version)) {
                if let Some(message) = version::step(running, to) {
                    found.refuse("version-skipped", "kube-apiserver", message);
                }
                refuse_skew(&mut found, to, &around(software, &view.nodes));
            }
            found.add(preflight::of_cluster(&view, rules));
        }
        Part::Controllers => {
            refuse_skew(&mut found, running, &of_versions(wanted));
            found.refusals.extend(preflight::of_pods(&View::read(cluster)?, rules).refusals);
        }
        Part::Node => {
            refuse_skew(&mut found, running, &of_versions(wanted));
            let node = cluster::node_of(cluster, host)?;
            found.add(preflight::of_pods(&View::of_node(cluster, &node.id.name)?, rules));
        }
    }
    Ok(found)
}

/// Whether an operation on the API server of this host began and did not end.
pub(crate) fn is_open(details: &Details) -> bool {
    details.record.as_ref().is_some_and(|record| record.awaits("kube-apiserver.service"))
}

/// Adds what the rules of skew say.
pub(crate) fn refuse_skew(found: &mut Assessment, api_server: Version, parts: &[Found]) {
    for message in version::skew(api_server, parts) {
        found.refuse("version-skew", "cluster", message);
    }
}

/// What stays around an API server that changes: the controllers of its host and every node.
pub(crate) fn around(software: &Software, nodes: &[Node]) -> Vec<Found> {
    let controllers = Part::Controllers.core().iter().filter_map(|name| {
        let version = Version::parse(software.version(name)?)?;
        Some(Found { part: (*name).to_owned(), version, role: Role::Controller })
    });
    let kubelets = nodes.iter().filter_map(|node| {
        let version = Version::parse(&node.kubelet)?;
        Some(Found { part: format!("kubelet of {}", node.name), version, role: Role::Node })
    });
    controllers.chain(kubelets).collect()
}

/// Wanted versions as the rules of skew see them; kubectl is no part of the cluster.
pub(crate) fn of_versions(wanted: &Versions) -> Vec<Found> {
    wanted
        .iter()
        .filter_map(|(name, version)| {
            let role = if Part::Controllers.core().contains(&name.as_str()) {
                Role::Controller
            } else if name == "kubelet" || name == "kube-proxy" {
                Role::Node
            } else {
                return None;
            };
            Some(Found { part: name.clone(), version: Version::parse(version)?, role })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::software_of;
    use crate::nodes::tests::node;

    #[test]
    fn what_is_around_an_api_server_is_held_against_it() {
        let software = software_of(&["kube-apiserver=1.34.4-1", "kube-scheduler=1.34.4-1", "kubectl=1.34.4-1"]);
        let around = around(&software, &[node("n1", "1")]);
        let names: Vec<&str> = around.iter().map(|found| found.part.as_str()).collect();
        assert_eq!(names, ["kube-scheduler", "kubelet of n1"]);
        let mut found = Assessment::default();
        let Some(to) = Version::parse("1.33.13-1") else { panic!("a version") };
        refuse_skew(&mut found, to, &around);
        assert_eq!(found.refusals.len(), 1);
        assert_eq!(found.refusals[0].code, "version-skew");
        assert!(accepted(found).is_err());
    }

    #[test]
    fn kubectl_is_no_part_of_the_cluster() {
        let wanted = [("kubectl", "1.35.0-1"), ("kubelet", "1.34.4-1"), ("kube-scheduler", "1.34.4-1")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        let found = of_versions(&Versions::from(wanted));
        assert_eq!(found.len(), 2);
    }
}
