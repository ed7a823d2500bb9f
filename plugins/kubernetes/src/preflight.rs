//! What stands in the way of an update or backout, found before anything changes, and what an operator should know.

use std::collections::BTreeSet;

use sdk::packages::{Versions, unavailable};
use sdk::{Finding, finding};

use crate::budgets;
use crate::cluster::View;
use crate::hosts::{Details, Software};
use crate::nodes::{self, Room};
use crate::parts::{self, Part};
use crate::pods::{Fate, Pod, unmanaged_message};
use crate::version::Version;
use crate::{resolv, workloads};

/// Findings, by what they mean for going on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Assessment {
    /// Each of them forbids it.
    pub(crate) refusals: Vec<Finding>,
    /// None of them does.
    pub(crate) warnings: Vec<Finding>,
}

impl Assessment {
    pub(crate) fn refuse(&mut self, code: &str, subject: impl Into<String>, message: impl Into<String>) {
        self.refusals.push(finding(code, subject, message));
    }

    pub(crate) fn warn(&mut self, code: &str, subject: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(finding(code, subject, message));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.refusals.extend(other.refusals);
        self.warnings.extend(other.warnings);
    }
}

/// What the new versions want of a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands<'a> {
    pub(crate) directory: &'a str,
    pub(crate) operating_systems: &'a [String],
    pub(crate) free_space_mib: u32,
    /// Lower versions than the installed ones are meant.
    pub(crate) downgrade: bool,
}

/// Holds a host against what is to be installed there.
pub(crate) fn of_host(
    host: &str,
    software: &Software,
    details: &Details,
    wanted: &Versions,
    demands: Demands<'_>,
) -> Assessment {
    let mut found = layout(host, details.configuration.files.keys().map(String::as_str), demands.directory);
    match &details.resolv_conf {
        Some(text) => {
            if let Some(message) = resolv::refusal(text, details.kubelet.as_deref()) {
                found.refuse("loopback-resolver", host, format!("host {host}: {message}"));
            }
        }
        None => found.warn("no-resolver", host, format!("host {host} has no {}", resolv::RESOLV_CONF)),
    }
    let system = format!("{} {}", details.facts.os, details.facts.os_version);
    if !demands.operating_systems.is_empty() && !demands.operating_systems.contains(&system) {
        found.refuse(
            "operating-system",
            host,
            format!("host {host} runs {system}; the new version supports {}", demands.operating_systems.join(", ")),
        );
    }
    for (path, room) in &details.room {
        let free = room.available / (1024 * 1024);
        if free < u64::from(demands.free_space_mib) {
            let wanted = demands.free_space_mib;
            found.refuse(
                "disk-space",
                host,
                format!("host {host} has {free} MiB free for {path}; {wanted} MiB are needed"),
            );
        }
    }
    found.refusals.extend(unavailable(host, &software.packages, wanted));
    if !demands.downgrade {
        for (name, version) in wanted {
            let installed = software.version(name);
            if let Some((installed, new)) = installed.and_then(Version::parse).zip(Version::parse(version))
                && installed > new
            {
                let message = format!(
                    "{name} on host {host} is at {installed}: an update does not go back to {new}; a backout does"
                );
                found.refuse("would-downgrade", host, message);
            }
        }
    }
    if let Some(record) = &details.record {
        for path in record.edited(&details.configuration.files) {
            let now = details.configuration.files.get(path).map(|file| file.hash.as_str());
            let what = match (demands.downgrade, now) {
                (false, _) => "it is kept as it is".to_owned(),
                (true, None) => "where the backup set has it, it is brought back".to_owned(),
                (true, Some(hash)) => format!(
                    "where the backup set has it otherwise, that is brought back, and what is there now is kept in \
                     the store as {hash}"
                ),
            };
            let message = format!("{path} on host {host} was changed by hand since the last operation here; {what}");
            found.warn("edited-configuration", host, message);
        }
    }
    found
}

/// Refuses a layout that this plugin does not know.
pub(crate) fn layout<'a>(host: &str, files: impl Iterator<Item = &'a str>, directory: &str) -> Assessment {
    let mut found = Assessment::default();
    let manifests = format!("{directory}/manifests/");
    let pods: Vec<&str> =
        files.filter(|path| path.strip_prefix(&manifests).is_some_and(|name| name.starts_with("kube-"))).collect();
    if !pods.is_empty() {
        let message = format!(
            "host {host} has kubeadm's layout, which is not supported: its control plane runs as static Pods ({})",
            pods.join(", ")
        );
        found.refuse("kubeadm-layout", host, message);
    }
    found
}

