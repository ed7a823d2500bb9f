//! Backout: the objects of the backup set in place of those that are there.

use runner_plugin_sdk::kubernetes::describe;
use runner_plugin_sdk::objects::Release;
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Findings, Inputs, Invocation, Problem, Report, ReportBuilder, parse, refused};
use serde_json::Value;

use crate::backup::{Notes, OBJECTS};
use crate::found::{Found, NAME};
use crate::parameters::Backout;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parse(invocation)?;
    let set = invocation.backup_set()?;
    let unreadable =
        |what: &str| refused("unreadable-backup", set.0.id.as_str(), format!("{what} of the set cannot be read"));
    let version = set.version(NAME).ok_or_else(|| unreadable("the version"))?;
    let notes: Notes = set.notes()?;
    let objects: Vec<Value> = serde_json::from_value(set.json(OBJECTS)?).map_err(|_| unreadable(OBJECTS))?;
    if !objects.iter().any(|object| describe(object) == format!("DaemonSet {}/{NAME}", parameters.namespace)) {
        let message = format!("the set holds no DaemonSet {}/{NAME}", parameters.namespace);
        return Err(refused("incomplete-backup", set.0.id.as_str(), message));
    }

    let found = Found::read(invocation, &parameters.namespace, &parameters.ingress_class)?;
    let mut findings = Findings::new();
    findings.extend(found.missing_images(&notes.images)?);
    findings.refuse()?;

    let target = Release {
        objects: &objects,
        take_over: &parameters.take_over,
        workload: (Workload::DaemonSet, &parameters.namespace, NAME),
        seconds: parameters.rollout_seconds,
    };
    let surplus = found.objects.surplus(&objects);
    let mut report = ReportBuilder::new();
    report.changed(target.bring(found.cluster, &surplus)?).output("removed", surplus.names());
    report.cluster_version(invocation.cluster()?, NAME, version);
    Ok(report.finish(format!("Traefik {version} runs on every node of its DaemonSet again")))
}
