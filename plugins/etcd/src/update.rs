//! Update: one member at a time, the leader last, each only while all others are healthy.
//!
//! After <https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/>: a running cluster must be healthy and no more than one minor
//! version behind, and a snapshot must have been taken. The runner sees to the latter.

use runner_plugin_sdk::packages::{self, Installed};
use runner_plugin_sdk::{Finding, Findings, Invocation, Problem, Report, ReportBuilder, finding, parse};

use crate::parameters::{Settings, Update, Versions};
use crate::rolling::{self, Goal, Manner, healthy_before, roll};
use crate::site::{Expected, Site};
use crate::version::{Minor, Version};
use crate::view::View;

/// Seconds within which the members agree on the new version once all of them have it.
const AGREEMENT: u32 = 60;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parse(invocation)?;
    let settings = parameters.settings();
    let mut findings = Findings::new();
    findings.extend(wrong_versions(&settings, &parameters.versions));
    findings.refuse()?;

    let site = Site::read(invocation, settings)?;
    let hosts = site.hosts();
    let names = [site.settings.server_package.as_str(), site.settings.client_package.as_str()];
    let installed = packages::status(&hosts, &names)?;
    let mut findings = Findings::new();
    for host in &hosts {
        let nothing = Default::default();
        let found = installed.get(host).unwrap_or(&nothing);
        findings.extend(packages::unavailable(host, found, &parameters.versions));
    }
    findings.extend(too_far(&site.settings.server_package, &installed, &parameters.versions));
    findings.refuse()?;

    let view = healthy_before(&site, &rolling::broken(&installed))?;
    let mut report = ReportBuilder::new();
    let wanted = parameters.versions.get(&site.settings.server_package).and_then(|version| Version::parse(version));
    take_back_downgrade(&site, &view, wanted, &mut report)?;
    let goals: Vec<Goal> = hosts
        .iter()
        .map(|host| Goal { host: host.clone(), versions: parameters.versions.clone(), files: Vec::new() })
        .collect();
    let manner = Manner { downgrade: false, package_timeout: parameters.package_timeout };
    let view = roll(&site, &goals, manner, view, &mut report)?;
    // Servers of 3.5 know of a downgrade and do not say so; etcd takes some seconds to end one that is complete.
    take_back_downgrade(&site, &view, wanted, &mut report)?;
    if let Some(wanted) = wanted {
        agreed(&site, &view, wanted.minor)?;
    }
    rolling::report_versions(&site, &mut report)?;
    report.output("leader", view.leader()).output("revision", view.revision());
    let summary = match wanted {
        Some(wanted) => format!("{} members of etcd run {wanted}", hosts.len()),
        None => format!("{} hosts have the wanted packages of etcd", hosts.len()),
    };
    Ok(report.finish(summary))
}

/// Versions of packages that are not etcd's, or that cannot be read.
fn wrong_versions(settings: &Settings, versions: &Versions) -> Vec<Finding> {
    let known = [&settings.server_package, &settings.client_package];
    let mut findings = Vec::new();
    for (name, version) in versions {
        if !known.contains(&name) {
            let message =
                format!("parameter versions names {name}; packages of etcd are {} and {}", known[0], known[1]);
            findings.push(finding("unknown-package", name.as_str(), message));
        } else if Version::parse(version).is_none() {
            let message = format!("{version} is no version of etcd (parameter versions, {name})");
            findings.push(finding("unreadable-version", name.as_str(), message));
        }
    }
    findings
}

/// Hosts from whose version the wanted one cannot be reached by an update.
fn too_far(server: &str, installed: &Installed, wanted: &Versions) -> Vec<Finding> {
    let Some(wanted) = wanted.get(server).and_then(|version| Version::parse(version)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (host, packages) in installed {
        let Some(version) = packages.get(server).and_then(|status| status.version.as_deref()) else {
            let message = format!("package {server} is not installed on host {host}: no member of etcd is there");
            findings.push(finding("not-installed", host.as_str(), message));
            continue;
        };
        let Some(found) = Version::parse(version) else {
            let message = format!("{version} of package {server} on host {host} is no version of etcd");
            findings.push(finding("unreadable-version", host.as_str(), message));
            continue;
        };
        if found > wanted {
            let message = format!(
                "host {host} has etcd {found}, newer than {wanted}: an update does not go back, a backout does"
            );
            findings.push(finding("newer-installed", host.as_str(), message));
        } else if found.minor != wanted.minor && !found.minor.is_followed_by(wanted.minor) {
            let message = format!(
                "host {host} has etcd {found}: {wanted} is more than one minor version away, and etcd is updated one by one"
            );
            findings.push(finding("minor-skipped", host.as_str(), message));
        }
    }
    findings
}

/// Takes back a downgrade that was begun and not ended: while it lasts, etcd keeps to the older version
/// (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/#rollback>).
fn take_back_downgrade(
    site: &Site,
    view: &View,
    wanted: Option<Version>,
    report: &mut ReportBuilder,
) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let Some(etcdctl) = under_way(view, wanted).and_then(|host| site.etcdctl_on(host)) else {
        return Ok(());
    };
    if let Err(failure) = etcdctl.cancel_downgrade().run() {
        // It may have ended by itself in the meantime.
        if under_way(&site.look(&Expected::as_seen(view))?, wanted).is_some() {
            return Err(failure.into());
        }
        return Ok(());
    }
    let message = format!("a downgrade of etcd was under way (known to host {}) and was taken back", etcdctl.host);
    report.changed(true).warn("downgrade-cancelled", "etcd", message);
    Ok(())
}