/// What decides which Pods a drain may evict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) managers: &'a [String],
    /// Whether Pods with emptyDir volumes may be evicted; none: that is decided elsewhere.
    pub(crate) delete_emptydir_data: Option<bool>,
}

/// Pods that a drain of their node would evict.
pub(crate) fn evicted<'a>(pods: &'a [Pod], rules: Rules<'_>) -> Vec<&'a Pod> {
    pods.iter().filter(|pod| pod.fate(rules.managers) == Fate::Evicted).collect()
}

/// Pods listed in one refusal; more are counted.
const LISTED: usize = 20;

/// Why Pods cannot be drained.
pub(crate) fn of_pods(view: &View, rules: Rules<'_>) -> Assessment {
    let mut found = Assessment::default();
    let unmanaged = view.pods.iter().filter(|pod| pod.fate(rules.managers) == Fate::Unmanaged);
    if let Some(message) = unmanaged_message(unmanaged) {
        found.refuse("unmanaged-pod", "cluster", message);
    }
    let evicted = evicted(&view.pods, rules);
    if rules.delete_emptydir_data == Some(false) {
        let holding: Vec<&&Pod> = evicted.iter().filter(|pod| !pod.empty_dirs.is_empty()).collect();
        if !holding.is_empty() {
            let more = holding.len().saturating_sub(LISTED);
            let mut names: Vec<String> = holding
                .iter()
                .take(LISTED)
                .map(|pod| format!("{} ({})", pod.title(), pod.empty_dirs.join(", ")))
                .collect();
            if more > 0 {
                names.push(format!("{more} more"));
            }
            let message = format!(
                "Pods keep data in emptyDir volumes, which an eviction deletes: {}; allow it by delete-emptydir-data",
                names.join(", ")
            );
            found.refuse("emptydir-data", "cluster", message);
        }
    }
    let all = (!view.partial).then_some(view.pods.as_slice());
    let verdict = budgets::judge(&view.budgets, &evicted, all);
    for (subject, message) in verdict.never {
        found.refuse("budget-never-allows", subject, message);
    }
    for (subject, message) in verdict.not_now {
        found.warn("budget-blocks-now", subject, message);
    }
    found
}

/// Pods named in one message; more are counted.
const NAMED: usize = 5;

/// What makes an update with all applications running impossible or uncertain.
pub(crate) fn of_cluster(view: &View, rules: Rules<'_>) -> Assessment {
    let mut found = of_pods(view, rules);
    let evicted = evicted(&view.pods, rules);
    if let [only] = view.nodes.as_slice() {
        let message = format!("{} is the only node: applications stop while it is worked on", only.name);
        found.warn("one-node", only.name.as_str(), message);
    }
    for (pod, node) in nodes::pinned(&view.nodes, &evicted, &view.volumes) {
        let message = format!("Pod {} can only run on {node}: it stays away while that node is worked on", pod.title());
        found.warn("pinned-pod", format!("Pod {}", pod.title()), message);
    }
    for workload in workloads::unprotected(&view.workloads, &view.budgets) {
        let message =
            format!("{} has no PodDisruptionBudget: all of its Pods may be evicted at once", workload.title());
        found.warn("no-budget", workload.title(), message);
    }
    if view.nodes.len() > 1 {
        let room = Room::of(&view.nodes, &view.pods);
        for node in &view.nodes {
            let leaving = evicted.iter().copied().filter(|pod| pod.node.as_deref() == Some(&node.name)).collect();
            let homeless = room.homeless(&node.name, leaving, &view.volumes);
            if !homeless.is_empty() {
                let more = homeless.len().saturating_sub(NAMED);
                let mut names: Vec<String> =
                    homeless.iter().take(NAMED).map(|pod| format!("{} ({})", pod.title(), pod.requests)).collect();
                if more > 0 {
                    names.push(format!("{more} more"));
                }
                let message = format!(
                    "there is no room on the other nodes for Pods of {} while it is worked on: {}",
                    node.name,
                    names.join(", ")
                );
                found.warn("no-room", node.name.as_str(), message);
            }
        }
    }
    found
}

