//! Whether everything works.

use std::collections::{BTreeMap, BTreeSet};

use sdk::api::log::{self, Level};
use sdk::kubernetes::Cluster;
use sdk::{Checks, Inputs, Invocation, Place, Problem, Verification, units};

use crate::change::is_silence;
use crate::cluster::{self, View};
use crate::hosts::{self, Host, Software};
use crate::nodes::Node;
use crate::parameters::Verify;
use crate::parts::{RUNNING, unit};
use crate::record::Record;
use crate::verify::{coredns, ended, installed, on};
use crate::version::{self, Found, Role, Version};
use crate::workloads::{Workload, placement};

pub(crate) fn health(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
    let name = invocation.cluster()?;
    let cluster = Cluster(name);
    let place = || Place::Cluster(name.to_owned());
    let all = hosts::software(&invocation.target.hosts);
    let mut checks = Checks::new();
    installed(&all, &parameters.versions, &mut checks);
    let mut unfinished = Unfinished::default();
    let records = hosts::records(&all, parameters.layout())?;
    if parameters.leave_out_unfinished {
        unfinished.take_records(&records);
    } else {
        ended(&records, &mut checks);
    }
    let server = match cluster::server(cluster) {
        Ok(server) => server,
        Err(failure) => {
            let known = unfinished.api_server && is_silence(&failure);
            checks.check("api-server-ready", place(), "ready", failure.message.as_str(), known);
            half_installed(&all, &unfinished, &mut checks);
            running(&all, &unfinished, &mut checks);
            if !known {
                for what in ["node-ready", "workload-ready"] {
                    checks.unknown(what, place(), "ready", "the API server does not answer");
                }
            }
            return Ok(checks.finish());
        }
    };
    let state = if server.ready { "ready" } else { "not ready" };
    checks.check("api-server-ready", place(), "ready", state, server.ready);
    let view = View::of_health(cluster, &invocation.target.hosts)?;
    if parameters.leave_out_unfinished {
        unfinished.read_marks(&all, &view);
    }
    half_installed(&all, &unfinished, &mut checks);
    running(&all, &unfinished, &mut checks);
    api_version(&all, &unfinished, &view, &server.version, place(), &mut checks);
    nodes(&all, &unfinished, &view, &place(), &mut checks);
    workloads(&view, &unfinished, &parameters.ignore_workloads, &place(), &mut checks);
    if let Some(found) = cluster::coredns(cluster)? {
        coredns(name, &found, &parameters.versions, &mut checks);
    }
    let pods = placement(&view.pods);
    checks.check("placement", place(), "shown", pods.as_str(), true);
    log::write(Level::Info, &format!("Pods by node: {pods}"), &[]);
    for name in unfinished.hosts.iter().chain(&unfinished.nodes) {
        let message = format!("{name} is left out: an operation began there and did not end");
        log::write(Level::Warn, &message, &[]);
    }
    Ok(checks.finish())
}

/// What runner itself began and did not end. The gate of a run that is to finish it leaves that out.
#[derive(Debug, Default)]
struct Unfinished {
    hosts: BTreeSet<String>,
    /// Nodes that runner took out of service.
    nodes: BTreeSet<String>,
    /// An API server is among it.
    api_server: bool,
}

impl Unfinished {
    fn take_records(&mut self, records: &[(String, Record)]) {
        for (host, record) in records.iter().filter(|(_, record)| record.is_open()) {
            self.api_server |= record.awaits("kube-apiserver.service");
            self.hosts.insert(host.clone());
        }
    }

    fn read_marks(&mut self, hosts: &[Host<'_, Software>], view: &View) {
        self.nodes.extend(view.nodes.iter().filter(|node| node.marked).map(|node| node.name.clone()));
        for host in hosts {
            let node = cluster::node_name(host.info);
            if self.nodes.contains(node) {
                self.hosts.insert(host.info.name.clone());
            } else if self.hosts.contains(&host.info.name) {
                self.nodes.insert(node.to_owned());
            }
        }
    }

    /// Hosts that answered, without those.
    fn left<'h, 'a>(
        &self,
        hosts: &'h [Host<'a, Software>],
    ) -> impl Iterator<Item = (&'h Host<'a, Software>, &'h Software)> {
        hosts
            .iter()
            .filter(|host| !self.hosts.contains(&host.info.name))
            .filter_map(|host| Some((host, host.found.as_ref().ok()?)))
    }
}

