//! What stands in the way of an update or backout, found before anything changes, and what an operator should know.

use std::collections::BTreeSet;

use sdk::api::kubernetes::{ObjectKind, PageOrder, Selection, pages};
use sdk::kubernetes::Cluster;
use sdk::packages::{Versions, unavailable};
use sdk::{Failure, Finding, finding};

use crate::budgets;
use crate::cluster::View;
use crate::discovery::{Discovery, Kind};
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
    pub(crate) fn refuse(
        &mut self,
        code: &str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.refusals.push(finding(code, subject, message));
    }

    pub(crate) fn warn(
        &mut self,
        code: &str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
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
    let mut found = layout(
        host,
        details.configuration.files.keys().map(String::as_str),
        demands.directory,
    );
    for message in parts::unknown(wanted) {
        found.refuse("unknown-package", host, message);
    }
    match &details.resolv_conf {
        Some(text) => {
            if let Some(message) = resolv::refusal(text, details.kubelet.as_deref()) {
                found.refuse("loopback-resolver", host, format!("host {host}: {message}"));
            }
        }
        None => found.warn(
            "no-resolver",
            host,
            format!("host {host} has no {}", resolv::RESOLV_CONF),
        ),
    }
    let system = format!("{} {}", details.facts.os, details.facts.os_version);
    if !demands.operating_systems.is_empty() && !demands.operating_systems.contains(&system) {
        found.refuse(
            "operating-system",
            host,
            format!(
                "host {host} runs {system}; the new version supports {}",
                demands.operating_systems.join(", ")
            ),
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
    found
        .refusals
        .extend(unavailable(host, &software.packages, wanted));
    if !demands.downgrade {
        for (name, version) in wanted {
            let installed = software.version(name);
            if let Some((installed, new)) = installed
                .and_then(Version::parse)
                .zip(Version::parse(version))
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
            let message = format!(
                "{path} on host {host} was changed by hand since the last operation here; it is kept as it is"
            );
            found.warn("edited-configuration", host, message);
        }
    }
    found
}

/// Refuses a layout that this plugin does not know.
pub(crate) fn layout<'a>(
    host: &str,
    files: impl Iterator<Item = &'a str>,
    directory: &str,
) -> Assessment {
    let mut found = Assessment::default();
    let manifests = format!("{directory}/manifests/");
    let pods: Vec<&str> = files
        .filter(|path| {
            path.strip_prefix(&manifests)
                .is_some_and(|name| name.starts_with("kube-"))
        })
        .collect();
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
    pods.iter()
        .filter(|pod| pod.fate(rules.managers) == Fate::Evicted)
        .collect()
}

/// Why Pods cannot be drained.
pub(crate) fn of_pods(view: &View, rules: Rules<'_>) -> Assessment {
    let mut found = Assessment::default();
    let unmanaged = view
        .pods
        .iter()
        .filter(|pod| pod.fate(rules.managers) == Fate::Unmanaged);
    if let Some(message) = unmanaged_message(unmanaged) {
        found.refuse("unmanaged-pod", "cluster", message);
    }
    let evicted = evicted(&view.pods, rules);
    if rules.delete_emptydir_data == Some(false) {
        for pod in evicted.iter().filter(|pod| !pod.empty_dirs.is_empty()) {
            let message = format!(
                "Pod {} keeps data in emptyDir volumes ({}), which an eviction deletes; allow it by \
                 delete-emptydir-data",
                pod.title(),
                pod.empty_dirs.join(", ")
            );
            found.refuse("emptydir-data", format!("Pod {}", pod.title()), message);
        }
    }
    let verdict = budgets::judge(&view.budgets, &evicted, &view.pods);
    for (subject, message) in verdict.never {
        found.refuse("budget-never-allows", subject, message);
    }
    for (subject, message) in verdict.not_now {
        found.warn("budget-blocks-now", subject, message);
    }
    found
}

/// What makes an update with all applications running impossible or uncertain.
pub(crate) fn of_cluster(view: &View, rules: Rules<'_>) -> Assessment {
    let mut found = of_pods(view, rules);
    let evicted = evicted(&view.pods, rules);
    if let [only] = view.nodes.as_slice() {
        let message = format!(
            "{} is the only node: applications stop while it is worked on",
            only.name
        );
        found.warn("one-node", only.name.as_str(), message);
    }
    for (pod, node) in nodes::pinned(&view.nodes, &evicted, &view.volumes) {
        let message = format!(
            "Pod {} can only run on {node}: it stays away while that node is worked on",
            pod.title()
        );
        found.warn("pinned-pod", format!("Pod {}", pod.title()), message);
    }
    for workload in workloads::unprotected(&view.workloads, &view.budgets) {
        let message = format!(
            "{} has no PodDisruptionBudget: all of its Pods may be evicted at once",
            workload.title()
        );
        found.warn("no-budget", workload.title(), message);
    }
    if view.nodes.len() > 1 {
        let room = Room::of(&view.nodes, &view.pods);
        for node in &view.nodes {
            let leaving = evicted
                .iter()
                .copied()
                .filter(|pod| pod.node.as_deref() == Some(&node.name))
                .collect();
            for pod in room.homeless(&node.name, leaving, &view.volumes) {
                let message = format!(
                    "there is no room on the other nodes for Pod {} ({}) while {} is worked on",
                    pod.title(),
                    pod.requests,
                    node.name
                );
                found.warn("no-room", format!("Pod {}", pod.title()), message);
            }
        }
    }
    found
}

/// Objects named in one refusal; more are counted.
const NAMED: usize = 5;

/// Refuses stored objects of kinds that an older API server does not serve: it could neither show nor remove them.
pub(crate) fn unserved(
    cluster: Cluster<'_>,
    now: &Discovery,
    older: &Discovery,
) -> Result<Assessment, Failure> {
    let lost = now.lost_in(older);
    let orders: Vec<PageOrder> = lost
        .iter()
        .map(|kind| PageOrder {
            selection: Selection {
                cluster: cluster.0.to_owned(),
                kind: ObjectKind {
                    api_version: kind.api_version.clone(),
                    name: kind.name.clone(),
                },
                namespace: None,
                labels: String::new(),
                fields: String::new(),
            },
            keep: vec!["/metadata/name".to_owned()],
            limit: 100,
            token: None,
        })
        .collect();
    let mut found = Assessment::default();
    for (kind, page) in lost.into_iter().zip(pages(&orders)) {
        // Reviews and the like are served, and cannot be listed: nothing of them is stored.
        let page = match page {
            Err(failure)
                if matches!(
                    failure.kind,
                    sdk::FailureKind::NotFound | sdk::FailureKind::Unsupported
                ) =>
            {
                continue;
            }
            page => page?,
        };
        let names: Vec<String> = page
            .objects
            .iter()
            .map(|object| match &object.id.namespace {
                Some(namespace) => format!("{namespace}/{}", object.id.name),
                None => object.id.name.clone(),
            })
            .collect();
        found.refusals.extend(unserved_finding(
            kind,
            &names,
            page.token.is_some(),
            &older.version,
        ));
    }
    Ok(found)
}

fn unserved_finding(kind: &Kind, names: &[String], more: bool, version: &str) -> Option<Finding> {
    if names.is_empty() {
        return None;
    }
    let mut list = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED || more {
        list.push_str(&format!(
            " and {}{} more",
            names.len().saturating_sub(NAMED),
            if more { " or" } else { "" }
        ));
    }
    let message = format!(
        "kube-apiserver {version} does not serve {} of {}, and such objects are stored: {list}. Remove them, or choose \
         a restore of etcd by unserved-objects",
        kind.name, kind.api_version
    );
    Some(finding("unserved-object", kind.name.as_str(), message))
}

/// All versions that will be there together, for the rules of skew: those wanted, else those installed.
pub(crate) fn planned<'a>(
    software: &'a Software,
    wanted: &'a Versions,
    package: &str,
) -> Option<&'a str> {
    wanted
        .get(package)
        .map(String::as_str)
        .filter(|_| software.version(package).is_some())
        .or_else(|| software.version(package))
}

/// What of the wanted versions concerns a host in any part.
pub(crate) fn of_every_part(installed: &BTreeSet<&str>, versions: &Versions) -> Versions {
    versions
        .iter()
        .filter(|(name, _)| {
            installed.contains(name.as_str()) && parts::PACKAGES.contains(&name.as_str())
        })
        .map(|(name, version)| (name.clone(), version.clone()))
        .collect()
}

/// Whether a host has any part at all.
pub(crate) fn has_part(installed: &BTreeSet<&str>) -> bool {
    [Part::KubeApiserver, Part::Controllers, Part::Node]
        .into_iter()
        .any(|part| part.core().iter().any(|name| installed.contains(name)))
}
