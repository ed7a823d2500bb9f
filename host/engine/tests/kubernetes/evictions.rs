//! Evictions. No kubelet runs here: the test ends Pods as one would.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use runner_engine::contract::FailureKind;
use runner_engine::contract::kubernetes::*;
use serde_json::{Value, json};

use super::bench::{Bench, caller, done, one, place, refused};

/// A Pod that runs and is ready; on a node it stays until a kubelet ends it.
async fn pod(bench: &Bench, name: &str, labels: Value, node: Option<&str>) -> Result<Eviction> {
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
    });
    bench.server.kubectl_with(&["create", "-f", "-"], &body.to_string())?;
    let status =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    bench.server.kubectl(&["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status])?;
    let object = done(bench.get("Pod", name).await?)?;
    Ok(Eviction {
        cluster: "main".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: object.pointer("/metadata/uid").and_then(Value::as_str).context("uid")?.to_owned(),
        grace_seconds: None,
        time_out: 3_000,
    })
}

async fn budget(bench: &Bench, name: &str, app: &str, least: u32) -> Result<()> {
    let body = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}},
    });
    done(bench.apply("test", &body, true, &[]).await?)?;
    Ok(())
}

async fn evict(
    bench: &Bench,
    items: Vec<Eviction>,
) -> Result<Vec<Result<ObjectChange, runner_engine::contract::Failure>>> {
    let answers = bench.kubernetes().evict(&place(), &caller("kubernetes"), items).await;
    answers.map_err(|stop| anyhow::anyhow!("{stop}"))
}

pub(crate) async fn a_budget_is_named_obeyed_and_waited_for(bench: &Bench) -> Result<()> {
    let first = pod(bench, "web-1", json!({"app": "web"}), None).await?;
    let second = pod(bench, "web-2", json!({"app": "web"}), None).await?;
    budget(bench, "web", "web", 2).await?;
    let refusal = refused(evict(bench, vec![first.clone()]).await?.remove(0))?;
    let FailureKind::Conflict(found) = &refusal.kind else { anyhow::bail!("{refusal:?}") };
    ensure!(found.blockers == ["PodDisruptionBudget default/web"], "{refusal:?}");
    ensure!(refusal.message.contains("did not allow it within 3 s"), "{refusal:?}");

    // One may go as soon as there is a third; then the budget is in the way again.
    let begun = Instant::now();
    let patient = |item: &Eviction| Eviction { time_out: 25_000, ..item.clone() };
    let third = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        pod(bench, "web-3", json!({"app": "web"}), None).await
    };
    let (answers, third) = tokio::join!(evict(bench, vec![patient(&first), patient(&second)]), third);
    third?;
    let answers = answers?;
    let gone = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|change| change.changed)).count();
    ensure!(gone == 1 && begun.elapsed() < Duration::from_secs(60), "{answers:?}");
    let again = one(Ok(evict(bench, vec![if answers[0].is_ok() { first } else { second }]).await?))?;
    ensure!(done(again)? == ObjectChange { changed: false, id: None }, "what is gone is gone");
    bench.server.kubectl(&["delete", "pdb", "web"])?;
    Ok(())
}

pub(crate) async fn two_budgets_are_never(bench: &Bench) -> Result<()> {
    let item = pod(bench, "twice-1", json!({"app": "twice"}), None).await?;
    budget(bench, "twice-a", "twice", 0).await?;
    budget(bench, "twice-b", "twice", 0).await?;
    let begun = Instant::now();
    let refusal = refused(evict(bench, vec![Eviction { time_out: 60_000, ..item }]).await?.remove(0))?;
    let FailureKind::Conflict(found) = &refusal.kind else { anyhow::bail!("{refusal:?}") };
    ensure!(found.blockers == ["PodDisruptionBudget default/twice-a", "PodDisruptionBudget default/twice-b"]);
    ensure!(begun.elapsed() < Duration::from_secs(30), "at once");
    Ok(())
}

pub(crate) async fn a_pod_that_stays_is_told(bench: &Bench) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
    bench.server.kubectl_with(&["create", "-f", "-"], &node.to_string())?;
    let stays = pod(bench, "stays", json!({"app": "stays"}), Some("node-1")).await?;
    let late = refused(evict(bench, vec![stays.clone()]).await?.remove(0))?;
    ensure!(late.kind == FailureKind::TimedOut && late.message.contains("is not gone"), "{late:?}");
    let ends = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.server.kubectl(&["delete", "pod", "stays", "--grace-period=0", "--force"])
    };
    let (answers, ended) = tokio::join!(evict(bench, vec![Eviction { time_out: 60_000, ..stays.clone() }]), ends);
    ended?;
    ensure!(done(answers?.remove(0))?.changed, "it was evicted, and a watch saw it go");
    // Another one with its name is not the one that was meant.
    pod(bench, "stays", json!({"app": "stays"}), None).await?;
    let other = done(evict(bench, vec![stays]).await?.remove(0))?;
    ensure!(other == ObjectChange { changed: false, id: None }, "{other:?}");
    ensure!(bench.get("Pod", "stays").await?.is_ok());
    Ok(())
}