/// Packages that are not wholly there.
fn half_installed(hosts: &[Host<'_, Software>], unfinished: &Unfinished, checks: &mut Checks) {
    for (host, software) in unfinished.left(hosts) {
        for (name, _) in software.packages.iter().filter(|(_, status)| status.broken) {
            checks.check("installed", on(host.info), format!("{name} installed"), "half installed", false);
        }
    }
}

/// Workloads have their ready count. A DaemonSet cannot have it on nodes that are left out.
fn workloads(view: &View, unfinished: &Unfinished, ignored: &[String], place: &Place, checks: &mut Checks) {
    let away = view.nodes.iter().filter(|node| !node.ready && unfinished.nodes.contains(&node.name)).count();
    let short: Vec<&Workload> = view
        .workloads
        .iter()
        .filter(|workload| !workload.is_ready_but_for(away))
        .filter(|workload| !ignored.contains(&format!("{}/{}", workload.namespace, workload.name)))
        .collect();
    for workload in &short {
        let expected = format!("{} ready", workload.title());
        checks.check("workload-ready", place.clone(), expected, workload.count(), false);
    }
    if short.is_empty() {
        let all = format!("{} workloads with their ready count", view.workloads.len());
        checks.check("workload-ready", place.clone(), all.as_str(), all.as_str(), true);
    }
}

/// Units of what each host has installed.
fn running(hosts: &[Host<'_, Software>], unfinished: &Unfinished, checks: &mut Checks) {
    for (host, software) in unfinished.left(hosts) {
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
                None => checks.unknown("unit-active", on(host.info), format!("{name} active"), "no answer"),
            };
        }
    }
}

