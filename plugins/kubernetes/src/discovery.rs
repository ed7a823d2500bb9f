//! What an API server serves, and what is stored that an older one does not.

use std::collections::BTreeSet;

use sdk::api::kubernetes::Server;
use serde::{Deserialize, Serialize};

/// Name of the artifact that holds the discovery of a backup set.
pub(crate) const ARTIFACT: &str = "discovery.json";

/// What an API server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Discovery {
    /// `v1.33.13`.
    pub(crate) version: String,
    pub(crate) kinds: Vec<Kind>,
}

/// A kind in one version of its group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Kind {
    pub(crate) api_version: String,
    pub(crate) name: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Kind {
    fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// What stays the same when a group gets another version.
    fn identity(&self) -> (&str, &str) {
        (self.group(), &self.name)
    }
}

impl Discovery {
    /// As `kubernetes.servers` gave it, in an order of its own so that equal servers make equal artifacts.
    pub(crate) fn of(server: &Server) -> Self {
        let mut kinds: Vec<Kind> = server
            .kinds
            .iter()
            .map(|served| Kind {
                api_version: served.kind.api_version.clone(),
                name: served.kind.name.clone(),
                plural: served.plural.clone(),
                namespaced: served.namespaced,
            })
            .collect();
        kinds.sort();
        kinds.dedup();
        Self {
            version: server.version.clone(),
            kinds,
        }
    }

    /// Kinds that this server serves and the older one did in no version, one entry each.
    pub(crate) fn lost_in(&self, older: &Discovery) -> Vec<&Kind> {
        let known: BTreeSet<(&str, &str)> = older.kinds.iter().map(Kind::identity).collect();
        let mut seen = BTreeSet::new();
        self.kinds
            .iter()
            .filter(|kind| !known.contains(&kind.identity()) && is_built_in(kind.group()))
            .filter(|kind| seen.insert(kind.identity()))
            .collect()
    }
}

/// Whether a group comes with the API server itself. Other groups come from objects in the store (custom resources,
/// aggregated servers) and stay when the server changes.
fn is_built_in(group: &str) -> bool {
    const PLAIN: [&str; 6] = ["", "apps", "autoscaling", "batch", "extensions", "policy"];
    // The owners of these groups publish them as custom resources or from servers of their own.
    const FOREIGN: [&str; 4] = [
        "metrics.k8s.io",
        "snapshot.storage.k8s.io",
        "gateway.networking.k8s.io",
        "policy.networking.k8s.io",
    ];
    PLAIN.contains(&group)
        || (group.ends_with(".k8s.io")
            && !FOREIGN.contains(&group)
            && !group.ends_with(".metrics.k8s.io")
            && !group.ends_with(".x-k8s.io"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(kinds: &[(&str, &str)]) -> Discovery {
        let kinds = kinds
            .iter()
            .map(|(api_version, name)| Kind {
                api_version: (*api_version).into(),
                name: (*name).into(),
                plural: String::new(),
                namespaced: true,
            })
            .collect();
        Discovery {
            version: "v1".into(),
            kinds,
        }
    }

    #[test]
    fn another_version_of_a_known_kind_is_not_lost() {
        let old = discovery(&[("v1", "Pod"), ("resource.k8s.io/v1beta1", "ResourceClaim")]);
        let new = discovery(&[
            ("v1", "Pod"),
            ("resource.k8s.io/v1beta1", "ResourceClaim"),
            ("resource.k8s.io/v1", "ResourceClaim"),
        ]);
        assert!(new.lost_in(&old).is_empty());
    }

    #[test]
    fn new_kinds_of_the_server_are_lost_and_those_of_others_are_not() {
        let old = discovery(&[("v1", "Pod")]);
        let new = discovery(&[
            ("v1", "Pod"),
            ("resource.k8s.io/v1", "DeviceClass"),
            ("resource.k8s.io/v1beta2", "DeviceClass"),
            ("traefik.io/v1alpha1", "IngressRoute"),
            ("metrics.k8s.io/v1beta1", "PodMetrics"),
            ("custom.metrics.k8s.io/v1beta1", "MetricValue"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("batch/v2", "Later"),
        ]);
        let names: Vec<&str> = new
            .lost_in(&old)
            .iter()
            .map(|kind| kind.name.as_str())
            .collect();
        assert_eq!(names, ["DeviceClass", "Later"]);
    }
}
