//! What hosts look like, each asked once for everything: one call a question for many hosts.

use std::collections::{BTreeMap, BTreeSet};

use sdk::api::files::{FileRef, ReadOrder, Room, read, space};
use sdk::api::host::{HostFacts, facts};
use sdk::api::packages::{self, PackageRef, PackageStatus};
use sdk::api::systemd::{self, UnitStatus};
use sdk::files::at;
use sdk::{Answers, Failure, FailureKind, HostInfo, Presence, units};

use crate::configuration::{self, Found, Whose};
use crate::parameters::Layout;
use crate::parts::{self, PACKAGES, RUNNING, unit};
use crate::record::{self, Record};
use crate::resolv::RESOLV_CONF;

/// Hosts in one call, so that no call carries more than the contract allows.
const TOGETHER: usize = 100;
/// File systems that packages write to.
pub(crate) const ROOM: [&str; 2] = ["/usr", "/var"];

/// Packages and units of a host.
#[derive(Debug, Clone)]
pub(crate) struct Software {
    pub(crate) packages: BTreeMap<String, PackageStatus>,
    pub(crate) units: BTreeMap<String, UnitStatus>,
}

impl Software {
    /// Names of the packages that are installed.
    pub(crate) fn installed(&self) -> BTreeSet<&str> {
        self.packages.iter().filter(|(_, status)| status.version.is_some()).map(|(name, _)| name.as_str()).collect()
    }

    /// Installed version of a package.
    pub(crate) fn version(&self, package: &str) -> Option<&str> {
        self.packages.get(package).and_then(|status| status.version.as_deref())
    }

    /// Whether a package's unit is meant to run: one that an administrator disabled and stopped is not.
    pub(crate) fn runs(&self, package: &str) -> bool {
        let status = unit(package).and_then(|unit| self.units.get(&unit));
        let stopped = status.is_some_and(|status| {
            let off = matches!(status.file_state.as_str(), "disabled" | "masked" | "masked-runtime");
            off && status.active_state == "inactive"
        });
        self.version(package).is_some() && RUNNING.contains(&package) && !stopped
    }

    /// Where the host's configuration may be.
    pub(crate) fn whose<'a>(&'a self, host: &'a str) -> Whose<'a> {
        let drop_ins = self.units.values().flat_map(|unit| unit.drop_ins.iter().map(String::as_str)).collect();
        Whose { host, installed: self.installed(), drop_ins }
    }
}

/// What else a change of a host depends on.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) facts: HostFacts,
    pub(crate) room: Vec<(String, Room)>,
    pub(crate) resolv_conf: Option<String>,
    pub(crate) kubelet: Option<String>,
    pub(crate) record: Option<Record>,
    pub(crate) configuration: Found,
}

/// A host with what was found on it.
#[derive(Debug)]
pub(crate) struct Host<'a, T> {
    pub(crate) info: &'a HostInfo,
    pub(crate) found: Result<T, Failure>,
}

/// Packages and units of hosts.
pub(crate) fn software(hosts: &[HostInfo]) -> Vec<Host<'_, Software>> {
    let mut found = Vec::with_capacity(hosts.len());
    for hosts in hosts.chunks(TOGETHER) {
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        let refs: Vec<PackageRef> = names
            .iter()
            .flat_map(|host| PACKAGES.map(|name| PackageRef { host: host.clone(), name: name.to_owned() }))
            .collect();
        let packages = each(packages::status(&refs), PACKAGES.len());
        let all = parts::units();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let units = each(systemd::status(&units::refs(&names, &all)), all.len());
        for ((info, packages), units) in hosts.iter().zip(packages).zip(units) {
            found.push(Host {
                info,
                found: packages
                    .and_then(|packages| Ok(Software::of(packages, units?)))
                    .map_err(|failure| of_host(info, failure)),
            });
        }
    }
    found
}

