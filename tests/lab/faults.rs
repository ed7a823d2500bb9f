//! What stands in the way, refused before anything changes; and what breaks on the way.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use runner_tests::Ended;
use serde_json::Value;

use crate::platform::{Lab, quoted, recap};

/// Exit codes of the binary.
const SUCCEEDED: i32 = 0;
const FAILED: i32 = 3;
const UNREACHABLE: i32 = 4;
const REFUSED: i32 = 6;
const DECLINED: i32 = 7;

/// Values without which nobody at a terminal is needed.
const UNATTENDED: &[&str] = &["no_interactive=True", "interactive_update=False", "stop_containers=True"];

/// Writes that the journals of the update's runs in a state directory show.
fn writes(state: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for run in std::fs::read_dir(state.join("runs"))? {
        let run = run?.path();
        if !run.to_string_lossy().contains("update-all") {
            continue;
        }
        let text = std::fs::read_to_string(run.join("journal.jsonl"))?;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            let entry = line.get("entry").unwrap_or(&line);
            if let Some(start) = entry.get("start")
                && start["class"].as_str().is_some_and(|class| class.starts_with("write"))
            {
                found.push(start["function"].to_string());
            }
        }
    }
    Ok(found)
}

/// A run that ends with this code and these words, and whose journal shows only reads.
fn refused(lab: &Lab, code: i32, run: impl FnOnce(&Path) -> Result<Ended>, texts: &[&str]) -> Result<()> {
    let state = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    run(state.path())?.with(code)?.says(texts)?;
    let writes = writes(state.path())?;
    ensure!(writes.is_empty(), "refused, and yet it wrote: {writes:?}");
    lab.is_at("1.0").context("after a refusal")
}

pub(crate) fn unmanaged_pod(lab: &Lab) -> Result<()> {
    let node = *lab.with("node").first().context("no node")?;
    let namespace = &lab.canary().namespace;
    let image = lab.objects(&["deployment", "--namespace", namespace, &lab.canary().name])?;
    let image = image["spec"]["template"]["spec"]["containers"][0]["image"].as_str().context("no image")?.to_owned();
    let overrides = format!(r#"{{"spec":{{"nodeName":"{node}"}}}}"#);
    lab.kubectl(&[
        "run",
        "by-hand",
        "--namespace",
        namespace,
        "--image",
        &image,
        "--image-pull-policy=Never",
        "--restart=Never",
        "--overrides",
        &overrides,
    ])?;
    let result = lab
        .kubectl(&["wait", "--namespace", namespace, "--for=condition=Ready", "--timeout=60s", "pod/by-hand"])
        .and_then(|_| {
            let run = |state: &Path| lab.workflow(state, "update-all", UNATTENDED).run();
            refused(lab, REFUSED, run, &["by-hand"])
        });
    lab.kubectl(&["delete", "pod", "by-hand", "--namespace", namespace, "--wait=true"])?;
    result
}

pub(crate) fn loopback_resolver(lab: &Lab) -> Result<()> {
    let node = *lab.with("node").last().context("no node")?;
    // Docker mounts the file: written in place, never renamed over.
    let before = lab.on(node, "cat /etc/resolv.conf")?;
    let restore = || lab.on(node, &format!("printf %s {} > /etc/resolv.conf", quoted(&before)));
    lab.on(node, "echo 'nameserver 127.0.0.1' > /etc/resolv.conf")?;
    let run = |state: &Path| lab.workflow(state, "update-all", UNATTENDED).run();
    let result = refused(lab, REFUSED, run, &["resolv.conf", node]);
    restore()?;
    result
}

pub(crate) fn no(lab: &Lab) -> Result<()> {
    let run = |state: &Path| {
        lab.workflow(state, "backup-all", &[]).run()?.with(SUCCEEDED)?;
        lab.workflow(state, "update-all", &[])
            .conversing(std::time::Duration::from_secs(120), |shown| shown.contains("(y/n)").then(|| "n\n".to_owned()))
    };
    refused(lab, DECLINED, run, &["Do you want to update?"])
}

pub(crate) fn unreachable(lab: &Lab) -> Result<()> {
    let nodes = lab.with("node");
    let (gone, there) = (*nodes.first().context("no node")?, *nodes.last().context("no node")?);
    let state = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    // The way back must not need the sshd that is stopped.
    lab.on(gone, "systemd-run --collect --on-active=60 systemctl start ssh.service && systemctl stop ssh.service")?;
    let ended = lab.workflow(state.path(), "backup-all", &[]).run();
    let back = lab.until(std::time::Duration::from_secs(180), || lab.on(gone, "true"));
    let ended = ended?.with(UNREACHABLE)?;
    back?;
    let (lost, others) = (recap(&ended, gone)?, recap(&ended, there)?);
    ensure!(lost.contains("unreachable=1 ") && lost.contains("failed=0"), "{lost}");
    ensure!(others.contains("unreachable=0") && others.contains("failed=0"), "{others}");
    ended.says(&["cannot connect to", gone])?;
    Ok(())
}

pub(crate) fn broken_unit(lab: &Lab) -> Result<()> {
    let node = *lab.with("node").first().context("no node")?;
    let state = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    lab.workflow(state.path(), "backup-all", &[]).run()?.with(SUCCEEDED)?;
    let drop_in = "/etc/systemd/system/kubelet.service.d/99-broken.conf";
    // A kubelet that runs goes on; the one that is restarted does not come up.
    lab.on(node, &format!("mkdir -p $(dirname {drop_in}) && printf '[Service]\\nExecStartPre=/bin/false\\nRestart=no\\n' > {drop_in} && systemctl daemon-reload"))?;
    let ended = lab.workflow(state.path(), "update-all", UNATTENDED).run();
    let cordoned = lab.objects(&["node", node]).map(|node| node["spec"]["unschedulable"] == true);
    lab.on(
        node,
        &format!("rm {drop_in} && systemctl daemon-reload && systemctl reset-failed kubelet.service || true"),
    )?;
    let ended = ended?.with(FAILED)?;
    ensure!(cordoned?, "{node} does not stay cordoned");
    ended.says(&["kubelet.service", node, "runner "])?;
    // The cause is mended: the same workflow carries on, and everything goes back.
    lab.workflow(state.path(), "update-all", UNATTENDED).run()?.with(SUCCEEDED)?;
    lab.is_at("2.0")?;
    lab.workflow(state.path(), "backout-flannel", &["no_interactive=True"]).run()?.with(SUCCEEDED)?;
    let back = ["no_interactive=True", "interactive_backout=False", "stop_containers=True", "delete_pv_data=metrics"];
    lab.workflow(state.path(), "backout-all", &back).run()?.with(SUCCEEDED)?;
    lab.is_at("1.0")
}
