//! The preflight as a gate of its own: what an update or backout would refuse, before a run changes anything.

use sdk::api::kubernetes::Server;
use sdk::api::log::{self, Level};
use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{Checks, Finding, Inputs, Invocation, Label, Place, Problem, Verification};

use crate::backout::{discovery_of, versions_of};
use crate::change::is_silence;
use crate::cluster::{self, View};
use crate::discovery::{self, Discovery};
use crate::hosts;
use crate::parameters::{Direction, Unserved, Verify};
use crate::preflight::{self, Assessment, Demands, Rules, of_every_part};
use crate::update::{accepted, is_open, of_versions, refuse_skew};
use crate::verify::on;
use crate::version::{self, Found, Version};

/// Everything that would refuse an update (or, with a backup set, a backout), on every host and in the cluster. As a
/// gate it refuses with all findings, in the words that the operation itself would use.
pub(crate) fn preflight(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
    let name = invocation.cluster()?;
    let cluster = Cluster(name);
    let layout = parameters.layout();
    let backout = parameters.operation == Direction::Backout;
    let set = invocation.backup_set().ok().filter(|_| backout);
    let mut checks = Checks::new();
    let mut found = Assessment::default();
    let mut plans: Vec<Found> = Vec::new();
    let mut server_to = None;
    let mut silent = None;
    let mut interrupted = false;
    for host in hosts::everything(&invocation.target.hosts, layout) {
        let (software, details) = match host.found {
            Ok(found) => found,
            Err(failure) => {
                found.refuse("host-not-seen", host.info.name.as_str(), failure.message.as_str());
                silent = silent.or(Some(failure));
                continue;
            }
        };
        interrupted |= is_open(&details);
        let host_name = host.info.name.as_str();
        let versions = match set {
            Some(set) => versions_of(set, host_name),
            None if backout => Versions::new(),
            None => parameters.versions.clone(),
        };
        let wanted = of_every_part(&software.installed(), &versions);
        let demands = Demands {
            directory: layout.directory,
            operating_systems: &parameters.operating_systems,
            free_space_mib: parameters.free_space_mib,
            downgrade: backout,
        };
        for (package, status) in &software.packages {
            if let Some(version) = &status.version {
                checks.version(on(host.info), package, version);
            }
        }
        let after = preflight::together(&software, &wanted);
        if let Some(to) = after.get("kube-apiserver").and_then(|version| Version::parse(version)) {
            server_to = Some(server_to.map_or(to, |known: Version| known.min(to)));
        }
        plans.extend(
            of_versions(&after)
                .into_iter()
                .map(|found| Found { part: format!("{} of host {host_name}", found.part), ..found }),
        );
        found.add(preflight::of_host(host_name, &software, &details, &wanted, demands));
    }
    match cluster::server(cluster) {
        Ok(server) => found.add(of_cluster(cluster, parameters, set, &server, &plans, server_to)?),
        // Only that operation, begun again, can bring it back.
        Err(failure) if interrupted && is_silence(&failure) => found.warn(
            "api-server-silent",
            "cluster",
            "the API server does not answer since an operation on it was cut short: Pods and nodes are not looked at",
        ),
        Err(failure) => return Err(failure.into()),
    }
    for Finding { code, subject, message } in &found.warnings {
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        log::write(Level::Warn, message, &[label("code", code), label("subject", subject)]);
    }
    match silent {
        // Only a host that does not answer is in the way: the failure says so better than a refusal.
        Some(failure) if found.refusals.iter().all(|finding| finding.code == "host-not-seen") => {
            return Err(failure.into());
        }
        _ => accepted(found)?,
    };
    checks.check("preflight", Place::Cluster(name.to_owned()), CLEAR, CLEAR, true);
    Ok(checks.finish())
}

/// What the preflight expects.
const CLEAR: &str = "nothing in the way";

fn of_cluster(
    cluster: Cluster<'_>,
    parameters: &Verify,
    set: Option<sdk::Backup<'_>>,
    server: &Server,
    plans: &[Found],
    server_to: Option<Version>,
) -> Result<Assessment, Problem> {
    let rules = Rules { managers: &parameters.managed_by, delete_emptydir_data: Some(parameters.delete_emptydir_data) };
    let view = View::read(cluster)?;
    let mut found = preflight::of_cluster(&view, rules);
    if !server.ready {
        found.refuse("api-server-not-ready", "cluster", format!("the API server {} is not ready", server.version));
    }
    if let Some(running) = Version::parse(&server.version) {
        let to = server_to.unwrap_or(running);
        if parameters.operation == Direction::Update
            && let Some(message) = version::step(running, to)
        {
            found.refuse("version-skipped", "kube-apiserver", message);
        }
        refuse_skew(&mut found, to, plans);
    }
    if let Some(set) = set.filter(|_| parameters.unserved_objects == Unserved::Refuse) {
        found.add(discovery::unserved(cluster, &Discovery::of(server), &discovery_of(set)?)?);
    }
    Ok(found)
}