/// A host that does not answer is what the failure is about, whatever was asked of it.
fn of_host(host: &HostInfo, mut failure: Failure) -> Failure {
    if failure.kind == FailureKind::Unreachable {
        failure.subject.clone_from(&host.name);
    }
    failure
}

impl Software {
    fn of(packages: Vec<PackageStatus>, units: Vec<UnitStatus>) -> Self {
        Self {
            packages: packages.into_iter().map(|status| (status.name.clone(), status)).collect(),
            units: units.into_iter().map(|status| (status.unit.clone(), status)).collect(),
        }
    }
}

/// Packages, units, configuration and everything that requirements are held against.
pub(crate) fn everything<'a>(hosts: &'a [HostInfo], layout: Layout<'_>) -> Vec<Host<'a, (Software, Details)>> {
    let software = software(hosts);
    let mut all = Vec::with_capacity(hosts.len());
    for hosts in software.chunks(TOGETHER) {
        let known: Vec<(&str, &Software)> =
            hosts.iter().filter_map(|host| Some((host.info.name.as_str(), host.found.as_ref().ok()?))).collect();
        let mut details = details(&known, layout).into_iter();
        for host in hosts {
            let found = match &host.found {
                Ok(software) => details.next().map(|details| {
                    let details = details.map_err(|failure| of_host(host.info, failure))?;
                    Ok((software.clone(), details))
                }),
                Err(failure) => Some(Err(failure.clone())),
            };
            all.extend(found.map(|found| Host { info: host.info, found }));
        }
    }
    all
}

fn details(hosts: &[(&str, &Software)], layout: Layout<'_>) -> Vec<Result<Details, Failure>> {
    let names: Vec<String> = hosts.iter().map(|(host, _)| (*host).to_owned()).collect();
    let facts = facts(&names);
    let record = record::path(layout.directory);
    let texts = [RESOLV_CONF, layout.kubelet, record.as_str()];
    let texts_of = each(read_optional(&product(&names, &texts)), texts.len());
    let room = space(&product(&names, &ROOM)).into_iter().map(Presence::present).collect();
    let room = each(room, ROOM.len());
    let whose: Vec<Whose<'_>> = hosts.iter().map(|(host, software)| software.whose(host)).collect();
    let configuration = configuration::look(&whose, layout);
    facts
        .into_iter()
        .zip(texts_of)
        .zip(room)
        .zip(configuration)
        .map(|(((facts, texts), room), configuration)| {
            let mut texts = texts?.into_iter();
            let mut text = || texts.next().flatten();
            Ok(Details {
                facts: facts?,
                room: ROOM.iter().zip(room?).filter_map(|(path, room)| Some(((*path).to_owned(), room?))).collect(),
                resolv_conf: text(),
                kubelet: text(),
                record: text().and_then(|text| Record::read(&text)),
                configuration: configuration?,
            })
        })
        .collect()
}

