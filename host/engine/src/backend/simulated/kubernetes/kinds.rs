//! Which kinds an API server serves, by its version.

use std::cmp::Ordering;

use indexmap::IndexMap;

use crate::backend::simulated::model::version;
use runner_types::simulated::{ClusterSeed, KindSeed};

/// Kubernetes' own kinds, by the versions that serve them.
const BUILT_IN: &str = include_str!("kinds.json");

/// The kinds of all clusters.
pub(crate) struct Kinds {
    built_in: Vec<KindSeed>,
    seeded: IndexMap<String, Vec<KindSeed>>,
}

impl Kinds {
    /// With those that the seed adds.
    pub(crate) fn new(clusters: &IndexMap<String, ClusterSeed>) -> Self {
        let built_in = serde_json::from_str(BUILT_IN).unwrap_or_else(|error| {
            tracing::error!(%error, "the list of Kubernetes' kinds is not readable");
            Vec::new()
        });
        let seeded = clusters.iter();
        Self { built_in, seeded: seeded.map(|(name, cluster)| (name.clone(), cluster.kinds.clone())).collect() }
    }

    /// What a cluster's API server of this version (`v1.34.4`) serves beside what its own objects define.
    pub(crate) fn served<'k>(
        &'k self,
        cluster: &str,
        version: &'k str,
    ) -> impl Iterator<Item = &'k KindSeed> + use<'k> {
        let seeded = self.seeded.get(cluster).map(Vec::as_slice);
        let all = self.built_in.iter().chain(seeded.unwrap_or_default());
        all.filter(move |kind| serves(kind, version))
    }
}

fn serves(kind: &KindSeed, version: &str) -> bool {
    let minor = version::minor(version);
    let at_least = |bound: &str| version::compare(&minor, bound) != Ordering::Less;
    kind.since.as_deref().is_none_or(at_least) && !kind.until.as_deref().is_some_and(at_least)
}

/// `Kind` for the core group, else `Kind.group`: how grants and keys name a kind.
pub(crate) fn full_kind(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    }
}

/// The group of a kind as grants name it; empty for the core group.
pub(crate) fn group_of(full: &str) -> &str {
    full.split_once('.').map_or("", |(_, group)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_depends_on_the_version() {
        let kinds = Kinds::new(&IndexMap::new());
        let serves = |version, kind| kinds.served("main", version).any(|k| k.kind == kind);
        assert!(serves("v1.33.13", "Deployment"));
        assert!(!serves("v1.33.13", "ResourceClaim"));
        assert!(serves("v1.34.4", "ResourceClaim"));
    }

    #[test]
    fn bounds() {
        let kind = KindSeed {
            kind: "X".to_owned(),
            api_version: "x/v1".to_owned(),
            plural: "xs".to_owned(),
            namespaced: true,
            since: Some("1.9".to_owned()),
            until: Some("1.34".to_owned()),
        };
        assert!(!serves(&kind, "v1.8.0"));
        assert!(serves(&kind, "v1.33.13"));
        assert!(!serves(&kind, "v1.34.0"));
        assert_eq!(full_kind("apps/v1", "Deployment"), "Deployment.apps");
        assert_eq!(full_kind("v1", "Pod"), "Pod");
    }
}
