//! Versions of Kubernetes, and how far apart its parts may be.

use std::fmt;

/// A version without what a distribution adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// Minor versions that a kubelet or kube-proxy may be older than the API server.
const NODE_SKEW: u32 = 3;
/// Minor versions that a controller may be older than the API server.
const CONTROLLER_SKEW: u32 = 1;

impl Version {
    /// Reads `v1.34.4`, `1.34.4`, or the version of a package: `1:1.34.4-1`, `1.34.4-150500.1.1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_, rest)| rest);
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next().unwrap_or(0) })
    }

    /// Whether it is of the given minor version or of the one behind it.
    fn follows(self, before: Self) -> bool {
        self.major == before.major && self.minor <= before.minor.saturating_add(1)
    }

    /// Whether it is at most so many minor versions older.
    fn within(self, of: Self, minors: u32) -> bool {
        self.major == of.major && self.minor.saturating_add(minors) >= of.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Something of a version, to be held against the API server's.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The package, or `kubelet of node-1`.
    pub(crate) part: String,
    pub(crate) version: Version,
    pub(crate) role: Role,
}

/// What the skew rules know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Controller,
    Node,
}

impl Role {
    fn skew(self) -> u32 {
        match self {
            Self::Controller => CONTROLLER_SKEW,
            Self::Node => NODE_SKEW,
        }
    }
}

/// Why these parts cannot be together with an API server of that version; one sentence for each part in the way.
pub(crate) fn skew(api_server: Version, found: &[Found]) -> Vec<String> {
    found
        .iter()
        .filter_map(|found| {
            if found.version > api_server {
                return Some(format!(
                    "{} {} would be newer than kube-apiserver {api_server}: no part of Kubernetes may be newer than \
                     the API server",
                    found.part, found.version
                ));
            }
            (!found.version.within(api_server, found.role.skew())).then(|| {
                format!(
                    "{} {} would be too old for kube-apiserver {api_server}: at most {} minor version(s) are supported",
                    found.part,
                    found.version,
                    found.role.skew()
                )
            })
        })
        .collect()
}

/// Why an API server cannot go from one version to another.
pub(crate) fn step(from: Version, to: Version) -> Option<String> {
    (!to.follows(from)).then(|| {
        format!(
            "kube-apiserver cannot go from {from} to {to}: Kubernetes supports no update that skips a minor version"
        )
    })
}

/// CEL over a Node: its kubelet has that version, whatever a distribution appends.
pub(crate) fn kubelet_condition(version: Version) -> String {
    let field = "object.status.nodeInfo.kubeletVersion";
    format!("({field} == \"v{version}\" || {field}.startsWith(\"v{version}-\") || {field}.startsWith(\"v{version}+\"))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text} is no version"))
    }

    fn found(part: &str, text: &str, role: Role) -> Found {
        Found { part: part.into(), version: version(text), role }
    }

    #[test]
    fn every_way_to_write_a_version() {
        for text in
            ["v1.34.4", "1.34.4", "1.34.4-1", "1:1.34.4-1", "1.34.4-150500.1.1", "v1.34.4+k3s1", "1.34.4~rc.1-1"]
        {
            assert_eq!(version(text).to_string(), "1.34.4", "{text}");
        }
        assert_eq!(version("1.34").to_string(), "1.34.0");
        for text in ["", "v", "latest", "1", "x1.2.3", "1.x"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn order_is_numeric() {
        assert!(version("1.9.0") < version("1.34.0"));
        assert!(version("1.34.4") < version("1.34.13"));
    }

    #[test]
    fn nothing_is_newer_than_the_api_server() {
        let parts =
            [found("kubelet of n1", "1.34.4", Role::Node), found("kube-scheduler", "1.33.13", Role::Controller)];
        let said = skew(version("1.33.13"), &parts);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("kubelet of n1 1.34.4 would be newer than kube-apiserver 1.33.13"), "{said:?}");
        assert!(skew(version("1.34.4"), &parts).is_empty());
        let patch = [found("kubelet", "1.33.14", Role::Node)];
        assert_eq!(skew(version("1.33.13"), &patch).len(), 1);
    }

    #[test]
    fn what_is_left_too_far_behind_is_said() {
        let old = [found("kubelet", "1.30.1", Role::Node), found("kube-scheduler", "1.32.1", Role::Controller)];
        assert_eq!(skew(version("1.33.0"), &old).len(), 0);
        let said = skew(version("1.34.0"), &old);
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn the_api_server_skips_no_minor_version() {
        assert_eq!(step(version("1.33.13"), version("1.34.4")), None);
        assert_eq!(step(version("1.34.4"), version("1.34.5")), None);
        assert!(step(version("1.33.13"), version("1.35.0")).is_some_and(|text| text.contains("skips")));
    }

    #[test]
    fn the_condition_takes_whole_versions() {
        let condition = kubelet_condition(version("1.34.4"));
        assert!(condition.contains("== \"v1.34.4\""));
        assert!(condition.contains("startsWith(\"v1.34.4-\")"));
        assert!(!condition.contains("startsWith(\"v1.34.4\")"));
    }
}
