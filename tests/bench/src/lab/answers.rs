//! What somebody knows beforehand who types the procedures by hand: hosts, packages, versions, images.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::site::{Site, json};

/// Procedures by hand.
const BY_HAND: &str = include_str!("../../by-hand.sh");

/// Where the procedures begin and end, and where the update goes.
pub(crate) const RELEASES: [&str; 2] = ["1.0", "2.0"];

/// All that the script is told.
pub(crate) struct Answers {
    facts: Value,
    releases: Value,
}

impl Answers {
    pub(crate) fn of(site: &Site) -> Result<Self> {
        Ok(Self { facts: json(&site.path("lab.json"))?, releases: json(&site.path("releases.json"))? })
    }

    /// Names of the hosts with a role.
    pub(crate) fn with(&self, role: &str) -> Vec<&str> {
        let has = |host: &Value| host["roles"].as_array().is_some_and(|roles| roles.iter().any(|one| one == role));
        let hosts = self.facts["hosts"].as_object().into_iter().flatten();
        hosts.filter(|(_, host)| has(host)).map(|(name, _)| name.as_str()).collect()
    }

    /// The node with this address within the lab.
    pub(crate) fn node_at(&self, internal_ip: &str) -> Result<&str> {
        let mut hosts = self.facts["hosts"].as_object().into_iter().flatten();
        let found = hosts.find(|(_, host)| host["internal-ip"] == internal_ip);
        Ok(found.with_context(|| format!("no host has the address {internal_ip}"))?.0)
    }

    /// Version that the API tells of the kubelets of a release.
    pub(crate) fn kubelet(&self, release: &str) -> Result<String> {
        let version = self.text(release, "/kubernetes/versions/kubelet")?;
        Ok(format!("v{}", version.split('-').next().unwrap_or_default()))
    }

    /// A procedure that goes to a release.
    pub(crate) fn script(&self, site: &Site, procedure: &str, release: &str) -> Result<Command> {
        let mut command = Command::new("bash");
        command.args(["-c", BY_HAND, "by-hand", procedure]).env("OUT", site.path(""));
        let hosts = self.facts["hosts"].as_object().context("no hosts")?;
        command.env("HOSTS", hosts.keys().cloned().collect::<Vec<_>>().join(" "));
        for (name, role) in [("MASTERS", "master"), ("NODES", "node"), ("MEMBERS", "etcd")] {
            command.env(name, self.with(role).join(" "));
        }
        for (name, component, parts) in [
            ("ETCD", "etcd", &["etcd-client", "etcd-server"][..]),
            ("API_SERVER", "kubernetes", &["kube-apiserver", "kubectl"]),
            ("CONTROLLERS", "kubernetes", &["kube-controller-manager", "kube-scheduler"]),
            ("NODE", "kubernetes", &["kubelet", "kube-proxy", "kubectl"]),
        ] {
            let words: Result<Vec<String>> = parts
                .iter()
                .map(|part| Ok(format!("{part}={}", self.text(release, &format!("/{component}/versions/{part}"))?)))
                .collect();
            command.env(name, words?.join(" "));
        }
        command.env("DOCKER", self.docker(release)?);
        command.env("KUBELET", self.kubelet(release)?);
        let etcd = self.text(release, "/etcd/versions/etcd-server")?;
        command.env("ETCD_MINOR", etcd.split('.').take(2).collect::<Vec<_>>().join("."));
        let limit = self.found(release, "/docker/drop-ins/docker.service/10-limits.conf").and_then(Value::as_str);
        let limit = limit.and_then(|text| text.lines().find(|line| line.contains('='))).unwrap_or("none");
        command.env("DOCKER_LIMIT", limit);
        for (name, pointer) in [
            ("DOCKER_LOG_SIZE", "/docker/daemon-settings/log-opts/max-size"),
            ("FLANNEL_IMAGE", "/flannel/images/flannel"),
            ("CNI_PLUGIN_IMAGE", "/flannel/images/cni-plugin"),
            ("CNI_VERSION", "/flannel/cni-version"),
            ("TRAEFIK_IMAGE", "/ingress/images/traefik"),
            ("PROMETHEUS_IMAGE", "/metrics/images/prometheus"),
        ] {
            command.env(name, self.text(release, pointer)?);
        }
        for (name, pointer) in [
            ("CANARY", "/canary/name"),
            ("CANARY_NAMESPACE", "/canary/namespace"),
            ("VOLUME_HOST", "/volume/host"),
            ("VOLUME", "/volume/path"),
            ("PROMETHEUS_URL", "/prometheus/url"),
        ] {
            let text = self.facts.pointer(pointer).and_then(Value::as_str);
            command.env(name, text.with_context(|| format!("lab.json has no {pointer}"))?);
        }
        Ok(command)
    }

    /// Docker's packages; those that the other release has and this one has not go.
    fn docker(&self, release: &str) -> Result<String> {
        let of = |release: &str| {
            let versions = self.found(release, "/docker/versions").and_then(Value::as_object);
            versions.with_context(|| format!("no versions of docker in {release}"))
        };
        let wanted = of(release)?;
        let mut words: Vec<String> =
            wanted.iter().map(|(name, version)| format!("{name}={}", version.as_str().unwrap_or_default())).collect();
        for other in RELEASES {
            words.extend(of(other)?.keys().filter(|name| !wanted.contains_key(*name)).map(|name| format!("{name}-")));
        }
        Ok(words.join(" "))
    }

    fn found(&self, release: &str, pointer: &str) -> Option<&Value> {
        self.releases.get("releases")?.get(release)?.pointer(pointer)
    }

    fn text(&self, release: &str, pointer: &str) -> Result<&str> {
        let found = self.found(release, pointer).and_then(Value::as_str);
        found.with_context(|| format!("releases.json has no {pointer} in {release}"))
    }
}
