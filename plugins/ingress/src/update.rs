//! Update: the release's objects in place of those that are there, followed until every node runs them.

use runner_plugin_sdk::objects::Release;
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Inputs, Invocation, Problem, Report, ReportBuilder, images, parse, refused};

use crate::found::{CONFIG, Found, NAME};
use crate::objects::{configuration, release};
use crate::parameters::Update;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Update = parse(invocation)?;
    check(&parameters)?;
    let found = Found::read(invocation, &parameters.namespace, &parameters.ingress_class)?;
    let wanted = release(&parameters, &found.objects);

    let mut report = ReportBuilder::new();
    for missing in found.missing_images(std::slice::from_ref(&parameters.images.traefik))? {
        report.warn("image-missing", missing.subject, format!("{}; its kubelet has to fetch it", missing.message));
    }
    if configuration(&parameters, found.objects.find("ConfigMap", CONFIG)).contains("kubernetesCRD") {
        let message = "the configuration uses Traefik's own resources, whose definitions are left as they are";
        report.warn("custom-resources", CONFIG, message);
    }
    let target = Release {
        objects: &wanted,
        take_over: &parameters.take_over,
        workload: (Workload::DaemonSet, &parameters.namespace, NAME),
        seconds: parameters.rollout_seconds,
    };
    let surplus = found.objects.surplus(&wanted);
    report.changed(target.bring(found.cluster, &surplus)?).output("removed", surplus.names());
    let version = &parameters.versions.traefik;
    report.cluster_version(invocation.cluster()?, NAME, version);
    Ok(report.finish(format!("Traefik {version} runs on every node of its DaemonSet")))
}

fn check(parameters: &Update) -> Result<(), Problem> {
    match images::tag(&parameters.images.traefik) {
        Some(tag) if tag != parameters.versions.traefik => {
            let message = format!("image {} is {tag}, not {}", parameters.images.traefik, parameters.versions.traefik);
            Err(refused("image-version", "images", message))
        }
        Some(_) | None => Ok(()),
    }
}