/// Records of hosts that answered and have one.
pub(crate) fn records(hosts: &[Host<'_, Software>], layout: Layout<'_>) -> Result<Vec<(String, Record)>, Failure> {
    let names: Vec<String> =
        hosts.iter().filter(|host| host.found.is_ok()).map(|host| host.info.name.clone()).collect();
    let path = record::path(layout.directory);
    let mut records = Vec::new();
    for names in names.chunks(TOGETHER) {
        for (host, text) in names.iter().zip(read_optional(&product(names, &[&path]))) {
            match text {
                Ok(text) => records.extend(text.and_then(|text| Some((host.clone(), Record::read(&text)?)))),
                // What it has installed was asked before, and says the same.
                Err(failure) if failure.kind == FailureKind::Unreachable => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(records)
}

fn product(hosts: &[String], paths: &[&str]) -> Vec<FileRef> {
    hosts.iter().flat_map(|host| paths.iter().map(|path| at(host, path))).collect()
}

/// Small text files; none where there is none.
fn read_optional(files: &[FileRef]) -> Vec<Result<Option<String>, Failure>> {
    let orders: Vec<ReadOrder> = files
        .iter()
        .map(|file| ReadOrder {
            host: file.host.clone(),
            path: file.path.clone(),
            offset: 0,
            limit: 256 * 1024,
            sensitive: false,
        })
        .collect();
    read(&orders)
        .into_iter()
        .map(|answer| Ok(answer.present()?.map(|file| String::from_utf8_lossy(&file.data).into_owned())))
        .collect()
}

/// Answers put together again by host, of which each had so many items.
fn each<T>(answers: Vec<Result<T, Failure>>, items: usize) -> Vec<Result<Vec<T>, Failure>> {
    let mut hosts = Vec::with_capacity(answers.len() / items.max(1));
    let mut answers = answers.into_iter();
    loop {
        let of_host: Vec<Result<T, Failure>> = answers.by_ref().take(items.max(1)).collect();
        if of_host.is_empty() {
            return hosts;
        }
        hosts.push(of_host.all());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sdk::{Checks, Verdict, failure};

    /// A host that is the node of the same name.
    pub(crate) fn info(name: &str) -> HostInfo {
        HostInfo {
            name: name.into(),
            address: String::new(),
            node: Some(name.into()),
            groups: vec![],
            variables: "{}".into(),
        }
    }

    /// Names and verdicts of the checks that did not pass.
    pub(crate) fn open(mut checks: Checks) -> Vec<(String, Verdict)> {
        let checks = checks.finish().checks.into_iter();
        checks.filter(|check| check.verdict != Verdict::Pass).map(|check| (check.name, check.verdict)).collect()
    }

    /// Packages of a host that are installed and, after the slash, offered: `kubelet=1.33.13-1/1.34.4-1`.
    pub(crate) fn software_of(packages: &[&str]) -> Software {
        let packages = packages
            .iter()
            .map(|text| {
                let (installed, offered) = text.split_once('/').unwrap_or((text, ""));
                let (name, version) = installed.split_once('=').unwrap_or((installed, ""));
                let status = PackageStatus {
                    name: name.to_owned(),
                    version: (!version.is_empty()).then(|| version.to_owned()),
                    broken: false,
                    held: false,
                    available: offered.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect(),
                };
                (name.to_owned(), status)
            })
            .collect();
        Software { packages, units: BTreeMap::new() }
    }

    #[test]
    fn what_an_administrator_switched_off_is_not_meant_to_run() {
        let status = |active: &str, file: &str| UnitStatus {
            unit: "kube-proxy.service".into(),
            load_state: "loaded".into(),
            active_state: active.into(),
            sub_state: String::new(),
            file_state: file.into(),
            outcome: String::new(),
            since: None,
            needs_daemon_reload: false,
            drop_ins: vec![],
            more: vec![],
        };
        let mut software = software_of(&["kube-proxy=1.33.13-1", "kubectl=1.33.13-1", "kubelet"]);
        for (active, file, runs) in [
            ("active", "enabled", true),
            ("inactive", "enabled", true),
            ("failed", "disabled", true),
            ("active", "disabled", true),
            ("inactive", "disabled", false),
            ("inactive", "masked", false),
        ] {
            software.units.insert("kube-proxy.service".into(), status(active, file));
            assert_eq!(software.runs("kube-proxy"), runs, "{active} {file}");
        }
        assert!(!software.runs("kubectl") && !software.runs("kubelet"));
    }

    #[test]
    fn answers_are_put_together_by_host() {
        let lost = || Err(failure(FailureKind::Unreachable, "h2", "no answer"));
        let hosts = each(vec![Ok(1), Ok(2), lost(), lost(), Ok(5), Ok(6)], 2);
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[0].as_ref().ok(), Some(&vec![1, 2]));
        assert!(hosts[1].is_err());
        assert_eq!(hosts[2].as_ref().ok(), Some(&vec![5, 6]));
        assert!(each(Vec::<Result<u8, Failure>>::new(), 2).is_empty());
    }
}
