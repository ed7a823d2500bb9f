//! Maintenance: a node is cordoned and drained, and comes back as it was before.

use sdk::api::kubernetes::{Subject, WaitOrder, wait_for};
use sdk::api::log;
use sdk::api::progress;
use sdk::json::At;
use sdk::kubernetes::Cluster;
use sdk::{Answers, Failure, FailureKind, Inputs, Invocation, Problem, Report, ReportBuilder};
use serde::Deserialize;
use serde_json::json;

use crate::cluster::{self, View};
use crate::cordon::{MARK, Mark};
use crate::drain::drain;
use crate::leaders::await_leaders;
use crate::nodes;
use crate::parameters::{self, Maintenance};
use crate::preflight::{self, Rules};
use crate::update::accepted;
use crate::workloads::{self, Workload, ready_condition};

/// What leaving takes from the outputs of entering.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entered {
    #[serde(default)]
    not_ready_before: Vec<String>,
}

pub(crate) fn enter(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Maintenance = parameters::of(invocation)?;
    let cluster = Cluster(invocation.cluster()?);
    let node = cluster::node_of(cluster, invocation.host()?)?;
    let name = node.id.name.clone();
    let rules = Rules { managers: &parameters.managed_by, delete_emptydir_data: Some(parameters.delete_emptydir_data) };
    let found = preflight::of_pods(&View::of_node(cluster, &name)?, rules);
    let mut report = ReportBuilder::new();
    report.warnings(accepted(found)?);

    let workloads = cluster::workloads(cluster)?;
    let not_ready = workloads.iter().filter(|workload| !workload.is_ready()).map(Workload::title).collect();
    let mark = Mark::entering(&node.body, &invocation.run, &invocation.step, not_ready);
    if !sdk::rollout::is_ready(&node.body) {
        let message = format!("node {name} is not ready: its Pods may not end in order");
        report.warn("node-not-ready", name.as_str(), message);
    }
    await_leaders(cluster, &name)?;
    if !mark.is_set(&node.body) {
        progress::show(&format!("cordoning node {name}"), None, None);
        let at = cluster.global("v1", "Node", &name);
        report.changed(cluster.patch(at, &mark.patch(), None)?);
    }
    bring_others_back(cluster, &name, &invocation.run, &mut report)?;
    let evicted = drain(cluster, &name, &parameters)?;
    report
        .output("node", &name)
        .output("internal-ip", nodes::internal_ip(&node.body))
        .output("unschedulable-before", mark.unschedulable_before)
        .output("not-ready-before", &mark.not_ready_before)
        .output("evicted", &evicted);
    Ok(report.finish(format!("node {name} is cordoned and drained: {} Pods evicted", evicted.len())))
}

pub(crate) fn leave(invocation: &Invocation, entered: Option<&str>) -> Result<Report, Problem> {
    let parameters: Maintenance = parameters::of(invocation)?;
    let cluster = Cluster(invocation.cluster()?);
    let node = cluster::node_of(cluster, invocation.host()?)?;
    let name = node.id.name.clone();
    let entered: Option<Entered> = entered.and_then(|text| serde_json::from_str(text).ok());
    let mut report = ReportBuilder::new();
    report.output("node", &name);
    let entered = entered.unwrap_or_default();
    let Some(mark) = Mark::on(&node.body) else {
        if node.body.is_true("/spec/unschedulable") {
            return Ok(not_ours(&name, &mut report));
        }
        // An earlier attempt uncordoned it and was stopped while it waited.
        let ready = await_workloads(cluster, &entered.not_ready_before, parameters.workload_timeout.0)?;
        return Ok(report.finish(in_service(&name, ready)));
    };
    let at = || cluster.global("v1", "Node", &name);
    progress::show(&format!("waiting for node {name} to be ready"), None, None);
    let forecast = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let seconds = parameters.node_timeout.0;
    cluster::steadily(seconds, || cluster.wait_object(at(), nodes::READY, seconds, Some(forecast.clone()))).map_err(
        |mut failure| {
            failure.message = format!("node {name} stays cordoned, because it is not ready: {}", failure.message);
            failure
        },
    )?;
    report.changed(cluster::steadily(seconds, || cluster.patch(at(), &mark.undoing(), None))?);
    if mark.unschedulable_before {
        return Ok(report.finish(format!("node {name} was cordoned before and stays so")));
    }
    let ready = await_workloads(cluster, &mark.not_ready_before, parameters.workload_timeout.0)?;
    Ok(report.finish(in_service(&name, ready)))
}