/// A host whose member knows of a downgrade to less than what is wanted.
fn under_way(view: &View, wanted: Version) -> Option<&str> {
    let leads_back = |target: Minor| target < wanted.minor;
    let seen = view.seen.iter().find(|seen| seen.downgrade().is_some_and(leads_back))?;
    Some(&seen.host)
}

/// Waits until every member's data is in the format of the version that all of them run now.
fn agreed(site: &Site, view: &View, wanted: Minor) -> Result<(), Problem> {
    if wanted < Minor::WITH_DOWNGRADE {
        return Ok(());
    }
    let missing = |view: &View| -> Vec<String> {
        let behind = view.seen.iter().filter(|seen| seen.storage() != Some(wanted));
        behind.map(|seen| format!("the data on host {} is not in the format of {wanted} yet", seen.host)).collect()
    };
    let expected = Expected::as_seen(view).with_storage(&format!("{wanted}.0"));
    let (_, open) = site.look_until(AGREEMENT, &expected, missing)?;
    if open.is_empty() { Ok(()) } else { Err(rolling::timed_out("etcd", open.join("; ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdctl::DowngradeInfo;
    use crate::parameters::Tls;
    use crate::view::tests::{cluster, member};
    use runner_plugin_sdk::api::packages::PackageStatus;
    use std::collections::BTreeMap;

    fn settings() -> Settings {
        Settings {
            server_package: "etcd-server".into(),
            client_package: "etcd-client".into(),
            unit: "etcd.service".into(),
            config: "/c".into(),
            data_dir: "/d".into(),
            tls: Tls::default(),
            health_timeout: 1,
        }
    }

    fn wanted(version: &str) -> Versions {
        Versions::from([("etcd-server".to_owned(), version.to_owned())])
    }

    fn code_for(installed: Option<&str>, to: &str) -> Option<String> {
        let status = PackageStatus {
            name: "etcd-server".into(),
            version: installed.map(str::to_owned),
            broken: false,
            held: false,
            available: vec![],
        };
        let installed = Installed::from([("h".to_owned(), BTreeMap::from([("etcd-server".to_owned(), status)]))]);
        let findings = too_far("etcd-server", &installed, &wanted(to));
        assert!(findings.len() <= 1);
        findings.into_iter().next().map(|finding| finding.code)
    }

    #[test]
    fn one_minor_version_up_and_no_further() {
        assert_eq!(code_for(Some("3.5.35-1"), "3.6.16-1"), None);
        assert_eq!(code_for(Some("3.6.1-1"), "3.6.16-1"), None);
        assert_eq!(code_for(Some("3.6.16-1"), "3.6.16-1"), None);
        assert_eq!(code_for(Some("3.4.1-1"), "3.6.16-1").as_deref(), Some("minor-skipped"));
        assert_eq!(code_for(Some("3.6.16-1"), "3.5.35-1").as_deref(), Some("newer-installed"));
        assert_eq!(code_for(Some("3.6.16-1"), "3.6.1-1").as_deref(), Some("newer-installed"));
        assert_eq!(code_for(None, "3.6.16-1").as_deref(), Some("not-installed"));
        assert_eq!(code_for(Some("mystery"), "3.6.16-1").as_deref(), Some("unreadable-version"));
    }

    #[test]
    fn a_downgrade_counts_when_it_leads_back() {
        let mut view = cluster((1..=2).map(|n| member(n, "3.6.16", "3.5.0")).collect());
        let wanted = Version::parse("3.6.16").unwrap();
        assert_eq!(under_way(&view, wanted), None);
        if let Ok(status) = &mut view.seen[1].status {
            status.downgrade_info = Some(DowngradeInfo { enabled: true, target_version: "3.5.0".into() });
        }
        assert_eq!(under_way(&view, wanted), Some("h2"));
        assert_eq!(under_way(&view, Version::parse("3.5.35").unwrap()), None);
    }

    #[test]
    fn only_packages_of_etcd_and_versions_that_can_be_read() {
        assert!(wrong_versions(&settings(), &wanted("3.6.16-1")).is_empty());
        assert_eq!(wrong_versions(&settings(), &wanted("latest"))[0].code, "unreadable-version");
        let other = Versions::from([("kubelet".to_owned(), "1.34.4-1".to_owned())]);
        assert_eq!(wrong_versions(&settings(), &other)[0].code, "unknown-package");
    }
}
