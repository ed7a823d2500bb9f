//! Update of one host to the versions and settings that the parameters name.

use std::collections::BTreeMap;

use runner_plugin_sdk::{Findings, Inputs, Invocation, Problem, Report, ReportBuilder, parse};
use serde_json::Value;

use crate::change::{Change, Seen};
use crate::configuration::{self, Configuration, Content};
use crate::engine::UNITS;
use crate::parameters::Update;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parse(invocation)?;
    let host = invocation.host()?.name.as_str();
    let mut change = Change {
        host,
        layout: parameters.layout(),
        packages: &parameters.packages,
        versions: parameters.versions.clone(),
        removals: Vec::new(),
        wanted: Configuration { files: BTreeMap::new(), drop_ins: drop_ins(&parameters) },
        downgrade: false,
        remove_all: parameters.remove_containers_and_images,
        install_seconds: parameters.install_seconds,
        restart_seconds: parameters.restart_seconds,
    };
    let seen = change.look()?;
    let mut findings = Findings::new();
    let mut report = ReportBuilder::new();
    change.wanted.files = files(&parameters, host, &seen, &mut findings);
    check_packages(&parameters, host, &mut findings);
    check_storage(&parameters, host, &seen, &mut findings);
    check_drop_ins(&parameters, host, &mut findings);
    warn_of_replaced(&change.wanted, host, &seen, &mut report);
    change.carry_out(seen, findings, &mut report)?;
    Ok(report.finish(format!("Docker and containerd on {host} are as wanted")))
}

fn drop_ins(parameters: &Update) -> BTreeMap<configuration::DropInName, Option<String>> {
    let of_unit = |(unit, named): (&String, &BTreeMap<String, Option<String>>)| {
        let unit = unit.clone();
        named.clone().into_iter().map(move |(name, text)| ((unit.clone(), name), text)).collect::<Vec<_>>()
    };
    parameters.drop_ins.iter().flat_map(of_unit).collect()
}

/// The files as they should be; what cannot be made is a finding.
fn files(parameters: &Update, host: &str, seen: &Seen, findings: &mut Findings) -> BTreeMap<String, Option<Content>> {
    let layout = parameters.layout();
    let known = layout.files();
    let mut files = BTreeMap::new();
    for (path, text) in &parameters.contents {
        if !known.contains(path) || path == layout.daemon_file {
            let message = format!(
                "{path} is no configuration file of this step: name it in more-files, and give Docker's own settings \
                 in daemon-settings"
            );
            findings.add("unknown-file", host, message);
            continue;
        }
        let data = text.clone().into_bytes();
        files.insert(path.clone(), Some(Content { data, mode: None }));
    }
    if !parameters.daemon_settings.is_empty() {
        let now = seen.configuration.files.get(layout.daemon_file);
        let now = now.and_then(Option::as_ref).map(|content| content.data.as_slice());
        match configuration::merged(now, &parameters.daemon_settings) {
            Ok(Some(text)) => {
                let data = text.into_bytes();
                files.insert(layout.daemon_file.to_owned(), Some(Content { data, mode: None }));
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("{} on host {host} is no JSON: {error}", layout.daemon_file);
                findings.add("broken-configuration", host, message);
            }
        }
    }
    files
}

/// A package that backup does not know of would not come back in a backout.
fn check_packages(parameters: &Update, host: &str, findings: &mut Findings) {
    let unlisted = parameters.versions.keys().filter(|name| !parameters.packages.contains(name));
    for name in unlisted {
        let message = format!(
            "package {name} has a version and is not among the component's packages: {}",
            parameters.packages.join(", ")
        );
        findings.add("unlisted-package", host, message);
    }
}

/// Docker sees nothing of what it stored with another storage driver.
fn check_storage(parameters: &Update, host: &str, seen: &Seen, findings: &mut Findings) {
    let wanted = parameters.daemon_settings.get("storage-driver").and_then(Value::as_str);
    let (Some(wanted), Some(info)) = (wanted, &seen.info) else {
        return;
    };
    if let Some(message) = storage_change(host, &info.driver, wanted)
        && !parameters.remove_containers_and_images
    {
        findings.add("storage-driver", host, message);
    }
}

/// Why a change of the storage driver is refused; none: it is none.
pub(crate) fn storage_change(host: &str, now: &str, wanted: &str) -> Option<String> {
    (!now.is_empty() && now != wanted).then(|| {
        format!(
            "Docker on host {host} stores containers and images with {now}, and would find none of them with {wanted}: \
             a change needs remove-containers-and-images"
        )
    })
}

fn check_drop_ins(parameters: &Update, host: &str, findings: &mut Findings) {
    for unit in parameters.drop_ins.keys().filter(|unit| !UNITS.contains(&unit.as_str())) {
        let message = format!("{unit} is no unit of this component; it has {}", UNITS.join(" and "));
        findings.add("unknown-unit", host, message);
    }
}

/// Whole files are replaced, and with them whatever was edited by hand.
fn warn_of_replaced(wanted: &Configuration, host: &str, seen: &Seen, report: &mut ReportBuilder) {
    let replaced = configuration::differing(&seen.configuration, wanted);
    for path in replaced.files.keys() {
        let there = seen.configuration.files.get(path).is_some_and(Option::is_some);
        if there && configuration::reader_of(path) == crate::engine::CONTAINERD {
            let message =
                format!("{path} on host {host} is replaced; edits made there by hand are only in the backup set");
            report.warn("configuration-replaced", path.as_str(), message);
        }
    }
}
