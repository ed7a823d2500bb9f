//! What is installed, and whether it works.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::files::{self, ReadOrder};
use runner_plugin_sdk::api::packages as package_api;
use runner_plugin_sdk::api::packages::{PackageRef, PackageStatus};
use runner_plugin_sdk::api::systemd::{self, UnitStatus};
use runner_plugin_sdk::{
    Checks, Command, Depth, Failure, FailureKind, Inputs, Invocation, Place, Presence, Problem, Verification, exec,
    parse, units,
};
use serde_json::Value;

use crate::engine::{self, CONTAINERD, DOCKER, UNITS};
use crate::parameters::Verify;

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parse(invocation)?;
    let hosts = invocation.host_names();
    let mut checks = Checks::new();
    let installed = installed(&hosts, &parameters, &mut checks)?;
    if depth == Depth::Health {
        health(&hosts, &parameters, &installed, &mut checks)?;
    }
    Ok(checks.finish())
}

type Packages = BTreeMap<String, BTreeMap<String, PackageStatus>>;

/// Packages of all hosts, each checked. A host that does not answer is unknown and hides no other.
fn installed(hosts: &[String], parameters: &Verify, checks: &mut Checks) -> Result<Packages, Problem> {
    let mut names: Vec<&String> = parameters.packages.iter().chain(parameters.versions.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let refs: Vec<PackageRef> = hosts
        .iter()
        .flat_map(|host| names.iter().map(|name| PackageRef { host: host.clone(), name: (*name).clone() }))
        .collect();
    let mut installed = Packages::new();
    for (at, answer) in refs.iter().zip(package_api::status(&refs)) {
        let place = Place::Host(at.host.clone());
        let expected = parameters.versions.get(&at.name);
        match answered(answer)? {
            Ok(status) => {
                if let Some(version) = &status.version {
                    checks.version(place.clone(), &at.name, version);
                }
                package_check(place, expected, &status, checks);
                installed.entry(at.host.clone()).or_default().insert(at.name.clone(), status);
            }
            Err(why) => {
                let wanted = expected.map_or("installed", String::as_str);
                checks.unknown(&format!("package-{}", at.name), place, wanted, why);
            }
        }
    }
    Ok(installed)
}

/// Without an expected version a package that is not installed at all may be none of this platform's.
fn package_check(place: Place, expected: Option<&String>, status: &PackageStatus, checks: &mut Checks) {
    let name = format!("package-{}", status.name);
    let observed = status.version.clone().unwrap_or_else(|| "not installed".to_owned());
    if let Some(expected) = expected {
        checks.equal(&name, place.clone(), expected, observed);
    }
    if status.broken {
        checks.check(&name, place, "installed", "half installed", false);
    }
}

fn health(hosts: &[String], parameters: &Verify, installed: &Packages, checks: &mut Checks) -> Result<(), Problem> {
    let refs = units::refs(hosts, &UNITS);
    let mut runs: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (at, answer) in refs.iter().zip(systemd::status(&refs)) {
        let place = Place::Host(at.host.clone());
        let name = format!("unit-{}", at.unit);
        match answered(answer)? {
            Ok(status) => {
                checks.check(&name, place, "active", state(&status), units::is_active(&status));
                if let Some(unit) = UNITS.into_iter().find(|unit| *unit == at.unit && units::is_active(&status)) {
                    runs.entry(unit).or_default().push(at.host.clone());
                }
            }
            Err(why) => {
                checks.unknown(&name, place, "active", why);
            }
        }
    }
    for unit in UNITS {
        let hosts = runs.remove(unit).unwrap_or_default();
        running(unit, &hosts, installed, checks)?;
    }
    daemon_file(hosts, parameters, checks)
}

fn state(status: &UnitStatus) -> String {
    format!("{} ({})", status.active_state, status.sub_state)
}

/// What runs must be what is installed.
fn running(unit: &'static str, hosts: &[String], installed: &Packages, checks: &mut Checks) -> Result<(), Problem> {
    let ask: fn(&str) -> Command = if unit == DOCKER { engine::info_command } else { engine::containerd_command };
    let answers = exec::run(hosts.iter().map(|host| ask(host)));
    for (host, answer) in hosts.iter().zip(answers) {
        let place = Place::Host(host.clone());
        let name = format!("running-{}", unit.trim_end_matches(".service"));
        let expected = installed.get(host).and_then(|packages| engine::installed(packages, unit));
        let expected = expected.map_or("a version", engine::upstream);
        let said = match answered(answer)? {
            Ok(output) => {
                exec::stdout(&output).map_err(|failure| failure.message).and_then(|text| version(unit, &text))
            }
            Err(why) => Err(why),
        };
        match said {
            Ok(version) => {
                let observed = engine::upstream(&version);
                let good = expected == "a version" || expected == observed;
                checks.check(&name, place, expected, observed, good)
            }
            Err(why) => checks.check(&name, place, expected, why, false),
        };
    }
    Ok(())
}

fn version(unit: &str, text: &str) -> Result<String, String> {
    if unit == CONTAINERD {
        engine::parse_containerd(text).ok_or_else(|| engine::NO_VERSION.to_owned())
    } else {
        engine::parse_info(text).map(|info| info.version)
    }
}

/// A configuration that Docker could not read would show only at its next start.
fn daemon_file(hosts: &[String], parameters: &Verify, checks: &mut Checks) -> Result<(), Problem> {
    let orders: Vec<ReadOrder> = hosts
        .iter()
        .map(|host| ReadOrder {
            host: host.clone(),
            path: parameters.layout().daemon_file.to_owned(),
            offset: 0,
            limit: 1 << 20,
            sensitive: false,
        })
        .collect();
    for (host, answer) in hosts.iter().zip(files::read(&orders)) {
        let place = Place::Host(host.clone());
        let found = match answered(answer.present())? {
            Ok(found) => found.map(|found| found.data),
            Err(why) => {
                checks.unknown("daemon-configuration", place, "JSON", why);
                continue;
            }
        };
        let Some(data) = found else { continue };
        match serde_json::from_slice::<Value>(&data) {
            Ok(_) => checks.check("daemon-configuration", place, "JSON", "JSON", true),
            Err(error) => checks.check("daemon-configuration", place, "JSON", error.to_string(), false),
        };
    }
    Ok(())
}

/// A denial ends verify; any other failure only means that something could not be found out.
fn answered<T>(answer: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(failure) if matches!(failure.kind, FailureKind::Denied(_)) => Err(failure),
        Err(failure) => Ok(Err(failure.message)),
    }
}
