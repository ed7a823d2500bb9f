//! Backup of all hosts: configuration, versions, and the proof that each host can have its packages again.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::artifacts::{self, PutOrder};
use runner_plugin_sdk::api::files as api;
use runner_plugin_sdk::api::packages::{self as package_api, FetchOrder, PackageVersion};
use runner_plugin_sdk::artifacts::file;
use runner_plugin_sdk::files::at;
use runner_plugin_sdk::packages::{self, Installed};
use runner_plugin_sdk::{
    Answers, Failure, FailureKind, Findings, Inputs, Invocation, Label, Presence, Problem, Report, ReportBuilder,
    parse, units,
};
use serde::{Deserialize, Serialize};

use crate::configuration::{drop_in_names, drop_in_path};
use crate::engine::UNITS;
use crate::parameters::Backup;

/// What was looked at, so that "absent then" differs from "not looked at".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Notes {
    pub(crate) packages: Vec<String>,
    pub(crate) files: Vec<String>,
    /// How many artifacts each host has, so that a lost one is not taken for an absent file.
    pub(crate) stored: BTreeMap<String, usize>,
}

/// Name of a file's artifact.
pub(crate) fn file_name(host: &str, path: &str) -> String {
    format!("{host}/files{path}")
}

/// What the names of a unit's drop-ins begin with.
pub(crate) fn drop_in_prefix(host: &str, unit: &str) -> String {
    format!("{host}/drop-ins/{unit}/")
}

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parse(invocation)?;
    let hosts = invocation.host_names();
    let names: Vec<&str> = parameters.packages.iter().map(String::as_str).collect();
    let installed = packages::status(&hosts, &names)?;
    let mut findings = Findings::new();
    for (host, name) in broken(&installed) {
        let message = format!("package {name} on host {host} is only half installed: mend that before a backup");
        findings.add("broken-package", host, message);
    }
    prove(&installed, parameters.fetch_seconds, &mut findings)?;
    findings.refuse()?;

    let files = parameters.layout().files();
    let orders = orders(&hosts, &files)?;
    let stored = artifacts::put(&orders).all()?;
    let mut report = ReportBuilder::new();
    report.artifacts(&stored).versions(packages::versions(&installed)).outputs(&Notes {
        packages: parameters.packages.clone(),
        files,
        stored: by_host(&hosts, &orders),
    });
    Ok(report.finish(format!("configuration of {} hosts saved; their packages can be had again", hosts.len())))
}

fn by_host(hosts: &[String], orders: &[PutOrder]) -> BTreeMap<String, usize> {
    let mut stored: BTreeMap<String, usize> = hosts.iter().map(|host| (host.clone(), 0)).collect();
    for order in orders {
        *stored.entry(order.host.clone()).or_default() += 1;
    }
    stored
}

fn broken(installed: &Installed) -> Vec<(String, String)> {
    installed
        .iter()
        .flat_map(|(host, packages)| {
            let broken = packages.iter().filter(|(_, status)| status.broken);
            broken.map(|(name, _)| (host.clone(), name.clone()))
        })
        .collect()
}

/// Has each host fetch the packages that it has, without installing anything.
fn prove(installed: &Installed, seconds: u32, findings: &mut Findings) -> Result<(), Failure> {
    let orders: Vec<FetchOrder> = installed
        .iter()
        .map(|(host, packages)| FetchOrder {
            host: host.clone(),
            packages: packages
                .iter()
                .filter_map(|(name, status)| {
                    let version = status.version.clone()?;
                    Some(PackageVersion { name: name.clone(), version })
                })
                .collect(),
            time_out: seconds.saturating_mul(1000),
        })
        .filter(|order| !order.packages.is_empty())
        .collect();
    for (order, answer) in orders.iter().zip(package_api::fetch(&orders)) {
        match answer {
            Ok(_) => {}
            Err(failure) if is_refusal(&failure) => return Err(failure),
            Err(failure) => {
                let message = format!(
                    "host {} cannot fetch the packages that it has now, so that a backout would not find them: {}",
                    order.host, failure.message
                );
                findings.add("package-unavailable", order.host.as_str(), message);
            }
        }
    }
    Ok(())
}

/// A failure that says nothing about the packages.
fn is_refusal(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Denied(_) | FailureKind::Unreachable | FailureKind::Invalid | FailureKind::NotAttempted
    )
}

/// What is there to be stored, on all hosts.
fn orders(hosts: &[String], files: &[String]) -> Result<Vec<PutOrder>, Failure> {
    let mut wanted: Vec<(String, String, String)> = Vec::new();
    for host in hosts {
        for path in files {
            wanted.push((host.clone(), path.clone(), file_name(host, path)));
        }
    }
    for (host, status) in units::status(hosts, &UNITS)? {
        for (unit, name) in drop_in_names(&status) {
            let artifact = format!("{}{name}", drop_in_prefix(&host, &unit));
            wanted.push((host.clone(), drop_in_path(&unit, &name), artifact));
        }
    }
    let refs: Vec<_> = wanted.iter().map(|(host, path, _)| at(host, path)).collect();
    let found = api::stat(&refs).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
    Ok(wanted
        .into_iter()
        .zip(found)
        .filter_map(|((host, path, name), status)| {
            let mut order = file(&host, &path, &name);
            order.labels = BTreeMap::from([("mode", status?.mode)])
                .into_iter()
                .map(|(name, mode)| Label { name: name.to_owned(), value: format!("{mode:o}") })
                .collect();
            Some(order)
        })
        .collect())
}
