//! What an operation was asked to do.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Artifact, BackupSet, ComponentVersion, HostInfo, Invocation, Place, Problem, problems::refused};

/// The parameters as a type of the plugin's own, which should refuse unknown fields. The host has checked them against
/// the manifest, so a failure here means that manifest and type have come apart.
pub fn parse<P: DeserializeOwned>(invocation: &Invocation) -> Result<P, Problem> {
    serde_json::from_str(&invocation.parameters)
        .map_err(|error| refused("invalid-parameters", "parameters", format!("the parameters cannot be used: {error}")))
}

/// What an invocation holds, by the names plugins use.
pub trait Inputs {
    /// Names of the hosts, in inventory order.
    fn host_names(&self) -> Vec<String>;
    /// The one host of a host-scoped operation.
    fn host(&self) -> Result<&HostInfo, Problem>;
    /// The cluster; refused where the inventory names none.
    fn cluster(&self) -> Result<&str, Problem>;
    /// The backup set of a backout.
    fn backup_set(&self) -> Result<Backup<'_>, Problem>;
    /// The run's moment as part of a name: `20261121T075146Z`.
    fn stamp_name(&self) -> String;
}

impl Inputs for Invocation {
    fn host_names(&self) -> Vec<String> {
        self.target.hosts.iter().map(|host| host.name.clone()).collect()
    }

    fn host(&self) -> Result<&HostInfo, Problem> {
        match self.target.hosts.as_slice() {
            [host] => Ok(host),
            hosts => Err(refused("wrong-target", "target", format!("one host is needed, {} were given", hosts.len()))),
        }
    }

    fn cluster(&self) -> Result<&str, Problem> {
        self.target
            .cluster
            .as_deref()
            .ok_or_else(|| refused("no-cluster", "target", "the inventory names no cluster for this step"))
    }

    fn backup_set(&self) -> Result<Backup<'_>, Problem> {
        self.backup
            .as_ref()
            .map(Backup)
            .ok_or_else(|| refused("no-backup-set", "backup", "this operation needs a backup set, and was given none"))
    }

    fn stamp_name(&self) -> String {
        let seconds = self.stamp.split('.').next().unwrap_or(&self.stamp);
        let digits: String = seconds.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        format!("{}Z", digits.trim_end_matches('Z'))
    }
}

/// A backup set with what a backout looks for in it.
#[derive(Debug, Clone, Copy)]
pub struct Backup<'a>(pub &'a BackupSet);

impl<'a> Backup<'a> {
    /// The artifact of that name; refused when the set has none.
    pub fn artifact(&self, name: &str) -> Result<&'a Artifact, Problem> {
        self.0.artifacts.iter().find(|artifact| artifact.name == name).ok_or_else(|| {
            refused(
                "incomplete-backup",
                self.0.id.as_str(),
                format!("backup set {} holds no artifact {name}", self.0.id),
            )
        })
    }

    /// Version the set has of a part, wherever it was found first.
    pub fn version(&self, part: &str) -> Option<&'a str> {
        self.0.versions.iter().find(|version| version.part == part).map(|version| version.version.as_str())
    }

    /// Version the set has of a part on one host.
    pub fn version_on(&self, host: &str, part: &str) -> Option<&'a str> {
        self.versions_on(host).find(|version| version.part == part).map(|version| version.version.as_str())
    }

    /// Versions the set has of one host.
    pub fn versions_on(&self, host: &str) -> impl Iterator<Item = &'a ComponentVersion> {
        let place = Place::Host(host.to_owned());
        self.0.versions.iter().filter(move |version| version.place == place)
    }

    /// What the backup noted (`outputs` of its report), as the type that it was written with.
    pub fn notes<N: DeserializeOwned>(&self) -> Result<N, Problem> {
        serde_json::from_str(&self.0.notes).map_err(|error| {
            refused(
                "unreadable-backup",
                self.0.id.as_str(),
                format!("the notes of backup set {} cannot be read: {error}", self.0.id),
            )
        })
    }

    /// The data of artifacts, verified by the host, in the order asked for.
    pub fn data(&self, names: &[&str]) -> Result<Vec<Vec<u8>>, Problem> {
        use crate::Answers;
        use crate::api::artifacts::{self, DataRef};
        let refs = names
            .iter()
            .map(|name| Ok(DataRef { digest: self.artifact(name)?.digest.clone() }))
            .collect::<Result<Vec<_>, Problem>>()?;
        let found = artifacts::get_data(&refs).all()?;
        Ok(found.into_iter().map(|stored| stored.data).collect())
    }

    /// An artifact that is JSON.
    pub fn json(&self, name: &str) -> Result<Value, Problem> {
        let data = self.data(&[name])?.pop().unwrap_or_default();
        serde_json::from_slice(&data)
            .map_err(|error| refused("unreadable-backup", name, format!("artifact {name} is no JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, Target};
    use serde::Deserialize;

    fn invocation(parameters: &str) -> Invocation {
        Invocation {
            run: "r".into(),
            step: "s".into(),
            attempt: 1,
            stamp: "2026-11-21T07:51:46.123Z".into(),
            target: Target { scope: Scope::Cluster, cluster: None, hosts: vec![] },
            parameters: parameters.into(),
            backup: None,
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        count: u32,
    }

    #[test]
    fn parameters_are_typed_and_unknown_ones_refused() {
        assert_eq!(parse::<Parameters>(&invocation(r#"{"count":3}"#)).map(|p| p.count).ok(), Some(3));
        let refusal = parse::<Parameters>(&invocation(r#"{"count":3,"more":1}"#)).map(|_| ());
        assert!(matches!(refusal, Err(Problem::Refused(f)) if f[0].message.contains("more")));
    }

    #[test]
    fn the_stamp_can_stand_in_a_name() {
        assert_eq!(invocation("{}").stamp_name(), "20261121T075146Z");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let invocation = invocation("{}");
        assert!(invocation.cluster().is_err());
        assert!(invocation.host().is_err());
        assert!(invocation.backup_set().is_err());
    }
}
