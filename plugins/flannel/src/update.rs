//! Update: the release's objects in place of those that are there, followed until every node runs them.

use runner_plugin_sdk::objects::Release;
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Findings, Inputs, Invocation, Problem, Report, ReportBuilder, files, images, parse};

use crate::found::{DAEMON_SET, Found};
use crate::objects::{Config, release};
use crate::parameters::Update;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parse(invocation)?;
    let found = Found::read(invocation, &parameters.namespace)?;
    check(&parameters, &found).refuse()?;
    let config = Config::wanted(&parameters, found.config())?;
    let wanted = release(&parameters, &config, found.daemon_set());

    let mut report = ReportBuilder::new();
    let images: Vec<String> = wanted.iter().flat_map(images::of_workload).collect();
    for missing in found.missing_images(&images)? {
        report.warn("image-missing", missing.subject, format!("{}; its kubelet has to fetch it", missing.message));
    }
    let cni: Vec<_> = found.hosts().iter().map(|host| wanted_file(host, &parameters.cni_config, &config.cni)).collect();
    let target = Release {
        objects: &wanted,
        take_over: &parameters.take_over,
        workload: (Workload::DaemonSet, &parameters.namespace, DAEMON_SET),
        seconds: parameters.rollout_seconds,
    };
    let surplus = found.objects.surplus(&wanted);
    report
        .changed(files::ensure(&cni)?.contains(&true))
        .changed(target.bring(found.cluster, &surplus)?)
        .output("removed", surplus.names());
    let version = &parameters.versions.flannel;
    report.cluster_version(invocation.cluster()?, "flannel", version);
    Ok(report.finish(format!("flannel {version} runs on {} nodes", found.nodes.len())))
}

/// Everything that stands against the update, before anything is written.
fn check(parameters: &Update, found: &Found<'_>) -> Findings {
    let mut findings = Findings::new();
    findings.extend(found.strangers());
    if let Some(tag) = images::tag(&parameters.images.flannel).filter(|tag| *tag != parameters.versions.flannel) {
        let message = format!("image {} is {tag}, not {}", parameters.images.flannel, parameters.versions.flannel);
        findings.add("image-version", "images", message);
    }
    for node in found.nodes.iter().filter(|node| node.pod_cidr.is_none()) {
        let message = format!("Node {} has no podCIDR, so flannel has no subnet for it", node.name);
        findings.add("no-pod-cidr", node.name.as_str(), message);
    }
    findings
}

pub(crate) fn wanted_file(host: &str, path: &str, text: &str) -> files::Wanted {
    files::Wanted { at: files::at(host, path), content: text.as_bytes().to_vec(), mode: Some(0o644) }
}
