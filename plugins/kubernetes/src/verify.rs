//! Verify: what is installed, whether it works, and, as a gate, what an update or backout would refuse.

use std::collections::BTreeSet;

use sdk::api::log::{self, Level};
use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{
    Checks, Depth, Finding, Findings, HostInfo, Inputs, Invocation, Label, Place, Problem,
    Verification, units,
};

use crate::backout::{discovery_of, versions_of};
use crate::cluster::{self, View};
use crate::discovery::{self, Discovery};
use crate::hosts::{self, Host, Software};
use crate::parameters::{self, Direction, Unserved, Verify};
use crate::parts::{COREDNS, RUNNING, unit, unknown};
use crate::preflight::{self, Assessment, Demands, Rules, of_every_part};
use crate::update::{accepted, of_versions, refuse_skew};
use crate::version::{self, Found, Role, Version};
use crate::workloads::placement;

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parameters::of(invocation)?;
    let mut wrong = Findings::new();
    for message in unknown(&parameters.versions) {
        wrong.add("unknown-package", "versions", message);
    }
    wrong.refuse()?;
    match depth {
        Depth::Versions => versions(invocation, &parameters),
        Depth::Health if parameters.preflight => preflight(invocation, &parameters),
        Depth::Health => health(invocation, &parameters),
    }
}

fn on(host: &HostInfo) -> Place {
    Place::Host(host.name.clone())
}

fn versions(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
    let mut checks = Checks::new();
    installed(
        &hosts::software(&invocation.target.hosts),
        &parameters.versions,
        &mut checks,
    );
    // Packages can be asked while the cluster is down; CoreDNS is then left out.
    if let Some(name) = &invocation.target.cluster
        && let Ok(Some(found)) = cluster::coredns(Cluster(name))
    {
        coredns(name, &found, &parameters.versions, &mut checks);
    }
    Ok(checks.finish())
}

