//! What an API server serves, and what is stored that an older one does not.

use std::collections::BTreeSet;

use sdk::api::kubernetes::{ObjectKind, PageOrder, Selection, Server, pages};
use sdk::kubernetes::Cluster;
use sdk::{Failure, FailureKind, Finding, finding};
use serde::{Deserialize, Serialize};

use crate::preflight::Assessment;

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
        self.api_version.split_once('/').map_or("", |(group, _)| group)
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
        Self { version: server.version.clone(), kinds }
    }

    /// Kinds that this server serves and the older one did in no version, one entry each.
    pub(crate) fn lost_in(&self, older: &Discovery) -> Vec<&Kind> {
        let known: BTreeSet<(&str, &str)> = older.kinds.iter().map(Kind::identity).collect();
        let mut seen = BTreeSet::new();
        self.kinds
            .iter()
            .filter(|kind| !known.contains(&kind.identity()) && is_built_in(kind.group()))
            .filter(|kind| !MADE_BY_SERVER.contains(&kind.identity()))
            .filter(|kind| seen.insert(kind.identity()))
            .collect()
    }
}

/// Kinds whose objects API servers make for themselves: nobody could remove them, and an older server does without.
const MADE_BY_SERVER: [(&str, &str); 4] = [
    ("coordination.k8s.io", "LeaseCandidate"),
    ("internal.apiserver.k8s.io", "StorageVersion"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "ServiceCIDR"),
];

/// Whether a group comes with the API server itself. Other groups come from objects in the store (custom resources,
/// aggregated servers) and stay when the server changes.
fn is_built_in(group: &str) -> bool {
    const PLAIN: [&str; 6] = ["", "apps", "autoscaling", "batch", "extensions", "policy"];
    // The owners of these groups publish them as custom resources or from servers of their own.
    const FOREIGN: [&str; 4] =
        ["metrics.k8s.io", "snapshot.storage.k8s.io", "gateway.networking.k8s.io", "policy.networking.k8s.io"];
    PLAIN.contains(&group)
        || (group.ends_with(".k8s.io")
            && !FOREIGN.contains(&group)
            && !group.ends_with(".metrics.k8s.io")
            && !group.ends_with(".x-k8s.io"))
}

/// Objects named in one refusal; more are counted.
const NAMED: usize = 5;

/// Refuses stored objects of kinds that an older API server does not serve: it could neither show nor remove them.
pub(crate) fn unserved(cluster: Cluster<'_>, now: &Discovery, older: &Discovery) -> Result<Assessment, Failure> {
    let lost = now.lost_in(older);
    let orders: Vec<PageOrder> = lost
        .iter()
        .map(|kind| PageOrder {
            selection: Selection {
                cluster: cluster.0.to_owned(),
                kind: ObjectKind { api_version: kind.api_version.clone(), name: kind.name.clone() },
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
            Err(failure) if matches!(failure.kind, FailureKind::NotFound | FailureKind::Unsupported) => {
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
        found.refusals.extend(unserved_finding(kind, &names, page.token.is_some(), &older.version));
    }
    Ok(found)
}

fn unserved_finding(kind: &Kind, names: &[String], more: bool, version: &str) -> Option<Finding> {
    if names.is_empty() {
        return None;
    }
    let mut list = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED || more {
        list.push_str(&format!(" and {}{} more", names.len().saturating_sub(NAMED), if more { " or" } else { "" }));
    }
    let message = format!(
        "kube-apiserver {version} does not serve {} of {}, and such objects are stored: {list}. Remove them, or choose \
         a restore of etcd by unserved-objects",
        kind.name, kind.api_version
    );
    Some(finding("unserved-object", kind.name.as_str(), message))
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
        Discovery { version: "v1".into(), kinds }
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
            ("networking.k8s.io/v1", "IPAddress"),
        ]);
        let names: Vec<&str> = new.lost_in(&old).iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(names, ["DeviceClass", "Later"]);
    }

    #[test]
    fn stored_objects_are_counted_beyond_the_first_few() {
        let kind = Kind {
            api_version: "resource.k8s.io/v1".into(),
            name: "DeviceClass".into(),
            plural: "deviceclasses".into(),
            namespaced: false,
        };
        let names: Vec<String> = (1..=7).map(|n| format!("d{n}")).collect();
        let said = |names: &[String], more| unserved_finding(&kind, names, more, "v1.33.13").map(|found| found.message);
        assert_eq!(said(&[], false), None);
        assert!(said(&names[..2], false).is_some_and(|text| text.contains("are stored: d1, d2.")));
        assert!(said(&names, false).is_some_and(|text| text.contains("d5 and 2 more")));
        assert!(said(&names, true).is_some_and(|text| text.contains("d5 and 2 or more")));
    }
}
