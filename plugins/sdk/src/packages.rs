//! Packages on hosts.

use std::collections::BTreeMap;

use crate::api::packages::{
    self, ChangedConfiguration, FetchOrder, InstallOrder, PackageRef, PackageStatus, PackageVersion,
};
use crate::{Answers, ComponentVersion, Failure, Finding, Place, finding};

/// What is known of packages: per host, per name.
pub type Installed = BTreeMap<String, BTreeMap<String, PackageStatus>>;

/// Versions wanted, by package.
pub type Versions = BTreeMap<String, String>;

/// State of packages on hosts, in one call.
pub fn status(hosts: &[String], names: &[&str]) -> Result<Installed, Failure> {
    let refs: Vec<PackageRef> = hosts
        .iter()
        .flat_map(|host| names.iter().map(|name| PackageRef { host: host.clone(), name: (*name).to_owned() }))
        .collect();
    let found = packages::status(&refs).all()?;
    let mut installed = Installed::new();
    for (at, status) in refs.into_iter().zip(found) {
        installed.entry(at.host).or_default().insert(at.name, status);
    }
    Ok(installed)
}

/// Versions of what is installed, for reports.
pub fn versions(installed: &Installed) -> Vec<ComponentVersion> {
    installed
        .iter()
        .flat_map(|(host, packages)| {
            packages.iter().filter_map(|(name, status)| {
                let version = status.version.clone()?;
                Some(ComponentVersion { part: name.clone(), version, place: Place::Host(host.clone()) })
            })
        })
        .collect()
}

/// What of the wanted versions a host neither has nor can fetch.
pub fn unavailable(host: &str, found: &BTreeMap<String, PackageStatus>, wanted: &Versions) -> Vec<Finding> {
    wanted
        .iter()
        .filter(|(name, version)| match found.get(*name) {
            Some(status) => status.version.as_ref() != Some(version) && !status.available.contains(version),
            None => true,
        })
        .map(|(name, version)| {
            let message = format!("package {name} {version} is in no enabled repository of host {host}");
            finding("package-unavailable", host, message)
        })
        .collect()
}

/// What of the wanted versions is not installed, or only half.
pub fn differing(found: &BTreeMap<String, PackageStatus>, wanted: &Versions) -> Versions {
    wanted
        .iter()
        .filter(|(name, version)| {
            !found.get(*name).is_some_and(|status| status.version.as_ref() == Some(version) && !status.broken)
        })
        .map(|(name, version)| (name.clone(), version.clone()))
        .collect()
}

/// How to install.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'a> {
    /// Lower versions than the installed ones are meant.
    pub allow_downgrade: bool,
    /// Packages that may go.
    pub removals: &'a [&'a str],
    /// How long it may take.
    pub seconds: u32,
}

/// Installs exactly these versions on a host in one transaction, configuration changed there kept. Nothing is asked of
/// the host where nothing is wanted.
pub fn install(host: &str, wanted: &Versions, how: Installation<'_>) -> Result<Option<packages::Transaction>, Failure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let order = InstallOrder {
        host: host.to_owned(),
        packages: list(wanted),
        removals: how.removals.iter().map(|name| (*name).to_owned()).collect(),
        allow_downgrade: how.allow_downgrade,
        changed_configuration: ChangedConfiguration::Keep,
        time_out: how.seconds.saturating_mul(1000),
    };
    packages::install(&[order]).one().map(Some)
}

/// Downloads versions to hosts without installing them: the proof that a host can have them.
pub fn fetch(wanted: &[(String, Versions)], seconds: u32) -> Result<(), Failure> {
    let orders: Vec<FetchOrder> = wanted
        .iter()
        .filter(|(_, versions)| !versions.is_empty())
        .map(|(host, versions)| FetchOrder {
            host: host.clone(),
            packages: list(versions),
            time_out: seconds.saturating_mul(1000),
        })
        .collect();
    packages::fetch(&orders).all().map(|_| ())
}

fn list(versions: &Versions) -> Vec<PackageVersion> {
    versions.iter().map(|(name, version)| PackageVersion { name: name.clone(), version: version.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Option<&str>, broken: bool, available: &[&str]) -> PackageStatus {
        PackageStatus {
            name: "p".into(),
            version: version.map(Into::into),
            broken,
            held: false,
            available: available.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    fn wanted(version: &str) -> Versions {
        Versions::from([("p".to_owned(), version.to_owned())])
    }

    #[test]
    fn installed_or_offered_is_available() {
        let found = BTreeMap::from([("p".to_owned(), status(Some("1"), false, &["2"]))]);
        assert!(unavailable("h", &found, &wanted("1")).is_empty());
        assert!(unavailable("h", &found, &wanted("2")).is_empty());
        assert_eq!(unavailable("h", &found, &wanted("3")).len(), 1);
        assert_eq!(unavailable("h", &BTreeMap::new(), &wanted("1")).len(), 1);
    }

    #[test]
    fn a_half_installed_package_differs() {
        let whole = BTreeMap::from([("p".to_owned(), status(Some("1"), false, &[]))]);
        let half = BTreeMap::from([("p".to_owned(), status(Some("1"), true, &[]))]);
        assert!(differing(&whole, &wanted("1")).is_empty());
        assert_eq!(differing(&half, &wanted("1")).len(), 1);
        assert_eq!(differing(&whole, &wanted("2")).len(), 1);
    }
}