/// The API server runs what is installed, and nothing is newer than it. Of hosts that are not asked, or do not answer,
/// the kubelets are known from their Nodes.
fn api_version(
    hosts: &[Host<'_, Software>],
    unfinished: &Unfinished,
    view: &View,
    answered: &str,
    place: Place,
    checks: &mut Checks,
) {
    let Some(running) = Version::parse(answered) else {
        checks.unknown("api-server-version", place, "a version", answered);
        return;
    };
    let has = |package: &str| -> Vec<(&str, Version)> {
        unfinished
            .left(hosts)
            .filter_map(|(host, software)| {
                let version = Version::parse(software.version(package)?)?;
                Some((host.info.name.as_str(), version))
            })
            .collect()
    };
    let servers = has("kube-apiserver");
    if !servers.is_empty() {
        let installed: BTreeSet<Version> = servers.iter().map(|(_, version)| *version).collect();
        let expected: Vec<String> = installed.iter().map(Version::to_string).collect();
        let good = installed.contains(&running);
        checks.check("api-server-version", place.clone(), expected.join(" or "), running.to_string(), good);
    }
    let oldest = servers.iter().map(|(_, version)| *version).min().unwrap_or(running);
    let roles = [
        ("kube-controller-manager", Role::Controller),
        ("kube-scheduler", Role::Controller),
        ("kubelet", Role::Node),
        ("kube-proxy", Role::Node),
    ];
    let mut parts: Vec<Found> = roles
        .into_iter()
        .flat_map(|(name, role)| {
            has(name).into_iter().map(move |(host, version)| Found {
                part: format!("{name} of host {host}"),
                version,
                role,
            })
        })
        .collect();
    let asked: BTreeSet<&str> = unfinished.left(hosts).map(|(host, _)| cluster::node_name(host.info)).collect();
    let is_known = |node: &Node| asked.contains(node.name.as_str()) || unfinished.nodes.contains(&node.name);
    for node in view.nodes.iter().filter(|node| !is_known(node)) {
        if let Some(version) = Version::parse(&node.kubelet) {
            parts.push(Found { part: format!("kubelet of node {}", node.name), version, role: Role::Node });
        }
    }
    let skew = version::skew(oldest, &parts);
    let observed = if skew.is_empty() { "so it is".to_owned() } else { skew.join("; ") };
    let expected = format!("nothing newer than kube-apiserver {oldest}, and nothing too old for it");
    checks.check("version-skew", place, expected, observed, skew.is_empty());
}

/// Every node is ready, and the nodes of the hosts run the kubelet that is installed there. Ready nodes of no host that
/// is asked are one check.
fn nodes(hosts: &[Host<'_, Software>], unfinished: &Unfinished, view: &View, place: &Place, checks: &mut Checks) {
    let by_name: BTreeMap<&str, &Host<'_, Software>> =
        hosts.iter().map(|host| (cluster::node_name(host.info), host)).collect();
    let mut others = 0_usize;
    for node in view.nodes.iter().filter(|node| !unfinished.nodes.contains(&node.name)) {
        let observed = if node.ready { "ready" } else { "not ready" };
        let host = by_name.get(node.name.as_str());
        if host.is_none() && node.ready && !node.marked {
            others += 1;
            continue;
        }
        let at = host.map_or_else(|| place.clone(), |host| on(host.info));
        checks.check(
            "node-ready",
            at.clone(),
            format!("node {} ready", node.name),
            format!("node {} {observed}", node.name),
            node.ready,
        );
        if node.marked {
            let observed = "taken out by a run of runner that did not bring it back";
            checks.check("node-in-service", at, format!("node {} in service", node.name), observed, false);
        }
    }
    if others > 0 {
        let all = format!("{others} other nodes ready");
        checks.check("node-ready", place.clone(), all.as_str(), all.as_str(), true);
    }
    for (host, software) in unfinished.left(hosts) {
        let name = cluster::node_name(host.info);
        let Some(installed) = software.version("kubelet") else {
            continue;
        };
        match view.nodes.iter().find(|node| node.name == name) {
            Some(node) => {
                let good = Version::parse(&node.kubelet) == Version::parse(installed);
                checks.check("kubelet-version", on(host.info), installed, node.kubelet.as_str(), good);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::{info, open, software_of};
    use crate::nodes::tests::node;
    use sdk::Verdict;

    fn none() -> Unfinished {
        Unfinished::default()
    }

    fn main() -> Place {
        Place::Cluster("main".into())
    }

    fn of_nodes(hosts: &[Host<'_, Software>], unfinished: &Unfinished, view: &View) -> Vec<(String, Verdict)> {
        let mut checks = Checks::new();
        nodes(hosts, unfinished, view, &main(), &mut checks);
        open(checks)
    }

    #[test]
    fn a_kubelet_that_was_not_restarted_is_found() {
        let one = info("n1");
        let hosts = [Host { info: &one, found: Ok(software_of(&["kubelet=1.34.4-1"])) }];
        let view = View { nodes: vec![node("n1", "1")], ..View::default() };
        assert_eq!(of_nodes(&hosts, &none(), &view), [("kubelet-version".to_owned(), Verdict::Fail)]);
        assert_eq!(of_nodes(&hosts, &none(), &View::default()), [("node-ready".to_owned(), Verdict::Fail)]);
    }

    #[test]
    fn what_runner_began_is_left_out_of_its_own_gate() {
        let (one, two) = (info("n1"), info("n2"));
        let hosts = [&one, &two].map(|info| Host { info, found: Ok(software_of(&["kubelet=1.34.4-1"])) });
        let mut down = node("n1", "1");
        down.ready = false;
        down.marked = true;
        let mut good = node("n2", "1");
        good.kubelet = "v1.34.4".into();
        let view = View { nodes: vec![down, good], ..View::default() };
        let names: Vec<String> = of_nodes(&hosts, &none(), &view).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["node-ready", "node-in-service", "kubelet-version"]);
        let mut unfinished = none();
        unfinished.read_marks(&hosts, &view);
        assert!(of_nodes(&hosts, &unfinished, &view).is_empty());
        assert_eq!(unfinished.left(&hosts).count(), 1);
        let mut recorded = Unfinished { hosts: BTreeSet::from(["n2".to_owned()]), ..none() };
        recorded.read_marks(&hosts, &View::default());
        assert!(recorded.nodes.contains("n2"));
    }

    #[test]
    fn a_daemon_set_is_short_only_where_nodes_are_left_out() {
        let mut down = node("n1", "1");
        down.ready = false;
        let agent = Workload::with("DaemonSet", 2, 1);
        let view = View { nodes: vec![down, node("n2", "1")], workloads: vec![agent], ..View::default() };
        let of_workloads = |unfinished: &Unfinished, ignored: &[String]| {
            let mut checks = Checks::new();
            workloads(&view, unfinished, ignored, &main(), &mut checks);
            open(checks).len()
        };
        assert_eq!(of_workloads(&none(), &[]), 1);
        assert_eq!(of_workloads(&none(), &["shop/x".to_owned()]), 0);
        let unfinished = Unfinished { nodes: BTreeSet::from(["n1".to_owned()]), ..none() };
        assert_eq!(of_workloads(&unfinished, &[]), 0);
    }

    #[test]
    fn the_api_server_is_the_newest() {
        let (master, one) = (info("m1"), info("n1"));
        let hosts = [
            Host { info: &master, found: Ok(software_of(&["kube-apiserver=1.33.13-1", "kube-scheduler=1.33.13-1"])) },
            Host { info: &one, found: Ok(software_of(&["kubelet=1.34.4-1"])) },
        ];
        let mut view = View::default();
        let judged = |hosts: &[Host<'_, Software>], view: &View, answered: &str| {
            let mut checks = Checks::new();
            api_version(hosts, &none(), view, answered, main(), &mut checks);
            open(checks).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(judged(&hosts, &view, "v1.34.4"), ["api-server-version", "version-skew"]);
        assert!(judged(&hosts[..1], &view, "v1.33.13").is_empty());
        // A host that is not asked is known by its Node.
        view.nodes = vec![node("n1", "1"), node("n2", "1")];
        assert!(judged(&hosts[..1], &view, "v1.33.13").is_empty());
        view.nodes[1].kubelet = "v1.34.4".into();
        assert_eq!(judged(&hosts[..1], &view, "v1.33.13"), ["version-skew"]);
        assert!(judged(&hosts[1..], &view, "v1.34.4").is_empty(), "no API server among the hosts");
        assert_eq!(judged(&[], &view, "v1.33.13"), ["version-skew"]);
    }

    #[test]
    fn a_node_that_breaks_elsewhere_is_seen_without_its_host() {
        let one = info("n1");
        let hosts = [Host { info: &one, found: Ok(software_of(&["kubelet=1.33.13-1"])) }];
        let mut view = View { nodes: ["n1", "n2", "n3"].map(|name| node(name, "1")).to_vec(), ..View::default() };
        assert!(of_nodes(&hosts, &none(), &view).is_empty());
        let mut checks = Checks::new();
        nodes(&hosts, &none(), &view, &main(), &mut checks);
        let said: Vec<String> = checks.finish().checks.into_iter().map(|check| check.observed).collect();
        assert_eq!(said, ["node n1 ready", "2 other nodes ready", "v1.33.13"]);
        view.nodes[2].ready = false;
        assert_eq!(of_nodes(&hosts, &none(), &view), [("node-ready".to_owned(), Verdict::Fail)]);
        // One that runner took out of service is left out, asked or not.
        view.nodes[2].marked = true;
        let mut unfinished = none();
        unfinished.read_marks(&hosts, &view);
        assert!(of_nodes(&hosts, &unfinished, &view).is_empty());
        assert_eq!(unfinished.left(&hosts).count(), 1);
    }
}
