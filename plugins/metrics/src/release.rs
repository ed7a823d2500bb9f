//! The objects of the wanted release.

use runner_plugin_sdk::images;
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::{describe, hash_config};
use runner_plugin_sdk::{Findings, Problem, refused};
use serde_json::{Value, json};

use crate::found::{Found, image};
use crate::parameters::Update;
use crate::prometheus::same_version;
use crate::stage::{replicas, without_notes};

/// Fields of a StatefulSet that cannot change while it is there.
const FIXED: [&str; 2] = ["/spec/selector", "/spec/serviceName"];

/// The release's objects in the order in which they are applied: the workload last.
pub(crate) fn wanted(parameters: &Update, found: &Found<'_>) -> Result<Vec<Value>, Problem> {
    build(parameters, found.installed()?, found.objects.portable())
}

fn build(parameters: &Update, running: &Value, there: Vec<Value>) -> Result<Vec<Value>, Problem> {
    let name = parameters.name.as_str();
    let is_workload =
        |body: &Value| body.text("/kind") == Some("StatefulSet") && body.text("/metadata/name") == Some(name);
    let mut objects = if parameters.remove_others {
        parameters.objects.clone()
    } else {
        overlaid(there.clone(), &parameters.objects)
    };
    for object in &objects {
        check(object)?;
    }
    let place = objects.iter().position(is_workload);
    let workload = place.map(|at| objects.remove(at)).or_else(|| there.into_iter().find(is_workload));
    let mut workload = without_notes(workload.unwrap_or_else(|| running.clone()));
    workload.put("/spec/replicas", json!(replicas(running)));
    let image = match &parameters.images {
        Some(images) => images.prometheus.clone(),
        None => image(running, &parameters.container)
            .map(|image| tagged(image, &parameters.versions.prometheus))
            .unwrap_or_default(),
    };
    set_image(&mut workload, &parameters.container, &image)?;
    let config: Vec<Value> = objects.iter().filter(|object| mounted(&workload, object)).cloned().collect();
    hash_config(&mut workload, &config.iter().collect::<Vec<_>>());
    objects.push(workload);
    Ok(objects)
}

/// Objects with others in place of those of the same kind and name, or beside them.
fn overlaid(mut objects: Vec<Value>, others: &[Value]) -> Vec<Value> {
    let name = |object: &Value| {
        let text = |pointer: &str| object.text(pointer).map(str::to_owned);
        (text("/kind"), text("/metadata/name"))
    };
    for other in others {
        match objects.iter().position(|object| name(object) == name(other)) {
            Some(at) => objects[at] = other.clone(),
            None => objects.push(other.clone()),
        }
    }
    objects
}

fn check(object: &Value) -> Result<(), Problem> {
    for field in ["/apiVersion", "/kind", "/metadata/name"] {
        if object.text(field).is_none_or(str::is_empty) {
            let message = format!("{} of `objects` has no {}", describe(object), field.trim_start_matches('/'));
            return Err(refused("invalid-object", "objects", message));
        }
    }
    Ok(())
}

fn set_image(workload: &mut Value, container: &str, image: &str) -> Result<(), Problem> {
    let containers = workload.items("/spec/template/spec/containers");
    let at = containers.iter().position(|found| found.text("/name") == Some(container));
    let Some(at) = at else {
        let message = format!("the release's StatefulSet has no container {container}");
        return Err(refused("no-container", "objects", message));
    };
    workload.put(&format!("/spec/template/spec/containers/{at}/image"), json!(image));
    Ok(())
}

/// An image with another version as its tag, written as the old tag is.
fn tagged(image: &str, version: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let (repository, v) = match images::tag(name) {
        Some(tag) => (&name[..name.len() - tag.len() - 1], tag.starts_with('v')),
        None => (name, false),
    };
    let number = version.trim_start_matches('v');
    if v || version.starts_with('v') { format!("{repository}:v{number}") } else { format!("{repository}:{number}") }
}

/// Whether a workload's Pods read a ConfigMap.
fn mounted(workload: &Value, object: &Value) -> bool {
    let mut volumes = workload.items("/spec/template/spec/volumes").iter();
    object.text("/kind") == Some("ConfigMap")
        && volumes.any(|volume| volume.text("/configMap/name") == object.text("/metadata/name"))
}

/// What stands against bringing the workload from one state to the other.
pub(crate) fn check_change(running: &Value, wanted: &[Value], findings: &mut Findings) {
    let workload = wanted.iter().find(|object| {
        object.text("/kind") == Some("StatefulSet") && object.text("/metadata/name") == running.text("/metadata/name")
    });
    let Some(workload) = workload else { return };
    for field in FIXED {
        let (old, new) = (running.pointer(field), workload.pointer(field));
        if new.is_some() && old != new {
            let message = format!("{} cannot be changed in {}", &field[1..], describe(running));
            findings.add("fixed-field", describe(running), message);
        }
    }
    if workload.text("/spec/updateStrategy/type") == Some("OnDelete") {
        let message = format!("{} has update strategy OnDelete: its Pod would stay as it is", describe(running));
        findings.add("on-delete", describe(running), message);
    }
}

