//! Kubernetes: objects, controllers, evictions, waits.

mod evictions;
mod objects;
mod workloads;

use super::*;
use crate::contract::kubernetes::{
    ApplyOrder, CreateOrder, Eviction, Object, ObjectChange, PageOrder, PatchKind, PatchOrder, Precondition,
    Propagation, RemovalOrder, Selection, Subject, WaitOrder,
};
use crate::contract::{FailureKind, Listener};

fn workload(kind: &str, name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image, "resources": {"requests": {"cpu": "500m"}}}]},
            },
        },
    })
}

fn daemons(image: &str) -> Value {
    let mut daemons = workload("DaemonSet", "log", 0, image);
    daemons["spec"].as_object_mut().expect("a spec").shift_remove("replicas");
    daemons["spec"]["template"]["spec"]["containers"][0]
        .as_object_mut()
        .expect("a container")
        .shift_remove("resources");
    daemons
}

fn budget(name: &str, app: &str, least: u32) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "shop"},
           "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}})
}

fn selection(of: &str, labels: &str, fields: &str) -> Selection {
    Selection {
        cluster: "main".to_owned(),
        kind: kind(of),
        namespace: Some("shop".to_owned()),
        labels: labels.to_owned(),
        fields: fields.to_owned(),
    }
}

async fn pods(bench: &Bench, labels: &str, fields: &str) -> Vec<(Object, Value)> {
    let order = PageOrder { selection: selection("Pod", labels, fields), keep: Vec::new(), limit: 0, token: None };
    let page = one(bench.platform.kubernetes().pages(&main(), &caller(), vec![order]).await.expect("no doubt"))
        .expect("a page");
    page.objects
        .into_iter()
        .map(|object| {
            let body = serde_json::from_str(&object.body).expect("JSON");
            (object, body)
        })
        .collect()
}

fn ready(pod: &Value) -> bool {
    pod.pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

async fn apply(bench: &Bench, body: &Value, force: bool, take_over: &[&str]) -> Result<ObjectChange, Failure> {
    let take_over = take_over.iter().map(|name| (*name).to_owned()).collect();
    let order = ApplyOrder {
        cluster: "main".to_owned(),
        body: body.to_string(),
        secrets: Vec::new(),
        force,
        take_over,
        precondition: None,
    };
    one(bench.platform.kubernetes().apply(&main(), &caller(), vec![order]).await.expect("no doubt"))
}

async fn patch(bench: &Bench, of: &str, namespace: &str, name: &str, body: Value) -> Result<ObjectChange, Failure> {
    let order = PatchOrder {
        object: reference(of, namespace, name),
        patch: PatchKind::Merge,
        body: body.to_string(),
        subresource: None,
        precondition: None,
    };
    one(bench.platform.kubernetes().patch(&main(), &caller(), vec![order]).await.expect("no doubt"))
}

async fn cordon(bench: &Bench, node: &str, on: bool) {
    patch(bench, "Node", "", node, json!({"spec": {"unschedulable": on}})).await.expect("patched");
}

fn eviction(pod: &Object) -> Eviction {
    Eviction {
        cluster: "main".to_owned(),
        namespace: "shop".to_owned(),
        name: pod.id.name.clone(),
        uid: pod.id.uid.clone(),
        grace_seconds: None,
        time_out: 1000,
    }
}

async fn wait(bench: &Bench, subject: Subject, condition: &str) -> Result<Vec<Object>, Failure> {
    let order =
        WaitOrder { subject, condition: condition.to_owned(), keep: Vec::new(), time_out: 60_000, forecast: None };
    one(bench.platform.kubernetes().wait_for(&main(), &caller(), vec![order]).await.expect("no doubt"))
}
