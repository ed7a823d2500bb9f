//! Nodes that do not empty at once: budgets in the way, Pods that do not end, an API server that goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::platform::{Lab, quoted};

/// Exit codes of the binary.
const SUCCEEDED: i32 = 0;
const FAILED: i32 = 3;
const REFUSED: i32 = 6;

/// Seconds that a Pod may take to end in these tests.
const GRACE: u32 = 15;
/// How long the API server is away.
const AWAY: u32 = 12;

/// A workflow that takes one node out of service and back, and changes nothing on it.
fn drain(lab: &Lab, folder: &Path, node: &str, time: &str) -> Result<PathBuf> {
    let versions = lab.versions("1.0", "kubernetes")?;
    let workflow = json!({
        "name": "drain-node",
        "description": "Takes a node out of service and back",
        "steps": [
            {"name": "backup", "component": "kubernetes", "operation": "backup"},
            {"name": "nodes", "rolling": {
                "over": [node],
                "batch": 1,
                "maintenance": [{"component": "kubernetes", "with": {"drain-timeout": time}}],
                "steps": [{
                    "name": "node", "component": "kubernetes", "operation": "update",
                    "with": {"part": "node", "versions": versions},
                }],
            }},
        ],
    });
    let path = folder.join("drain-node.json");
    fs::write(&path, workflow.to_string())?;
    Ok(path)
}

/// A Deployment of the application in another manner.
fn deployment(lab: &Lab, name: &str, replicas: u32, arguments: &[&str]) -> Result<Value> {
    let namespace = &lab.canary().namespace;
    let canary = lab.objects(&["deployment", "--namespace", namespace, &lab.canary().name])?;
    let image = &canary["spec"]["template"]["spec"]["containers"][0]["image"];
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": GRACE,
                    "containers": [{"name": "web", "image": image, "args": arguments}],
                },
            },
        },
    }))
}

fn apply(lab: &Lab, folder: &Path, objects: &[Value]) -> Result<()> {
    let path = folder.join("objects.json");
    fs::write(&path, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    lab.kubectl(&["apply", "--filename", &path.to_string_lossy()])?;
    Ok(())
}

/// A node on which a Pod of an application runs, once one does.
fn node_of(lab: &Lab, application: &str) -> Result<String> {
    let label = format!("app={application}");
    lab.until(Duration::from_secs(120), || {
        let pods = lab.objects(&["pods", "--namespace", &lab.canary().namespace, "--selector", &label])?;
        let stays =
            |pod: &&Value| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
        let pod = pods["items"].as_array().and_then(|pods| pods.iter().find(stays));
        Ok(pod
            .and_then(|pod| pod["spec"]["nodeName"].as_str())
            .with_context(|| format!("no Pod {label} runs"))?
            .to_owned())
    })
}

fn is_cordoned(lab: &Lab, node: &str) -> Result<bool> {
    Ok(lab.objects(&["node", node])?["spec"]["unschedulable"] == true)
}

fn canary_is_whole(lab: &Lab) -> Result<()> {
    let deployment = format!("deployment/{}", lab.canary().name);
    lab.kubectl(&["rollout", "status", "--timeout=120s", "--namespace", &lab.canary().namespace, &deployment])?;
    Ok(())
}

/// One that can never allow an eviction is found before anything is done; one that does not allow it at this time is
/// waited for no longer than was said, and the node stays cordoned.
pub(crate) fn budgets(lab: &Lab) -> Result<()> {
    let folder = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    let state = folder.path().join("state");
    let (namespace, canary) = (&lab.canary().namespace, &lab.canary().name);
    let node = node_of(lab, canary)?;
    let run = |node: &str| {
        let workflow = drain(lab, folder.path(), node, "12s")?;
        lab.runner(&state, &["run", &workflow.to_string_lossy()]).run()
    };
    let budget = |least: u32| {
        let patch = format!(r#"{{"spec":{{"minAvailable":{least}}}}}"#);
        lab.kubectl(&["patch", "pdb", canary, "--namespace", namespace, "--type=merge", "--patch", &patch])
    };

    budget(3)?;
    let ended = run(&node);
    budget(2)?;
    let named = format!("PodDisruptionBudget {namespace}/{canary} never allows an eviction");
    let ended = ended?.with(REFUSED)?.says(&[&named, "state of the hosts"])?;
    ensure!(!ended.stderr.contains("OUT OF SERVICE"), "{}", ended.stderr);
    ensure!(!is_cordoned(lab, &node)?, "{node} was refused, and is cordoned");

    let mut hold = deployment(lab, "hold", 2, &["-delay=1h"])?;
    // Pods that run and are never ready: the budget waits for what does not come.
    hold["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/ready", "port": 8080}});
    let over = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "hold", "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "hold"}}},
    });
    apply(lab, folder.path(), &[hold, over])?;
    let held = node_of(lab, "hold").and_then(|node| {
        let begun = Instant::now();
        let named = format!("PodDisruptionBudget {namespace}/hold did not allow it within 12 s");
        let ended =
            run(&node)?.with(FAILED)?.says(&[&named, &node, "stays cordoned", "OUT OF SERVICE", "runner run"])?;
        ensure!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
        ensure!(is_cordoned(lab, &node)?, "{node} does not stay cordoned: {}", ended.stderr);
        Ok(node)
    });
    for kind in ["deployment", "pdb"] {
        lab.kubectl(&["delete", kind, "hold", "--namespace", namespace, "--wait=true"])?;
    }
    let node = held?;
    // The cause is mended, and the same command goes on.
    run(&node)?.with(SUCCEEDED)?;
    ensure!(!is_cordoned(lab, &node)?, "{node} is still cordoned");
    canary_is_whole(lab)
}

/// A Pod that ignores SIGTERM ends after its grace period, and meanwhile the API server goes away and comes back.
pub(crate) fn delays(lab: &Lab) -> Result<()> {
    let folder = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    let state = folder.path().join("state");
    let (namespace, master) = (&lab.canary().namespace, *lab.with("master").first().context("no master")?);
    apply(lab, folder.path(), &[deployment(lab, "stubborn", 1, &["-stubborn"])?])?;
    let drained = node_of(lab, "stubborn").and_then(|node| {
        let workflow = drain(lab, folder.path(), &node, "150s")?;
        // Killed: at SIGTERM it would first serve open watches to their end.
        let away = format!(
            "systemctl kill --signal=KILL kube-apiserver.service; systemctl stop kube-apiserver.service; sleep {AWAY}; \
             systemctl start kube-apiserver.service"
        );
        let serving = || lab.on(master, "systemctl show --property=MainPID --value kube-apiserver.service");
        let before = serving()?;
        // Timers are a minute late if they may.
        let soon = "--timer-property=AccuracySec=100ms --on-active=8";
        lab.on(master, &format!("systemd-run --collect {soon} sh -c {}", quoted(&away)))?;
        let begun = Instant::now();
        let ended = lab.runner(&state, &["run", &workflow.to_string_lossy()]).run()?.with(SUCCEEDED)?;
        ensure!(begun.elapsed() > Duration::from_secs(GRACE.into()), "the Pod ended early: {:?}", begun.elapsed());
        ended.says(&["is cordoned and drained", "takes Pods"])?;
        ensure!(serving()? != before, "the API server did not go away meanwhile");
        ensure!(!is_cordoned(lab, &node)?, "{node} is still cordoned");
        Ok(())
    });
    let back = lab.until(Duration::from_secs(120), || {
        lab.kubectl(&["delete", "deployment", "stubborn", "--namespace", namespace, "--ignore-not-found"])
    });
    drained?;
    back?;
    canary_is_whole(lab)
}