/// Whether the wanted image is of the wanted version.
pub(crate) fn check_version(parameters: &Update, findings: &mut Findings) {
    let Some(images) = &parameters.images else {
        return;
    };
    let version = parameters.versions.prometheus.as_str();
    if let Some(tag) = images::tag(&images.prometheus).filter(|tag| !same_version(tag, version)) {
        let message = format!("image {} is {tag}, not {version}", images.prometheus);
        findings.add("image-version", "images", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::tests::workload;

    fn parameters(extra: Value) -> Update {
        let mut value = json!({"url": "http://p:9090", "volume-host": "s", "volume-path": "/srv/v", "versions": {"prometheus": "2.53.0"}});
        for (name, field) in extra.as_object().into_iter().flatten() {
            value.put(&format!("/{name}"), field.clone());
        }
        serde_json::from_value(value).unwrap()
    }

    fn config(text: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus-config", "namespace": "monitoring"},
               "data": {"prometheus.yml": text}})
    }

    #[test]
    fn without_objects_only_the_image_changes() {
        let there = vec![workload(), config("a")];
        let objects = build(&parameters(json!({})), &workload(), there).unwrap();
        assert_eq!(
            objects.iter().filter_map(|object| object.text("/kind")).collect::<Vec<_>>(),
            ["ConfigMap", "StatefulSet"]
        );
        assert_eq!(image(&objects[1], "prometheus"), Some("q.io/p/prometheus:v2.53.0"));
        assert_eq!(image(&objects[1], "reloader"), Some("r:1"));
        assert_eq!(objects[0], config("a"));
    }

    #[test]
    fn others_are_given_up_only_where_that_is_asked_for() {
        let names = |remove: bool| {
            let new = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}});
            let wanted = parameters(json!({"objects": [config("b"), new], "remove-others": remove}));
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "prometheus"}});
            let there = vec![account, config("a"), workload()];
            build(&wanted, &workload(), there).unwrap().iter().map(describe).collect::<Vec<_>>().join(", ")
        };
        let kept = "ServiceAccount prometheus, ConfigMap monitoring/prometheus-config, ConfigMap rules, StatefulSet monitoring/prometheus";
        assert_eq!(names(false), kept);
        assert_eq!(names(true), kept.trim_start_matches("ServiceAccount prometheus, "));
    }

    #[test]
    fn tags_are_written_as_they_were() {
        assert_eq!(tagged("q.io:5000/p:v1", "2.0"), "q.io:5000/p:v2.0");
        assert_eq!(tagged("q.io:5000/p:1", "2.0"), "q.io:5000/p:2.0");
        assert_eq!(tagged("q.io:5000/p@sha256:00", "v2.0"), "q.io:5000/p:v2.0");
    }

    #[test]
    fn a_change_of_the_configuration_changes_the_pod() {
        let hash = |text: &str| {
            let wanted = parameters(json!({"objects": [config(text)]}));
            let objects = build(&wanted, &workload(), vec![workload(), config("a")]).unwrap();
            objects[1].text("/spec/template/metadata/annotations/runner~1config-hash").map(str::to_owned)
        };
        assert!(hash("a").is_some());
        assert_ne!(hash("a"), hash("b"));
    }

    #[test]
    fn a_stopped_workload_comes_back_to_its_replicas() {
        let mut stopped = workload();
        stopped.put("/spec/replicas", json!(0));
        stopped.put("/metadata/annotations/runner~1replicas", json!("1"));
        let objects = build(&parameters(json!({})), &stopped, vec![stopped.clone()]).unwrap();
        assert_eq!(objects[0].number("/spec/replicas"), Some(1));
        assert_eq!(objects[0].text("/metadata/annotations/runner~1replicas"), None);
    }

    #[test]
    fn what_cannot_change_is_refused() {
        let codes = |change: (&str, Value)| {
            let mut wanted = workload();
            wanted.put(change.0, change.1);
            let mut findings = Findings::new();
            check_change(&workload(), &[wanted], &mut findings);
            findings.into_warnings().into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(("/spec/replicas", json!(1))), Vec::<String>::new());
        assert_eq!(codes(("/spec/serviceName", json!("other"))), ["fixed-field"]);
        assert_eq!(codes(("/spec/updateStrategy/type", json!("OnDelete"))), ["on-delete"]);
    }

    #[test]
    fn an_image_of_another_version_is_refused() {
        let codes = |image: &str| {
            let mut findings = Findings::new();
            check_version(&parameters(json!({"images": {"prometheus": image}})), &mut findings);
            findings.into_warnings().len()
        };
        assert_eq!(codes("p:v2.53.0"), 0);
        assert_eq!(codes("p:v2.42.0"), 1);
        let nameless = parameters(json!({"objects": [{"kind": "ConfigMap"}]}));
        assert!(build(&nameless, &workload(), vec![]).is_err());
    }
}
