//! The package manager of hosts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::files::Entry;
use super::units::Unit;
use super::{Model, Scope, keys, version};
use crate::backend::failure;
use crate::backend::simulated::fault::{FaultKind, Occasion};
use crate::backend::simulated::pattern::glob;
use crate::contract::Failure;
use crate::contract::packages::{
    ChangedConfiguration, InstallOrder, PackageChange, PackageStatus, PackageVersion, RemovalOrder, Repository,
    Transaction,
};
use runner_types::simulated::PackageContent;
use runner_types::simulated::PackageMoment;

const CACHE: &str = "/var/cache/apt/archives";

/// A package that a host has, or has heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Package {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) broken: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) held: bool,
    /// Hash of each configuration file as the package brought it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) conffiles: BTreeMap<String, String>,
}

impl Model<'_> {
    fn package(&self, host: &str, name: &str) -> Result<Package, Failure> {
        Ok(self.tx.get(&keys::package(host, name))?.unwrap_or_default())
    }

    /// Installed version of a package.
    pub(crate) fn installed(&self, host: &str, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.package(host, name)?.version)
    }

    fn set_package(&mut self, host: &str, name: &str, package: &Package) -> Result<(), Failure> {
        let key = keys::package(host, name);
        if *package == Package::default() {
            self.tx.remove(&key);
            return Ok(());
        }
        self.tx.set(&key, package)
    }

    fn repository_enabled(&self, host: &str, id: &str) -> Result<bool, Failure> {
        let default = self.rules.repositories.get(id).is_some_and(|r| r.enabled);
        Ok(self.tx.get(&keys::repository(host, id))?.unwrap_or(default))
    }

    /// The repositories of a host.
    pub(crate) fn repositories(&self, host: &str) -> Result<Vec<Repository>, Failure> {
        let all = self.rules.repositories.iter();
        all.map(|(id, repository)| {
            Ok(Repository { id: id.clone(), url: repository.url.clone(), enabled: self.repository_enabled(host, id)? })
        })
        .collect()
    }

    /// Switches a repository; true: changed.
    pub(crate) fn set_repository(&mut self, host: &str, id: &str, enabled: bool) -> Result<bool, Failure> {
        if !self.rules.repositories.contains_key(id) {
            return Err(failure::not_found(id, format!("{host} has no repository {id}")));
        }
        if self.repository_enabled(host, id)? == enabled {
            return Ok(false);
        }
        self.tx.set(&keys::repository(host, id), &enabled)?;
        Ok(true)
    }

    /// Versions that the enabled repositories offer, newest first.
    pub(super) fn available(&self, host: &str, name: &str) -> Result<Vec<String>, Failure> {
        let mut versions = BTreeSet::new();
        for (id, repository) in &self.rules.repositories {
            if let Some(package) = repository.packages.get(name)
                && self.repository_enabled(host, id)?
            {
                versions.extend(package.versions.keys().cloned());
            }
        }
        let mut versions: Vec<String> = versions.into_iter().collect();
        versions.sort_by(|a, b| version::compare(b, a));
        Ok(versions)
    }

    /// State of a package.
    pub(crate) fn package_status(&self, host: &str, name: &str) -> Result<PackageStatus, Failure> {
        let package = self.package(host, name)?;
        Ok(PackageStatus {
            name: name.to_owned(),
            version: package.version,
            broken: package.broken,
            held: package.held,
            available: self.available(host, name)?,
        })
    }

    /// Holds or releases packages; true: changed.
    pub(crate) fn set_held(&mut self, host: &str, names: &[String], held: bool) -> Result<bool, Failure> {
        let mut changed = false;
        for name in names {
            let mut package = self.package(host, name)?;
            changed |= package.held != held;
            package.held = held;
            self.set_package(host, name, &package)?;
        }
        Ok(changed)
    }

    fn offered(&self, host: &str, wanted: &PackageVersion) -> Result<(), Failure> {
        if self.available(host, &wanted.name)?.contains(&wanted.version) {
            return Ok(());
        }
        let text = format!("Version '{}' for '{}' was not found", wanted.version, wanted.name);
        Err(failure::not_found(&wanted.name, format!("{text} in the repositories of {host}")))
    }

    /// Downloads packages; answers the files' paths.
    pub(crate) fn fetch(&mut self, host: &str, packages: &[PackageVersion]) -> Result<Vec<String>, Failure> {
        let mut paths = Vec::new();
        for wanted in packages {
            self.offered(host, wanted)?;
            let escaped = wanted.version.replace(':', "%3a");
            let path = format!("{CACHE}/{}_{escaped}_amd64.deb", wanted.name);
            if self.entry(host, &path)?.is_none() {
                let content = self.rules.package(&wanted.name, &wanted.version).unwrap_or_default();
                let size = content.files.values().filter_map(|file| file.size).map(|size| size.0).sum::<u64>();
                let made = Content::Made { name: path.clone(), size: 4096 + size / 4 };
                self.put(host, &path, &Entry::file(made, self.now))?;
            }
            paths.push(path);
        }
        Ok(paths)
    }

    /// Installs exact versions in one transaction.
    pub(crate) fn install(&mut self, order: &InstallOrder) -> Result<Transaction, Failure> {
        let host = order.host.as_str();
        let mut target = BTreeMap::new();
        for wanted in &order.packages {
            let before = self.package(host, &wanted.name)?;
            if before.version.as_ref() != Some(&wanted.version) {
                self.offered(host, wanted)?;
            }
            if let Some(installed) = &before.version
                && !order.allow_downgrade
                && version::compare(&wanted.version, installed) == Ordering::Less
            {
                return Err(failure::conflict(
                    &wanted.name,
                    format!("{} {} on {host} would be downgraded to {}", wanted.name, installed, wanted.version),
                    vec![format!("{} {installed}", wanted.name)],
                    Some(installed.clone()),
                ));
            }
            target.insert(wanted.name.clone(), wanted.version.clone());
        }
        let removed = self.resolve_needs(host, &target, &BTreeSet::new(), &order.removals)?;
        let mut done = Transaction { changed: false, packages: Vec::new(), configuration: Vec::new() };
        for name in removed {
            let before = self.uninstall(host, &name, false)?;
            done.packages.push(PackageChange { name, before, after: None });
        }
        for wanted in &order.packages {
            let before = self.package(host, &wanted.name)?;
            let unchanged = before.version.as_ref() == Some(&wanted.version) && !before.broken;
            if !unchanged {
                self.unpack(host, wanted, before.clone(), order.changed_configuration, &mut done.configuration)?;
                self.configure(host, wanted, before.version.clone())?;
            }
            done.packages.push(PackageChange {
                name: wanted.name.clone(),
                before: before.version,
                after: Some(wanted.version.clone()),
            });
            done.changed |= !unchanged;
        }
        done.changed |= done.packages.iter().any(|package| package.before != package.after);
        Ok(done)
    }

    /// Puts a package's files in place and its units before systemd.
    pub(crate) fn unpack(
        &mut self,
        host: &str,
        wanted: &PackageVersion,
        mut package: Package,
        configuration: ChangedConfiguration,
        kept: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let new = self.rules.package(&wanted.name, &wanted.version).unwrap_or_default();
        let old = package.version.as_ref().and_then(|v| self.rules.package(&wanted.name, v)).unwrap_or_default();
        for path in old.files.keys().filter(|path| !new.files.contains_key(*path)) {
            self.delete(host, path)?;
        }
        for (path, seed) in &new.files {
            let name = format!("{} {} {path}", wanted.name, wanted.version);
            self.put(host, path, &Entry::seeded(seed, &name, self.now))?;
        }
        for (path, seed) in &new.conffiles {
            let entry = Entry::seeded(seed, path, self.now);
            self.put_configuration(host, path, &entry, &mut package, configuration, kept)?;
        }
        for name in old.units.keys().filter(|name| !new.units.contains_key(*name)) {
            self.forget_unit(host, name)?;
        }
        for (name, seed) in &new.units {
            if let Some(text) = &seed.text {
                let path = format!("/lib/systemd/system/{name}");
                self.put(host, &path, &Entry::file(Content::Text(text.clone()), self.now))?;
            }
            let unit = match self.unit(host, name)? {
                Some(unit) => Unit { package: Some(wanted.name.clone()), ..unit },
                None => Unit::new(Some(wanted.name.clone()), seed.enabled),
            };
            self.tx.set(&keys::unit(host, name), &unit)?;
        }
        package.version = Some(wanted.version.clone());
        package.broken = true;
        self.set_package(host, &wanted.name, &package)
    }

    fn put_configuration(
        &mut self,
        host: &str,
        path: &str,
        entry: &Entry,
        package: &mut Package,
        configuration: ChangedConfiguration,
        kept: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let Some(content) = &entry.content else {
            return self.put(host, path, entry);
        };
        let new = self.blobs.sha256(content)?;
        let old = package.conffiles.insert(path.to_owned(), new.clone());
        let there = self.check(host, path, &crate::contract::files::Precondition::Anything)?;
        match (there, old) {
            // Removed by the administrator: stays away, as dpkg has it.
            (None, Some(_)) => Ok(()),
            (None, None) => self.put(host, path, entry),
            (Some(there), _) if there == new => Ok(()),
            (Some(there), Some(old)) if there == old => self.put(host, path, entry),
            (Some(_), old) => {
                if old.as_ref() == Some(&new) {
                    return Ok(());
                }
                kept.push(path.to_owned());
                match configuration {
                    ChangedConfiguration::Keep => self.put(host, &format!("{path}.dpkg-dist"), entry),
                    ChangedConfiguration::Replace => {
                        let there = self.resolve(host, path, true)?;
                        self.copy(host, &there, &format!("{there}.dpkg-old"))?;
                        self.put(host, path, entry)
                    }
                }
            }
        }
    }

    /// Runs a package's scripts: systemd reads its units, behaviours follow, units restart.
    fn configure(&mut self, host: &str, wanted: &PackageVersion, before: Option<String>) -> Result<(), Failure> {
        let name = wanted.name.as_str();
        let content = self.rules.package(name, &wanted.version).unwrap_or_default();
        for unit in content.units.keys() {
            if let Some(unit_now) = self.unit(host, unit)?
                && unit_now.stale
            {
                self.tx.set(&keys::unit(host, unit), &Unit { stale: false, ..unit_now })?;
            }
        }
        let occasion = Occasion { function: "", host: Some(host), cluster: None };
        let fault = self.fault(FaultKind::Package, occasion, |fault| {
            fault.package.as_deref().is_some_and(|pattern| glob(pattern, name))
                && fault.version.as_deref().is_none_or(|version| version == wanted.version)
        })?;
        let script = "post-installation script subprocess returned error exit status";
        let wrong = match fault {
            Some(fault) => Some((fault.message.clone().unwrap_or_else(|| format!("{script} 1")), 1)),
            None => {
                self.package_moment(host, name, PackageMoment::Install, before.as_deref(), Some(&wanted.version))?
            }
        };
        if let Some((message, code)) = wrong {
            self.keep();
            return Err(failure::failed(
                name,
                format!("{name} {} on {host} is unpacked but not configured: {message}", wanted.version),
                Some(100),
                &format!(
                    "dpkg: error processing package {name} (--configure):\n {message}\n (exit status {code})\nE: Sub-process /usr/bin/dpkg returned an error code (1)"
                ),
            ));
        }
        let mut package = self.package(host, name)?;
        package.broken = false;
        self.set_package(host, name, &package)?;
        self.start_units(host, &content, before.is_none())
    }

    /// What a package's scripts start and restart. They do not fail when a unit does.
    fn start_units(&mut self, host: &str, content: &PackageContent, first: bool) -> Result<(), Failure> {
        let keep = self.keep;
        for (name, seed) in &content.units {
            if first && seed.start && seed.enabled {
                let _ = self.start(host, name);
            }
        }
        for name in &content.restarts {
            if !first && self.unit(host, name)?.is_some_and(|unit| unit.is_active()) {
                let _ = self.restart(host, name);
            }
        }
        self.keep = keep;
        Ok(())
    }

    /// Removes packages in one transaction.
    pub(crate) fn remove_packages(&mut self, order: &RemovalOrder) -> Result<Transaction, Failure> {
        let host = order.host.as_str();
        let gone: BTreeSet<&str> = order.names.iter().map(String::as_str).collect();
        self.resolve_needs(host, &BTreeMap::new(), &gone, &[])?;
        let mut done = Transaction { changed: false, packages: Vec::new(), configuration: Vec::new() };
        for name in &order.names {
            let known = self.package(host, name)?;
            let before = self.uninstall(host, name, order.purge)?;
            done.changed |= before.is_some() || (order.purge && !known.conffiles.is_empty());
            done.packages.push(PackageChange { name: name.clone(), before, after: None });
        }
        Ok(done)
    }

    fn uninstall(&mut self, host: &str, name: &str, purge: bool) -> Result<Option<String>, Failure> {
        let mut package = self.package(host, name)?;
        let before = package.version.take();
        if let Some(version) = &before {
            let content = self.rules.package(name, version).unwrap_or_default();
            for unit in content.units.keys() {
                self.forget_unit(host, unit)?;
            }
            for path in content.files.keys() {
                self.delete(host, path)?;
            }
            self.package_moment(host, name, PackageMoment::Remove, Some(version), None)?;
        }
        if purge {
            for path in std::mem::take(&mut package.conffiles).into_keys() {
                self.delete(host, &path)?;
            }
        }
        package.broken = false;
        self.set_package(host, name, &package)?;
        Ok(before)
    }

    fn forget_unit(&mut self, host: &str, name: &str) -> Result<(), Failure> {
        if self.unit(host, name)?.is_some() {
            self.stop(host, name)?;
            self.tx.remove(&keys::unit(host, name));
        }
        let path = format!("/lib/systemd/system/{name}");
        match self.entry(host, &path)?.is_some() {
            true => self.delete(host, &path),
            false => Ok(()),
        }
    }

    fn package_moment(
        &mut self,
        host: &str,
        name: &str,
        moment: PackageMoment,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<Option<(String, i32)>, Failure> {
        let rules = self.rules;
        for behaviours in &rules.behaviours {
            let events = behaviours.packages.iter();
            for event in events.filter(|e| e.on.contains(&moment) && glob(&e.package, name)) {
                let mut scope = Scope::on(&behaviours.component, Some(host));
                scope.set("before", before);
                scope.set("after", after);
                if !self.when(&scope, event.when.as_deref())? {
                    continue;
                }
                if let Some(message) = &event.fails {
                    let message = self.render(&scope, message)?;
                    return Ok(Some((message, event.exit)));
                }
                self.nested(name, |model| model.apply_changes(&scope, &event.sets))?;
            }
        }
        Ok(None)
    }
}