fn in_service(node: &str, ready: usize) -> String {
    format!("node {node} takes Pods; {ready} workloads have their ready count")
}

/// Nodes that an earlier run left out of service take Pods again, if they can: the Pods of this node need a place, and
/// those nodes get their own turn. Only one operation works on a platform at a time, so nobody else is at them.
fn bring_others_back(cluster: Cluster<'_>, name: &str, run: &str, report: &mut ReportBuilder) -> Result<(), Problem> {
    let marked = cluster.select("v1", "Node", None, MARK);
    for node in cluster.list(marked, &nodes::FIELDS)? {
        let other = node.id.name.as_str();
        let Some(mark) = Mark::on(&node.body).filter(|mark| other != name && mark.run != run) else {
            continue;
        };
        if !sdk::rollout::is_ready(&node.body) {
            continue;
        }
        report.changed(cluster.patch(cluster.global("v1", "Node", other), &mark.undoing(), None)?);
        let message = format!(
            "node {other} was left out of service by run {}; it takes Pods again while {name} is worked on",
            mark.run
        );
        report.warn("brought-back", other, message);
    }
    Ok(())
}

/// A cordon without our mark is somebody else's to undo.
fn not_ours(node: &str, report: &mut ReportBuilder) -> Report {
    let message =
        format!("node {node} is cordoned, not by a run of ours, and stays so: uncordon it when it may take Pods");
    report.warn("foreign-cordon", node, message.as_str());
    report.finish(message)
}

/// Waits until the workloads have their ready count, those aside that had not before; answers how many are followed.
fn await_workloads(cluster: Cluster<'_>, not_ready_before: &[String], seconds: u32) -> Result<usize, Problem> {
    let all = cluster::workloads(cluster)?;
    let left_out: Vec<&Workload> = all.iter().filter(|workload| not_ready_before.contains(&workload.title())).collect();
    let followed = all.len() - left_out.len();
    if let Some(first) =
        all.iter().find(|workload| !workload.is_ready() && !not_ready_before.contains(&workload.title()))
    {
        progress::show(&format!("waiting for workloads: {} has {}", first.title(), first.count()), None, None);
        let orders = workloads::KINDS.map(|(version, kind)| WaitOrder {
            subject: Subject::Selection(cluster.select(version, kind, None, "")),
            condition: ready_condition(kind, &left_out),
            keep: vec!["/metadata/name".to_owned()],
            time_out: seconds.saturating_mul(1000),
            forecast: None,
        });
        cluster::steadily(seconds, || wait_for(&orders).all())
            .map_err(|failure| named(cluster, failure, not_ready_before))?;
    }
    for workload in left_out {
        let message = format!("{} had not its ready count before, and is not waited for", workload.title());
        log::write(log::Level::Info, &message, &[]);
    }
    Ok(followed)
}

/// A time-out that says which workloads are short of Pods.
fn named(cluster: Cluster<'_>, mut failure: Failure, not_ready_before: &[String]) -> Failure {
    if failure.kind != FailureKind::TimedOut {
        return failure;
    }
    let short: Vec<String> = cluster::workloads(cluster)
        .unwrap_or_default()
        .iter()
        .filter(|workload| !workload.is_ready() && !not_ready_before.contains(&workload.title()))
        .map(|workload| format!("{} ({})", workload.title(), workload.count()))
        .collect();
    if !short.is_empty() {
        failure.message = format!("workloads have not their ready count: {}", short.join(", "));
    }
    failure
}
