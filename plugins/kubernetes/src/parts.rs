//! The parts of Kubernetes: which packages and units each has, and which configuration is whose.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use sdk::packages::Versions;
use serde::{Deserialize, Serialize};

/// What an update or backout works on. The order in which parts are updated; a backout goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// The API server.
    KubeApiserver,
    /// kube-controller-manager and kube-scheduler.
    Controllers,
    /// kubelet and, where present, kube-proxy.
    Node,
}

/// Every package that belongs to Kubernetes.
pub(crate) const PACKAGES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Packages that run as a unit.
pub(crate) const RUNNING: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// The name under which CoreDNS's version is found and expected.
pub(crate) const COREDNS: &str = "coredns";

/// The unit of a package; kubectl has none.
pub(crate) fn unit(package: &str) -> Option<String> {
    RUNNING.contains(&package).then(|| format!("{package}.service"))
}

/// Every unit.
pub(crate) fn units() -> Vec<String> {
    RUNNING.iter().filter_map(|package| unit(package)).collect()
}

impl Part {
    /// Packages of which a host must have at least one to have this part.
    pub(crate) fn core(self) -> &'static [&'static str] {
        match self {
            Self::KubeApiserver => &["kube-apiserver"],
            Self::Controllers => &["kube-controller-manager", "kube-scheduler"],
            Self::Node => &["kubelet"],
        }
    }

    /// Packages that go along where a host has them.
    fn companions(self) -> &'static [&'static str] {
        match self {
            Self::KubeApiserver => &["kubectl"],
            Self::Controllers => &[],
            Self::Node => &["kube-proxy", "kubectl"],
        }
    }

    /// Units of this part.
    pub(crate) fn units(self) -> impl Iterator<Item = String> {
        self.core().iter().chain(self.companions()).filter_map(|name| unit(name))
    }

    /// What of the wanted versions concerns a host that has these packages. `Err` says what is wrong with the request.
    pub(crate) fn wanted(
        self,
        host: &str,
        installed: &BTreeSet<&str>,
        versions: &Versions,
    ) -> Result<Versions, String> {
        let core: Vec<&str> = self.core().iter().copied().filter(|name| installed.contains(name)).collect();
        if core.is_empty() {
            return Err(format!(
                "host {host} has no package {}, so there is nothing to do there",
                self.core().join(" or ")
            ));
        }
        let mut wanted = Versions::new();
        for name in core {
            let version =
                versions.get(name).ok_or_else(|| format!("no version is given for {name}, which host {host} has"))?;
            wanted.insert(name.to_owned(), version.clone());
        }
        for name in self.companions().iter().filter(|name| installed.contains(*name)) {
            if let Some(version) = versions.get(*name) {
                wanted.insert((*name).to_owned(), version.clone());
            }
        }
        Ok(wanted)
    }

    /// To which part of a host a configuration file belongs, by the names that occur in its path. What belongs to no
    /// single part, such as certificates, goes with the part of the host that is backed out last.
    pub(crate) fn owner(path: &str, installed: &BTreeSet<&str>) -> Self {
        let claims: [(&str, Self); 5] = [
            ("controller-manager", Self::Controllers),
            ("scheduler", Self::Controllers),
            ("apiserver", Self::KubeApiserver),
            ("kubelet", Self::Node),
            ("kube-proxy", Self::Node),
        ];
        if let Some((_, part)) = claims.iter().find(|(word, _)| path.contains(word)) {
            return *part;
        }
        [Self::KubeApiserver, Self::Controllers]
            .into_iter()
            .find(|part| part.core().iter().any(|name| installed.contains(name)))
            .unwrap_or(Self::Node)
    }
}

/// Names in a request that are no package of Kubernetes.
pub(crate) fn unknown(versions: &Versions) -> Vec<String> {
    versions
        .keys()
        .filter(|name| !PACKAGES.contains(&name.as_str()) && name.as_str() != COREDNS)
        .map(|name| format!("{name} is no part of Kubernetes; its parts are {}, {COREDNS}", PACKAGES.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(names: &[&str]) -> Versions {
        names.iter().map(|name| ((*name).to_owned(), "1.34.4-1".to_owned())).collect()
    }

    fn installed<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
        names.iter().copied().collect()
    }

    fn names(wanted: &Versions) -> Vec<&str> {
        wanted.keys().map(String::as_str).collect()
    }

    #[test]
    fn only_what_a_host_has_is_wanted_there() {
        let host = installed(&["kubelet", "kubectl"]);
        let wanted = Part::Node.wanted("n1", &host, &versions(&PACKAGES));
        assert_eq!(wanted.as_ref().map(names), Ok(vec!["kubectl", "kubelet"]));
        let refusal = Part::KubeApiserver.wanted("n1", &host, &versions(&PACKAGES));
        assert!(refusal.is_err_and(|text| text.contains("host n1 has no package kube-apiserver")));
    }

    #[test]
    fn one_controller_is_enough_and_none_goes_without_a_version() {
        let host = installed(&["kube-scheduler"]);
        let wanted = Part::Controllers.wanted("m1", &host, &versions(&PACKAGES));
        assert_eq!(wanted.as_ref().map(names), Ok(vec!["kube-scheduler"]));
        let both = installed(&["kube-scheduler", "kube-controller-manager"]);
        let refusal = Part::Controllers.wanted("m1", &both, &versions(&["kube-scheduler"]));
        assert!(refusal.is_err_and(|text| text.contains("no version is given for kube-controller-manager")));
    }

    #[test]
    fn files_go_with_the_part_that_reads_them() {
        let master = installed(&["kube-apiserver", "kube-scheduler"]);
        let node = installed(&["kubelet"]);
        for (path, host, part) in [
            ("/etc/default/kube-apiserver", &master, Part::KubeApiserver),
            ("/etc/kubernetes/controller-manager.conf", &master, Part::Controllers),
            ("/etc/kubernetes/scheduler.kubeconfig", &master, Part::Controllers),
            ("/etc/kubernetes/pki/apiserver-kubelet-client.crt", &master, Part::KubeApiserver),
            ("/etc/kubernetes/pki/front-proxy-ca.crt", &master, Part::KubeApiserver),
            ("/etc/kubernetes/pki/ca.crt", &master, Part::KubeApiserver),
            ("/etc/kubernetes/pki/ca.crt", &node, Part::Node),
            ("/var/lib/kubelet/config.yaml", &node, Part::Node),
            ("/etc/systemd/system/kube-proxy.service.d/10-x.conf", &master, Part::Node),
        ] {
            assert_eq!(Part::owner(path, host), part, "{path}");
        }
    }

    #[test]
    fn only_kubectl_has_no_unit() {
        assert_eq!(units().len(), PACKAGES.len() - 1);
        assert_eq!(unit("kubectl"), None);
    }

    #[test]
    fn foreign_names_are_said() {
        assert_eq!(unknown(&versions(&["kubelet", "coredns"])), Vec::<String>::new());
        assert_eq!(unknown(&versions(&["kubelet", "kubeadm"])).len(), 1);
    }
}
