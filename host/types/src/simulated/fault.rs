//! Faults: what goes wrong on a simulated platform, where and when. One file serves demo and tests.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Document, JsonPath, Mistakes, TimeSpan};

/// A file of faults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Faults {
    /// Where the schema of this file is.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// All faults; for each effect the first that fits counts.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A fault. Names of hosts, clusters, units, packages and functions may hold `*`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub fault: FaultKind,
    /// For people, and the name under which its occurrences are counted; none: its place in the file.
    #[serde(default)]
    pub name: Option<String>,
    /// The host.
    #[serde(default)]
    pub host: Option<String>,
    /// The cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Only these functions: `systemd.restart`, `packages.*`.
    #[serde(default)]
    pub function: Option<String>,
    /// Of `unit-start`: the unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// Of `package`: its name.
    #[serde(default)]
    pub package: Option<String>,
    /// Of `package`: the version; none: any.
    #[serde(default)]
    pub version: Option<String>,
    /// Of `budget`: its namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Of `budget`: its name.
    #[serde(default)]
    pub budget: Option<String>,
    /// Of `disk-full`: a path on the file system; none: `/`.
    #[serde(default)]
    pub path: Option<String>,
    /// Of `slow`: how long each effect takes longer.
    #[serde(default)]
    pub delay: Option<TimeSpan>,
    /// Of `api`: how it fails.
    #[serde(default)]
    pub status: ApiStatus,
    /// Of `connection-lost`: whether the write happened all the same.
    #[serde(default)]
    pub performed: bool,
    /// What the failure says.
    #[serde(default)]
    pub message: Option<String>,
    /// The first occurrence that fails, from 1.
    #[serde(default)]
    pub from: Option<u64>,
    /// How many fail; none: all from then on.
    #[serde(default)]
    pub count: Option<u64>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The host does not answer.
    #[default]
    Unreachable,
    /// The unit fails to start.
    UnitStart,
    /// The package fails in its post-installation script.
    Package,
    /// The PodDisruptionBudget never allows an eviction.
    Budget,
    /// Effects take longer; really.
    Slow,
    /// The API fails.
    Api,
    /// The file system has no room left.
    DiskFull,
    /// The connection is lost during a write: nobody knows whether it happened.
    ConnectionLost,
}

/// How an API fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApiStatus {
    /// It does not answer.
    #[default]
    Unreachable,
    /// It says that something else was faster.
    Conflict,
    /// It says that it failed.
    Failed,
}

impl Fault {
    /// Whether the `n`-th occurrence, from 1, fails.
    #[must_use]
    pub fn strikes(&self, n: u64) -> bool {
        let from = self.from.unwrap_or(1).max(1);
        n >= from && self.count.is_none_or(|count| n - from < count)
    }

    /// Whether occurrences must be counted to know whether it strikes.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.count.is_some() || self.from.unwrap_or(1) > 1
    }

    /// How long `slow` waits.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay.map_or(Duration::ZERO, Duration::from)
    }

    /// Whether it has what its kind needs.
    ///
    /// # Errors
    /// With what is missing.
    pub fn check(&self) -> Result<(), String> {
        let needs = |what: &str, there: bool| match there {
            true => Ok(()),
            false => Err(format!("a fault of this kind needs `{what}`")),
        };
        match self.fault {
            FaultKind::Unreachable | FaultKind::DiskFull => needs("host", self.host.is_some()),
            FaultKind::UnitStart => needs("unit", self.unit.is_some()),
            FaultKind::Package => needs("package", self.package.is_some()),
            FaultKind::Budget => needs("budget", self.budget.is_some()),
            FaultKind::Slow => needs("delay", self.delay.is_some()),
            FaultKind::Api => needs("cluster", self.cluster.is_some()),
            FaultKind::ConnectionLost => needs("host` or `cluster", self.host.is_some() || self.cluster.is_some()),
        }
    }
}

impl Document for Faults {
    const KIND: &'static str = "faults";

    fn check(&self, mistakes: &mut Mistakes) {
        for (number, fault) in self.faults.iter().enumerate() {
            if let Err(reason) = fault.check() {
                mistakes.add(&JsonPath::root().key("faults").index(number), reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences() {
        let fault = Fault { from: Some(3), count: Some(2), ..Fault::default() };
        let struck: Vec<u64> = (1..7).filter(|n| fault.strikes(*n)).collect();
        assert_eq!(struck, [3, 4]);
        assert!(Fault::default().strikes(1000));
        assert!(!Fault::default().counts());
    }
}