/// Versions of every host, held against what is expected.
fn installed(hosts: &[Host<'_, Software>], expected: &Versions, checks: &mut Checks) {
    for host in hosts {
        let software = match &host.found {
            Ok(software) => software,
            Err(failure) => {
                checks.unknown(
                    "packages",
                    on(host.info),
                    "installed packages",
                    failure.message.as_str(),
                );
                continue;
            }
        };
        for (name, status) in &software.packages {
            let Some(version) = &status.version else {
                continue;
            };
            checks.version(on(host.info), name, version);
            if let Some(wanted) = expected.get(name) {
                checks.equal(
                    "version",
                    on(host.info),
                    format!("{name} {wanted}"),
                    format!("{name} {version}"),
                );
            }
            if status.broken {
                checks.check(
                    "installed",
                    on(host.info),
                    format!("{name} installed"),
                    "half installed",
                    false,
                );
            }
        }
    }
}

fn coredns(
    cluster: &str,
    found: &sdk::kubernetes::Object,
    expected: &Versions,
    checks: &mut Checks,
) {
    let place = || Place::Cluster(cluster.to_owned());
    let Some(version) = cluster::image_version(&found.body) else {
        return;
    };
    checks.version(place(), COREDNS, version);
    if let Some(wanted) = expected.get(COREDNS) {
        checks.equal(
            "version",
            place(),
            format!("{COREDNS} {wanted}"),
            format!("{COREDNS} {version}"),
        );
    }
}

fn health(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
    let name = invocation.cluster()?;
    let cluster = Cluster(name);
    let place = || Place::Cluster(name.to_owned());
    let hosts = hosts::software(&invocation.target.hosts);
    let mut checks = Checks::new();
    installed(&hosts, &parameters.versions, &mut checks);
    running(&hosts, &mut checks);
    let server = match cluster::server(cluster) {
        Ok(server) => server,
        Err(failure) => {
            checks.check(
                "api-server-ready",
                place(),
                "ready",
                failure.message.as_str(),
                false,
            );
            for what in ["node-ready", "workload-ready"] {
                checks.unknown(what, place(), "ready", "the API server does not answer");
            }
            return Ok(checks.finish());
        }
    };
    checks.check(
        "api-server-ready",
        place(),
        "ready",
        if server.ready { "ready" } else { "not ready" },
        server.ready,
    );
    api_version(&hosts, &server.version, place(), &mut checks);
    let view = View::read(cluster)?;
    nodes(&hosts, &view, &place(), &mut checks);
    for workload in &view.workloads {
        let plain = format!("{}/{}", workload.namespace, workload.name);
        if !workload.is_ready() && !parameters.ignore_workloads.contains(&plain) {
            checks.check(
                "workload-ready",
                place(),
                format!("{} ready", workload.title()),
                workload.count(),
                false,
            );
        }
    }
    let short = view
        .workloads
        .iter()
        .filter(|workload| !workload.is_ready())
        .count();
    if short == 0 {
        let all = format!("{} workloads with their ready count", view.workloads.len());
        checks.check("workload-ready", place(), all.as_str(), all.as_str(), true);
    }
    if let Some(found) = cluster::coredns(cluster)? {
        coredns(name, &found, &parameters.versions, &mut checks);
    }
    let pods = placement(&view.pods);
    checks.check("placement", place(), "shown", pods.as_str(), true);
    log::write(Level::Info, &format!("Pods by node: {pods}"), &[]);
    Ok(checks.finish())
}

/// Units of what each host has installed.
fn running(hosts: &[Host<'_, Software>], checks: &mut Checks) {
    for host in hosts {
        let Ok(software) = &host.found else { continue };
        for name in RUNNING.into_iter().filter(|name| software.runs(name)) {
            let status = unit(name).and_then(|unit| software.units.get(&unit));
            match status {
                Some(status) => checks.check(
                    "unit-active",
                    on(host.info),
                    format!("{} active", status.unit),
                    format!("{} {}", status.unit, status.active_state),
                    units::is_active(status),
                ),
                None => checks.unknown(
                    "unit-active",
                    on(host.info),
                    format!("{name} active"),
                    "no answer",
                ),
            };
        }
    }
}

/// The API server runs what is installed, and nothing is newer than it.
fn api_version(hosts: &[Host<'_, Software>], answered: &str, place: Place, checks: &mut Checks) {
    let Some(running) = Version::parse(answered) else {
        checks.unknown("api-server-version", place, "a version", answered);
        return;
    };
    let has = |package: &str| -> Vec<(&str, Version)> {
        hosts
            .iter()
            .filter_map(|host| {
                let software = host.found.as_ref().ok()?;
                Some((
                    host.info.name.as_str(),
                    Version::parse(software.version(package)?)?,
                ))
            })
            .collect()
    };
    let servers = has("kube-apiserver");
    if !servers.is_empty() {
        let installed: BTreeSet<Version> = servers.iter().map(|(_, version)| *version).collect();
        let expected: Vec<String> = installed.iter().map(Version::to_string).collect();
        let good = installed.contains(&running);
        checks.check(
            "api-server-version",
            place.clone(),
            expected.join(" or "),
            running.to_string(),
            good,
        );
    }
    let oldest = servers
        .iter()
        .map(|(_, version)| *version)
        .min()
        .unwrap_or(running);
    let roles = [
        ("kube-controller-manager", Role::Controller),
        ("kube-scheduler", Role::Controller),
        ("kubelet", Role::Node),
        ("kube-proxy", Role::Node),
    ];
    let parts: Vec<Found> = roles
        .into_iter()
        .flat_map(|(name, role)| {
            has(name).into_iter().map(move |(host, version)| Found {
                part: format!("{name} of host {host}"),
                version,
                role,
            })
        })
        .collect();
    let skew = version::skew(oldest, &parts);
    let observed = if skew.is_empty() {
        "so it is".to_owned()
    } else {
        skew.join("; ")
    };
    let expected =
        format!("nothing newer than kube-apiserver {oldest}, and nothing too old for it");
    checks.check("version-skew", place, expected, observed, skew.is_empty());
}

/// Every node is ready, and the nodes of the hosts run the kubelet that is installed there.
fn nodes(hosts: &[Host<'_, Software>], view: &View, place: &Place, checks: &mut Checks) {
    for node in &view.nodes {
        let observed = if node.ready { "ready" } else { "not ready" };
        let at = hosts
            .iter()
            .find(|host| cluster::node_name(host.info) == node.name)
            .map_or_else(|| place.clone(), |host| on(host.info));
        checks.check(
            "node-ready",
            at,
            format!("node {} ready", node.name),
            format!("node {} {observed}", node.name),
            node.ready,
        );
    }
    for host in hosts {
        let name = cluster::node_name(host.info);
        let Some(installed) = host
            .found
            .as_ref()
            .ok()
            .and_then(|software| software.version("kubelet"))
        else {
            continue;
        };
        match view.nodes.iter().find(|node| node.name == name) {
            Some(node) => {
                let good = Version::parse(&node.kubelet) == Version::parse(installed);
                checks.check(
                    "kubelet-version",
                    on(host.info),
                    installed,
                    node.kubelet.as_str(),
                    good,
                );
            }
            None => {
                checks.check(
                    "node-ready",
                    on(host.info),
                    format!("node {name}"),
                    "the cluster has no such node",
                    false,
                );
            }
        }
    }
}

/// Everything that would refuse an update (or, with a backup set, a backout), on every host and in the cluster. As a
/// gate it refuses with all findings, in the words that the operation itself would use.
fn preflight(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
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
    for host in hosts::everything(&invocation.target.hosts, layout) {
        let (software, details) = match host.found {
            Ok(found) => found,
            Err(failure) => {
                found.refuse(
                    "host-not-seen",
                    host.info.name.as_str(),
                    failure.message.as_str(),
                );
                silent = silent.or(Some(failure));
                continue;
            }
        };
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
        if let Some(to) = after
            .get("kube-apiserver")
            .and_then(|version| Version::parse(version))
        {
            server_to = Some(server_to.map_or(to, |known: Version| known.min(to)));
        }
        plans.extend(of_versions(&after).into_iter().map(|found| Found {
            part: format!("{} of host {host_name}", found.part),
            ..found
        }));
        found.add(preflight::of_host(
            host_name, &software, &details, &wanted, demands,
        ));
    }
    found.add(of_cluster(cluster, parameters, set, &plans, server_to)?);
    for Finding {
        code,
        subject,
        message,
    } in &found.warnings
    {
        let label = |name: &str, value: &str| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        log::write(
            Level::Warn,
            message,
            &[label("code", code), label("subject", subject)],
        );
    }
    match silent {
        // Only a host that does not answer is in the way: the failure says so better than a refusal.
        Some(failure)
            if found
                .refusals
                .iter()
                .all(|finding| finding.code == "host-not-seen") =>
        {
            return Err(failure.into());
        }
        _ => accepted(found)?,
    };
    checks.check(
        "preflight",
        Place::Cluster(name.to_owned()),
        CLEAR,
        CLEAR,
        true,
    );
    Ok(checks.finish())
}

/// What the preflight expects.
const CLEAR: &str = "nothing in the way";

fn of_cluster(
    cluster: Cluster<'_>,
    parameters: &Verify,
    set: Option<sdk::Backup<'_>>,
    plans: &[Found],
    server_to: Option<Version>,
) -> Result<Assessment, Problem> {
    let server = cluster::server(cluster)?;
    let rules = Rules {
        managers: &parameters.managed_by,
        delete_emptydir_data: Some(parameters.delete_emptydir_data),
    };
    let view = View::read(cluster)?;
    let mut found = preflight::of_cluster(&view, rules);
    if !server.ready {
        found.refuse(
            "api-server-not-ready",
            "cluster",
            format!("the API server {} is not ready", server.version),
        );
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
        found.add(discovery::unserved(
            cluster,
            &Discovery::of(&server),
            &discovery_of(set)?,
        )?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::software_of;
    use crate::nodes::tests::node;
    use sdk::{FailureKind, Verdict, failure};

    fn info(name: &str) -> HostInfo {
        HostInfo {
            name: name.into(),
            address: String::new(),
            node: Some(name.into()),
            groups: vec![],
            variables: "{}".into(),
        }
    }

    fn open(mut checks: Checks) -> Vec<(String, Verdict)> {
        let checks = checks.finish().checks;
        checks
            .into_iter()
            .filter(|check| check.verdict != Verdict::Pass)
            .map(|check| (check.name, check.verdict))
            .collect()
    }

    #[test]
    fn expected_versions_are_held_against_what_is_there() {
        let (one, lost) = (info("n1"), info("n2"));
        let hosts = [
            Host {
                info: &one,
                found: Ok(software_of(&["kubelet=1.33.13-1", "kube-proxy"])),
            },
            Host {
                info: &lost,
                found: Err(failure(FailureKind::Unreachable, "n2", "no answer")),
            },
        ];
        let expected = Versions::from([
            ("kubelet".to_owned(), "1.34.4-1".to_owned()),
            ("kube-proxy".to_owned(), "1.34.4-1".to_owned()),
        ]);
        let mut checks = Checks::new();
        installed(&hosts, &expected, &mut checks);
        assert_eq!(
            open(checks),
            [
                ("version".to_owned(), Verdict::Fail),
                ("packages".to_owned(), Verdict::Unknown)
            ]
        );
    }

    #[test]
    fn a_kubelet_that_was_not_restarted_is_found() {
        let one = info("n1");
        let hosts = [Host {
            info: &one,
            found: Ok(software_of(&["kubelet=1.34.4-1"])),
        }];
        let view = View {
            nodes: vec![node("n1", "1")],
            ..View::default()
        };
        let mut checks = Checks::new();
        nodes(&hosts, &view, &Place::Cluster("main".into()), &mut checks);
        assert_eq!(
            open(checks),
            [("kubelet-version".to_owned(), Verdict::Fail)]
        );
        let mut checks = Checks::new();
        nodes(
            &hosts,
            &View::default(),
            &Place::Cluster("main".into()),
            &mut checks,
        );
        assert_eq!(open(checks), [("node-ready".to_owned(), Verdict::Fail)]);
    }

    #[test]
    fn the_api_server_is_the_newest() {
        let (master, one) = (info("m1"), info("n1"));
        let hosts = [
            Host {
                info: &master,
                found: Ok(software_of(&[
                    "kube-apiserver=1.33.13-1",
                    "kube-scheduler=1.33.13-1",
                ])),
            },
            Host {
                info: &one,
                found: Ok(software_of(&["kubelet=1.34.4-1"])),
            },
        ];
        let mut checks = Checks::new();
        api_version(
            &hosts,
            "v1.34.4",
            Place::Cluster("main".into()),
            &mut checks,
        );
        let names: Vec<String> = open(checks).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["api-server-version", "version-skew"]);
        let mut checks = Checks::new();
        api_version(
            &hosts[..1],
            "v1.33.13",
            Place::Cluster("main".into()),
            &mut checks,
        );
        assert!(open(checks).is_empty());
    }
}
