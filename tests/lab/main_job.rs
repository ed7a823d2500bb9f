//! Back up, update, back out: while an application is asked all the time, with somebody at the terminal who obeys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::canary::Canary;
use crate::platform::{Lab, quoted};

/// Longest silence of runner at the terminal.
const SILENCE: Duration = Duration::from_secs(600);
/// Time for what follows a change without runner: metrics to be scraped, endpoints to be known.
const AFTERWARDS: Duration = Duration::from_secs(90);

pub(crate) fn there_and_back(lab: &Lab) -> Result<()> {
    let state = tempfile::TempDir::with_prefix("runner-lab-state-")?;
    lab.is_at("1.0").context("before")?;
    let before = Data::written(lab)?;
    let canary = Canary::begin(lab)?;

    let ended = lab.workflow(state.path(), "backup-all", &[]).run()?.with(0)?;
    println!("{}", ended.stderr);
    at_terminal(lab, &canary, state.path(), "update-all")?;
    lab.until(AFTERWARDS, || lab.is_at("2.0")).context("after update-all")?;
    before.is_there(lab).context("after update-all")?;

    at_terminal(lab, &canary, state.path(), "backout-flannel")?;
    at_terminal(lab, &canary, state.path(), "backout-all")?;
    lab.until(AFTERWARDS, || lab.is_at("1.0")).context("after backout-all")?;
    before.is_there(lab).context("after backout-all")?;

    let count = canary.end()?;
    println!("{} requests, {} passed on to another node, {} lost", count.sent, count.passed_on, count.lost.len());
    ensure!(
        count.lost.is_empty(),
        "{} of {} requests were lost:\n{}",
        count.lost.len(),
        count.sent,
        count.lost.join("\n")
    );
    Ok(())
}

/// Carries out a workflow at a terminal. Whoever sits there answers `y`, moves the load balancer as told, and empties
/// the volume as told.
fn at_terminal(lab: &Lab, canary: &Canary, state: &std::path::Path, workflow: &str) -> Result<()> {
    let mut wrong = None;
    let ended = lab.workflow(state, workflow, &[]).conversing(SILENCE, |shown| {
        obey(lab, canary, shown).unwrap_or_else(|error| {
            wrong = Some(error);
            Some("\u{3}".to_owned())
        })
    })?;
    if let Some(error) = wrong {
        return Err(error.context(format!("at the terminal of {workflow}:\n{}", ended.stderr)));
    }
    println!("{}", ended.stderr);
    ended.with(0).with_context(|| workflow.to_owned())?;
    Ok(())
}

/// What is typed at a question: none while there is no whole one.
fn obey(lab: &Lab, canary: &Canary, shown: &str) -> Result<Option<String>> {
    let node = |from: &str| -> Result<Option<&str>> {
        let Some((_, rest)) = shown.split_once(from) else { return Ok(None) };
        let ip = rest.split_once(']').context("no address in the message")?.0;
        Ok(Some(&lab.host(lab.node_at(ip)?)?.address))
    };
    if shown.contains("(y/n)") {
        return Ok(Some("y\n".to_owned()));
    }
    let enter = Some("\n".to_owned());
    if shown.contains("please press the enter key.") {
        if let Some(address) = node("Please stop routing requests to the kubernetes node [")? {
            canary.take_out(address);
        } else if let Some(address) = node("Please resume routing requests to the kubernetes node [")? {
            canary.put_back(address);
        } else {
            anyhow::bail!("a question that nobody expects: {shown}");
        }
        return Ok(enter);
    }
    if shown.contains("Press enter key after deleting data.") {
        let volume = lab.volume();
        lab.on(&volume.host, &format!("find {} -mindepth 1 -delete", quoted(&volume.path)))?;
        return Ok(enter);
    }
    Ok(None)
}

/// What was written before the update.
struct Data {
    /// A key of etcd and its value.
    key: String,
    /// A moment (Unix seconds) at which Prometheus had a sample.
    sampled: u64,
}

impl Data {
    fn written(lab: &Lab) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let key = format!("/runner-test/{now}");
        let member = *lab.with("etcd").first().context("no member of etcd")?;
        lab.on(member, &format!("etcdctl put {key} {now}"))?;
        let volume = lab.volume();
        let file = quoted(&format!("{}/site-notes.txt", volume.path));
        lab.on(&volume.host, &format!("test -s {file} || echo 'kept by the operator' > {file}"))?;
        let data = Self { key, sampled: now };
        lab.until(AFTERWARDS, || data.samples_are_there(lab))?;
        Ok(data)
    }

    fn is_there(&self, lab: &Lab) -> Result<()> {
        for member in lab.with("etcd") {
            let value = lab.on(member, &format!("etcdctl get {} --print-value-only", self.key))?;
            ensure!(
                self.key.ends_with(value.trim()) && !value.trim().is_empty(),
                "{member} has {value:?} at {}",
                self.key
            );
        }
        let volume = lab.volume();
        let notes = lab.on(&volume.host, &format!("cat {}", quoted(&format!("{}/site-notes.txt", volume.path))))?;
        ensure!(notes.trim() == "kept by the operator", "the file in the volume holds {notes:?}");
        lab.until(AFTERWARDS, || self.samples_are_there(lab))
    }

    fn samples_are_there(&self, lab: &Lab) -> Result<()> {
        let result = lab.prometheus("up", Some(self.sampled))?;
        let samples = result.as_array().map_or(0, Vec::len);
        ensure!(samples > 0, "Prometheus has no sample of {}", self.sampled);
        Ok(())
    }
}
