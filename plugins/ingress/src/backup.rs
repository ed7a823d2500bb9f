//! Backup: the objects, and the proof that every node has the image.

use runner_plugin_sdk::{
    Findings, Inputs, Invocation, Problem, Report, ReportBuilder, artifacts, images, parse, refused,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::found::{Found, NAME, version};
use crate::parameters::Backup;

/// Artifact that holds the objects.
pub(crate) const OBJECTS: &str = "objects.json";

/// What the set notes for the backout.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notes {
    pub(crate) images: Vec<String>,
}

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backup = parse(invocation)?;
    let found = Found::read(invocation, &parameters.namespace, &parameters.ingress_class)?;
    let Some(workload) = found.daemon_set() else {
        let message = format!("there is no DaemonSet {}/{NAME}: nothing to back up", parameters.namespace);
        return Err(refused("not-installed", parameters.namespace.as_str(), message));
    };
    let Some(version) = version(workload) else {
        return Err(refused("no-version", NAME, "the image of Traefik has no tag that says its version"));
    };
    let images = images::of_workload(workload);
    let mut findings = Findings::new();
    findings.extend(found.missing_images(&images)?);
    findings.refuse()?;

    let objects = found.objects.portable();
    let count = objects.len();
    let stored = artifacts::put_json(&[(OBJECTS, &Value::Array(objects))])?;
    let mut report = ReportBuilder::new();
    report.artifacts(&stored).outputs(&Notes { images }).cluster_version(invocation.cluster()?, NAME, version);
    Ok(report.finish(format!("Traefik {version}: {count} objects")))
}
