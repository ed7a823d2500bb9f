//! Words that several files share: operations, scopes, depths, effect classes, places.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a plugin can do for its component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Save what a later backout needs.
    Backup,
    /// Bring the component to a version.
    Update,
    /// Bring the component back to a backup set.
    Backout,
    /// Look whether it works.
    Verify,
    /// Take a target out of service and back.
    Maintenance,
}

impl Operation {
    /// All of them, in the order of a component's life.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Update, Self::Backout, Self::Verify, Self::Maintenance];

    /// The name that files use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Update => "update",
            Self::Backout => "backout",
            Self::Verify => "verify",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether it may change the platform beyond its own temporary files.
    #[must_use]
    pub const fn changes_platform(self) -> bool {
        match self {
            Self::Update | Self::Backout | Self::Maintenance => true,
            Self::Backup | Self::Verify => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On what one invocation of an operation works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All hosts of the step at once.
    Cluster,
    /// One host.
    Host,
}

/// How much verify looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Only what is installed.
    Versions,
    /// Everything that tells whether the component works.
    #[default]
    Health,
}

/// What repeating an effect means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EffectClass {
    /// Touches nothing outside runner.
    None,
    /// Changes nothing.
    Read,
    /// Doing it again leads to the same state.
    WriteIdempotent,
    /// Must not happen twice.
    WriteOnce,
}

impl EffectClass {
    /// Whether its Start must be on disk before it is performed.
    #[must_use]
    pub const fn is_write(self) -> bool {
        match self {
            Self::None | Self::Read => false,
            Self::WriteIdempotent | Self::WriteOnce => true,
        }
    }

    /// The name that files use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::WriteIdempotent => "write-idempotent",
            Self::WriteOnce => "write-once",
        }
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where something is or happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A host of the inventory.
    Host(String),
    /// A cluster of the inventory.
    Cluster(String),
    /// The machine on which runner itself runs.
    Runner,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) | Self::Cluster(name) => f.write_str(name),
            Self::Runner => f.write_str("runner"),
        }
    }
}

/// On what one attempt of a step works: the name of a plugin instance's target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// One host.
    Host(String),
    /// All hosts of the step, in this cluster.
    Cluster(String),
    /// All hosts of the step, where the inventory names no cluster.
    Hosts,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) | Self::Cluster(name) => f.write_str(name),
            Self::Hosts => f.write_str("hosts"),
        }
    }
}
