//! Backup: configuration of every host, versions with the proof that they can be had again, and what the API serves.

use sdk::api::artifacts::{self, PutOrder};
use sdk::api::progress;
use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{Answers, Artifact, Failure, Findings, Inputs, Invocation, Problem, Report, ReportBuilder};

use crate::discovery::{self, Discovery};
use crate::hosts::{self, Software};
use crate::parameters::{self, Backup};
use crate::{cluster, configuration, parts, preflight};

/// Files in one call.
const TOGETHER: usize = 500;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parameters::of(invocation)?;
    let cluster = Cluster(invocation.cluster()?);
    let layout = parameters.layout();
    let mut report = ReportBuilder::new();
    let mut refusals = Findings::new();
    let mut fetches: Vec<(String, Versions)> = Vec::new();
    let mut orders: Vec<PutOrder> = Vec::new();

    for host in hosts::everything(&invocation.target.hosts, layout) {
        let (software, details) = host.found?;
        let name = host.info.name.as_str();
        let files = &details.configuration.files;
        refusals.extend(preflight::layout(name, files.keys().map(String::as_str), layout.directory).refusals);
        for (package, status) in software.packages.iter().filter(|(_, status)| status.broken) {
            let version = status.version.as_deref().unwrap_or("none");
            let message = format!(
                "package {package} ({version}) on host {name} is half installed: a set of it could not be gone back to"
            );
            refusals.add("half-installed", name, message);
        }
        if !preflight::has_part(&software.installed()) {
            report.warn("no-part", name, format!("host {name} has no part of Kubernetes"));
        }
        let versions = installed(&software);
        for (package, version) in &versions {
            report.host_version(name, package, version);
        }
        refusals.extend(not_offered(name, &software, &versions));
        for path in details.record.iter().flat_map(|record| record.edited(files)) {
            let message = format!("{path} on host {name} was changed by hand since the last operation here");
            report.warn("edited-configuration", name, message);
        }
        for (path, target) in &details.configuration.links {
            let message = format!("{path} on host {name} is a link to {target}: it is not in the backup set");
            report.warn("link-not-saved", name, message);
        }
        fetches.push((name.to_owned(), versions));
        orders.extend(configuration::saving(name, files));
    }
    refusals.refuse()?;

    let discovery = Discovery::of(&cluster::server(cluster)?);
    progress::show("proving that every host can fetch its packages again", None, None);
    sdk::packages::fetch(&fetches, parameters.fetch_timeout.0)?;
    let stored = store(&orders)?;
    report.artifacts(&stored);
    let value = serde_json::to_value(&discovery).unwrap_or_default();
    report.artifacts(&sdk::artifacts::put_json(&[(discovery::ARTIFACT, &value)])?);
    if let Some(coredns) = cluster::coredns(cluster)?
        && let Some(version) = cluster::image_version(&coredns.body)
    {
        report.cluster_version(cluster.0, parts::COREDNS, version);
    }
    report.output("api-server", &discovery.version);
    Ok(report.finish(format!(
        "{} configuration files of {} hosts and the discovery of API server {} saved",
        stored.len(),
        fetches.len(),
        discovery.version
    )))
}

/// What a host has installed.
fn installed(software: &Software) -> Versions {
    software.packages.iter().filter_map(|(name, status)| Some((name.clone(), status.version.clone()?))).collect()
}

/// Packages that no repository of the host offers any more, so that nothing could go back to them.
fn not_offered(host: &str, software: &Software, versions: &Versions) -> Vec<sdk::Finding> {
    versions
        .iter()
        .filter(|(name, version)| software.packages.get(*name).is_none_or(|status| !status.available.contains(version)))
        .map(|(name, version)| {
            let message = format!(
                "package {name} {version} of host {host} is in no enabled repository any more, so a backout could not \
                 install it"
            );
            sdk::finding("package-unavailable", host, message)
        })
        .collect()
}

fn store(orders: &[PutOrder]) -> Result<Vec<Artifact>, Failure> {
    let mut stored = Vec::with_capacity(orders.len());
    for orders in orders.chunks(TOGETHER) {
        progress::show("saving configuration", u32::try_from(stored.len()).ok(), None);
        stored.extend(artifacts::put(orders).all()?);
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::software_of;

    #[test]
    fn what_could_not_be_had_again_is_named() {
        let software =
            software_of(&["kubelet=1.33.13-1/1.33.13-1,1.34.4-1", "kube-proxy=1.33.13-1/1.34.4-1", "kubectl"]);
        let versions = installed(&software);
        assert_eq!(versions.len(), 2);
        let found = not_offered("n1", &software, &versions);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.starts_with("package kube-proxy 1.33.13-1 of host n1"));
    }
}
