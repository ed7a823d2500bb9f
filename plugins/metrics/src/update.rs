//! Update: the objects of the release in place of those that are there.

use runner_plugin_sdk::images;
use runner_plugin_sdk::objects::Surplus;
use runner_plugin_sdk::{Failure, FailureKind, Findings, Invocation, Problem, Report, ReportBuilder, failure, parse};

use crate::found::{Found, check_layout};
use crate::parameters::{Place, Update};
use crate::prometheus::{ready_version, same_version};
use crate::release;
use crate::stage::{backout_under_way, has_notes};

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parse(invocation)?;
    let place = parameters.place();
    let found = Found::read(invocation, place)?;
    let running = found.installed()?;
    let wanted = release::wanted(&parameters, &found)?;
    let mut findings = Findings::new();
    check_layout(place, running, &mut findings);
    release::check_version(&parameters, &mut findings);
    release::check_change(running, &wanted, &mut findings);
    if let Some(note) = backout_under_way(running) {
        let message = format!(
            "a backout of StatefulSet {}/{} is under way ({note}); finish it first",
            place.namespace, place.name
        );
        findings.add("backout-under-way", place.name, message);
    }
    findings.refuse()?;

    let mut report = ReportBuilder::new();
    let images: Vec<String> = wanted.iter().flat_map(images::of_workload).collect();
    let available = found.images(invocation, &images)?;
    report.warnings(available.nowhere).warnings(available.partly);
    let surplus = if parameters.remove_others { found.objects.surplus(&wanted) } else { Surplus::default() };
    report.changed(found.bring(&wanted, &parameters.take_over, &surplus)?);
    report.output("removed", surplus.names());
    if has_notes(running) {
        found.settle()?;
    }
    let version = parameters.versions.prometheus.as_str();
    expect(place, version)?;
    report.cluster_version(found.cluster.0, "prometheus", version);
    Ok(report.finish(format!("Prometheus {version} runs")))
}

/// Waits until Prometheus answers, and holds its version against the wanted one.
pub(crate) fn expect(place: Place<'_>, version: &str) -> Result<(), Failure> {
    let running = ready_version(place)?;
    if same_version(&running, version) {
        return Ok(());
    }
    let message = format!("Prometheus says that it is {running}, not {version}");
    Err(failure(FailureKind::Other("other-version".into()), place.url, message))
}