/// What a host will run, for the rules of skew: the wanted version of each package that it has, else the installed one.
pub(crate) fn together(software: &Software, wanted: &Versions) -> Versions {
    parts::RUNNING
        .into_iter()
        .filter_map(|name| {
            let installed = software.version(name)?;
            let version = wanted.get(name).map_or(installed, String::as_str);
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// What of the wanted versions concerns a host in any part.
pub(crate) fn of_every_part(installed: &BTreeSet<&str>, versions: &Versions) -> Versions {
    versions
        .iter()
        .filter(|(name, _)| installed.contains(name.as_str()) && parts::PACKAGES.contains(&name.as_str()))
        .map(|(name, version)| (name.clone(), version.clone()))
        .collect()
}

/// Whether a host has any part at all.
pub(crate) fn has_part(installed: &BTreeSet<&str>) -> bool {
    [Part::KubeApiserver, Part::Controllers, Part::Node]
        .into_iter()
        .any(|part| part.core().iter().any(|name| installed.contains(name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::budgets::tests::budget;
    use crate::configuration::Found;
    use crate::configuration::tests::files;
    use crate::hosts::tests::software_of;
    use crate::nodes::tests::{node, running};
    use crate::pods::tests::{managers, owned, pod};
    use crate::record::Record;
    use sdk::api::files::Room as Space;
    use sdk::api::host::HostFacts;
    use serde_json::{Value, json};

    const DIRECTORY: &str = "/etc/kubernetes";

    fn details(resolv_conf: &str, available_mib: u64, paths: &[(&str, &str)]) -> Details {
        Details {
            facts: HostFacts {
                os: "debian".into(),
                os_version: "12".into(),
                kernel: String::new(),
                architecture: "amd64".into(),
                boot: String::new(),
                time: String::new(),
                processors: 2,
                memory: 4096,
                memory_available: 2048,
                hostname: String::new(),
            },
            room: vec![("/var".into(), Space { total: 1 << 40, available: available_mib << 20, inodes_available: 1 })],
            resolv_conf: Some(resolv_conf.into()),
            kubelet: None,
            record: None,
            configuration: Found { files: files(paths), links: BTreeMap::new() },
        }
    }

    fn codes(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    fn wanted(version: &str) -> Versions {
        Versions::from([("kubelet".to_owned(), version.to_owned())])
    }

    fn judged(details: &Details, wanted: &Versions, systems: &[String], downgrade: bool) -> Assessment {
        let software = software_of(&["kubelet=1.33.13-1/1.33.13-1,1.34.4-1"]);
        let demands = Demands { directory: DIRECTORY, operating_systems: systems, free_space_mib: 512, downgrade };
        of_host("n1", &software, details, wanted, demands)
    }

    #[test]
    fn a_host_in_order_is_let_through() {
        let good = details("nameserver 10.0.0.2", 4096, &[("/etc/kubernetes/kubelet.conf", "a")]);
        assert_eq!(judged(&good, &wanted("1.34.4-1"), &["debian 12".into()], false), Assessment::default());
    }

    #[test]
    fn every_finding_of_a_host_is_named_at_once() {
        let bad = details("nameserver 127.0.0.1", 100, &[("/etc/kubernetes/manifests/kube-apiserver.yaml", "a")]);
        let found = judged(&bad, &wanted("1.35.0-1"), &["debian 13".into()], false);
        assert_eq!(
            codes(&found.refusals),
            ["kubeadm-layout", "loopback-resolver", "operating-system", "disk-space", "package-unavailable"]
        );
        assert!(found.refusals[0].message.contains("/etc/kubernetes/manifests/kube-apiserver.yaml"));
        assert!(found.refusals[3].message.contains("100 MiB free for /var; 512 MiB are needed"));
    }

    #[test]
    fn only_a_backout_goes_back() {
        let good = details("nameserver 10.0.0.2", 4096, &[]);
        let mut software = software_of(&["kubelet=1.34.4-1/1.33.13-1"]);
        let demands =
            |downgrade| Demands { directory: DIRECTORY, operating_systems: &[], free_space_mib: 0, downgrade };
        let found = of_host("n1", &software, &good, &wanted("1.33.13-1"), demands(false));
        assert_eq!(codes(&found.refusals), ["would-downgrade"]);
        assert!(of_host("n1", &software, &good, &wanted("1.33.13-1"), demands(true)).refusals.is_empty());
        software.packages.clear();
        assert_eq!(
            codes(&of_host("n1", &software, &good, &wanted("1.33.13-1"), demands(true)).refusals),
            ["package-unavailable"]
        );
    }

    #[test]
    fn edits_by_hand_are_a_warning() {
        let mut edited = details("nameserver 10.0.0.2", 4096, &[("/etc/kubernetes/kubelet.conf", "b")]);
        edited.record = Some(Record::of(&files(&[("/etc/kubernetes/kubelet.conf", "a")])));
        let found = judged(&edited, &wanted("1.34.4-1"), &[], false);
        assert_eq!((codes(&found.refusals), codes(&found.warnings)), (vec![], vec!["edited-configuration"]));
    }

    #[test]
    fn a_static_pod_of_somebody_else_is_no_kubeadm() {
        let files = ["/etc/kubernetes/manifests/haproxy.yaml", "/etc/kubernetes/kube-proxy.conf"];
        assert_eq!(layout("m1", files.into_iter(), DIRECTORY), Assessment::default());
    }

    fn rules(managers: &[String], delete_emptydir_data: Option<bool>) -> Rules<'_> {
        Rules { managers, delete_emptydir_data }
    }

    fn web(name: &str, on: &str, volumes: Value) -> Pod {
        pod(json!({"metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owned("ReplicaSet")},
                   "spec": {"nodeName": on, "volumes": volumes}}))
    }

    #[test]
    fn pods_that_cannot_be_drained_are_refused() {
        let managers = managers();
        let view = View {
            pods: vec![
                web("web-1", "n1", json!([{"name": "cache", "emptyDir": {}}])),
                pod(json!({"metadata": {"name": "alone", "namespace": "ops"}})),
                pod(json!({"metadata": {"name": "done", "namespace": "ops"}, "status": {"phase": "Succeeded"}})),
            ],
            budgets: vec![budget("web", json!({"spec": {"minAvailable": 1}}))],
            ..View::default()
        };
        let found = of_pods(&view, rules(&managers, Some(false)));
        assert_eq!(codes(&found.refusals), ["unmanaged-pod", "emptydir-data", "budget-never-allows"]);
        assert_eq!(found.refusals[0].message, "Non managed pod exists ['alone in ops']");
        for allowed in [Some(true), None] {
            let found = of_pods(&view, rules(&managers, allowed));
            assert_eq!(codes(&found.refusals), ["unmanaged-pod", "budget-never-allows"]);
        }
    }

    #[test]
    fn what_costs_applications_their_running_is_said_by_name() {
        let managers = managers();
        let alone = View { nodes: vec![node("n1", "2")], pods: vec![web("web-1", "n1", json!([]))], ..View::default() };
        assert_eq!(codes(&of_cluster(&alone, rules(&managers, None)).warnings), ["one-node"]);
        let tied = running("tied", "n1", "1", json!({"nodeSelector": {"kubernetes.io/hostname": "n1"}}));
        let big = running("big", "n2", "1900m", json!({}));
        let view = View { nodes: vec![node("n1", "2"), node("n2", "2")], pods: vec![tied, big], ..View::default() };
        let found = of_cluster(&view, rules(&managers, None));
        assert!(found.refusals.is_empty());
        assert_eq!(codes(&found.warnings), ["pinned-pod", "no-room", "no-room"]);
        assert!(found.warnings[0].message.starts_with("Pod shop/tied can only run on n1"));
    }

    #[test]
    fn what_a_host_does_not_have_is_not_held_against_it() {
        let software =
            software_of(&["kubelet=1.33.13-1", "kube-proxy=1.33.13-1", "kubectl=1.33.13-1", "kube-scheduler"]);
        let all: Versions = parts::PACKAGES.map(|name| (name.to_owned(), "1.34.4-1".to_owned())).into();
        let installed = software.installed();
        let of_host = of_every_part(&installed, &all);
        assert_eq!(of_host.keys().map(String::as_str).collect::<Vec<_>>(), ["kube-proxy", "kubectl", "kubelet"]);
        let after = together(&software, &wanted("1.34.4-1"));
        assert_eq!(after.get("kubelet").map(String::as_str), Some("1.34.4-1"));
        assert_eq!(after.get("kube-proxy").map(String::as_str), Some("1.33.13-1"));
        assert!(!after.contains_key("kube-scheduler"));
        assert!(has_part(&installed) && !has_part(&["kubectl"].into_iter().collect()));
    }
}
