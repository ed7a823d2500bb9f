//! Backup: the objects, the CNI configuration of every host, and the proof that every host has the images.

use std::collections::BTreeMap;

use runner_plugin_sdk::{
    Findings, Inputs, Invocation, Problem, Report, ReportBuilder, artifacts, files, images, parse, refused,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::found::{Found, version};
use crate::parameters::Backup;

/// Artifact that holds the objects.
pub(crate) const OBJECTS: &str = "objects.json";
/// Artifact that holds the hosts' files.
pub(crate) const FILES: &str = "host-files.json";

/// What the set notes for the backout.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notes {
    pub(crate) images: Vec<String>,
}

/// Files by host and path; null where there was none.
pub(crate) type HostFiles = BTreeMap<String, BTreeMap<String, Option<String>>>;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parse(invocation)?;
    let found = Found::read(invocation, &parameters.namespace)?;
    let Some(workload) = found.daemon_set() else {
        let message = format!("there is no flannel in namespace {}: nothing to back up", parameters.namespace);
        return Err(refused("not-installed", parameters.namespace.as_str(), message));
    };
    let Some(version) = version(workload) else {
        return Err(refused("no-version", "kube-flannel-ds", "the image of flanneld has no tag that says its version"));
    };
    let images = images::of_workload(workload);
    let mut findings = Findings::new();
    findings.extend(found.strangers());
    findings.extend(found.missing_images(&images)?);
    findings.refuse()?;

    let hosts = found.hosts();
    let refs: Vec<_> = hosts.iter().map(|host| files::at(host, &parameters.cni_config)).collect();
    let mut saved = HostFiles::new();
    for (host, text) in hosts.iter().zip(files::read_text(&refs)?) {
        saved.entry(host.clone()).or_default().insert(parameters.cni_config.clone(), text);
    }
    let objects = found.objects.portable();
    let count = objects.len();
    let stored = artifacts::put_json(&[(OBJECTS, &Value::Array(objects)), (FILES, &json!(saved))])?;

    let mut report = ReportBuilder::new();
    report.artifacts(&stored).outputs(&Notes { images }).cluster_version(invocation.cluster()?, "flannel", version);
    Ok(report.finish(format!("flannel {version}: {count} objects, CNI configuration of {} hosts", hosts.len())))
}
