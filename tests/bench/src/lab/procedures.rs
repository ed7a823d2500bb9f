//! Backup, update and backout of the whole lab: by runner, with somebody at its terminal who answers at once, and by a
//! script that knows every answer. Both leave the lab at the release that they found it at.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runner_tests::Invocation;
use tempfile::TempDir;

use super::answers::{Answers, RELEASES};
use super::journal::Spent;
use super::peers::Connections;
use super::site::{Site, timed};
use crate::table::Row;

/// Longest silence of runner at the terminal.
const SILENCE: Duration = Duration::from_secs(600);
/// Time for the platform to come to rest between procedures.
const REST: Duration = Duration::from_secs(20);

/// A workflow, its name in the script, and the release that it goes to.
const PROCEDURES: [(&str, &str, &str); 4] = [
    ("backup-all", "backup_all", RELEASES[0]),
    ("update-all", "update_all", RELEASES[1]),
    ("backout-flannel", "backout_flannel", RELEASES[0]),
    ("backout-all", "backout_all", RELEASES[0]),
];

/// How a procedure went.
struct Course {
    took: Duration,
    /// How long each node was out of rotation.
    out: BTreeMap<String, Duration>,
    /// By the journal.
    spent: Option<Spent>,
}

pub(crate) fn measure(site: &Site) -> Result<Vec<Row>> {
    let answers = Answers::of(site)?;
    is_at(site, &answers, RELEASES[0])?;
    let home = TempDir::with_prefix("runner-bench-")?;
    let state = home.path().join("state");
    // It compiles the plugins; an installation does that once.
    workflow(site, &state, "verify-all").run()?.with(0)?;
    let mut own = Vec::new();
    for (name, ..) in PROCEDURES {
        eprintln!("{name} by runner");
        own.push(by_runner(site, &answers, &state, name).with_context(|| format!("{name} by runner"))?);
        std::thread::sleep(REST);
    }
    let connections = Connections::new(site, &site.hosts, &home.path().join("c"))?;
    let mut others = Vec::new();
    for (name, procedure, release) in PROCEDURES {
        eprintln!("{name} by hand");
        connections.close();
        let mut command = answers.script(site, procedure, release)?;
        command.env("CONTROL", connections.directory()).env("WORK", home.path());
        others.push(by_hand(&mut command).with_context(|| format!("{name} by hand"))?);
        std::thread::sleep(REST);
    }
    connections.close();
    is_at(site, &answers, RELEASES[0])?;
    Ok(PROCEDURES.iter().zip(own.iter().zip(&others)).flat_map(|((name, ..), both)| rows(name, both)).collect())
}

/// Whether every kubelet is of a release and no node is cordoned.
fn is_at(site: &Site, answers: &Answers, release: &str) -> Result<()> {
    let mut command = Command::new(site.path("bin/kubectl"));
    command.arg("--kubeconfig").arg(site.path("kubeconfig")).args(["get", "nodes", "--no-headers", "--output"]);
    command.arg("custom-columns=VERSION:.status.nodeInfo.kubeletVersion,CORDONED:.spec.unschedulable");
    let said = timed(&mut command)?.1;
    let wanted = [answers.kubelet(release)?, "<none>".to_owned()];
    let is = said.lines().all(|line| line.split_whitespace().eq(wanted.iter().map(String::as_str)));
    ensure!(is, "the lab is not at release {release}, or a node is cordoned:\n{said}");
    Ok(())
}

fn workflow(site: &Site, state: &Path, name: &str) -> Invocation {
    let mut call = Invocation::new(["run".to_owned(), format!("workflows/{name}.json")]);
    for file in ["inventory", "policy", "releases"] {
        call = call.args([format!("--{file}").into(), site.path(&format!("{file}.json")).into_os_string()]);
    }
    call.env("RUNNER_STATE_DIR", state)
}

fn by_runner(site: &Site, answers: &Answers, state: &Path, name: &str) -> Result<Course> {
    let values: &[&str] = match name {
        "update-all" => &["stop_containers=True"],
        "backout-all" => &["stop_containers=True", "delete_pv_data=metrics"],
        _ => &[],
    };
    let call = workflow(site, state, name).args(values.iter().flat_map(|value| ["-e", value]));
    let mut watch = Watch::default();
    let mut wrong = None;
    let begun = Instant::now();
    let ended = call.conversing(SILENCE, |shown| {
        answer(answers, &mut watch, shown).unwrap_or_else(|error| {
            wrong = Some(error);
            Some("\u{3}".to_owned())
        })
    })?;
    let took = begun.elapsed();
    if let Some(error) = wrong {
        return Err(error.context(ended.stderr));
    }
    ended.with(0)?;
    Ok(Course { took, out: watch.over, spent: Some(Spent::of(state, name)?) })
}

/// What is typed at a question: none while there is no whole one.
fn answer(answers: &Answers, watch: &mut Watch, shown: &str) -> Result<Option<String>> {
    if shown.contains("(y/n)") {
        return Ok(Some("y\n".to_owned()));
    }
    if !shown.contains("please press the enter key.") {
        return Ok(None);
    }
    let node = |from: &str| -> Result<Option<&str>> {
        let Some((_, rest)) = shown.split_once(from) else { return Ok(None) };
        let ip = rest.split_once(']').context("no address in the message")?.0;
        answers.node_at(ip).map(Some)
    };
    if let Some(node) = node("Please stop routing requests to the kubernetes node [")? {
        watch.leaves(node);
    } else if let Some(node) = node("Please resume routing requests to the kubernetes node [")? {
        watch.returns(node)?;
    } else {
        bail!("a question that nobody expects: {shown}");
    }
    Ok(Some("\n".to_owned()))
}

fn by_hand(command: &mut Command) -> Result<Course> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run bash")?;
    let mut watch = Watch::default();
    for line in BufReader::new(child.stdout.take().context("no standard output")?).lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("out", node)) => watch.leaves(node),
            Some(("in", node)) => watch.returns(node)?,
            _ => eprintln!("{line}"),
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the script ended with {status}; what it said is above");
    Ok(Course { took: begun.elapsed(), out: watch.over, spent: None })
}

/// Nodes out of rotation.
#[derive(Default)]
struct Watch {
    since: BTreeMap<String, Instant>,
    over: BTreeMap<String, Duration>,
}

impl Watch {
    fn leaves(&mut self, node: &str) {
        self.since.insert(node.to_owned(), Instant::now());
    }

    fn returns(&mut self, node: &str) -> Result<()> {
        let since = self.since.remove(node).with_context(|| format!("{node} returns and never left"))?;
        self.over.insert(node.to_owned(), since.elapsed());
        Ok(())
    }
}

fn rows(name: &str, (own, other): (&Course, &Course)) -> Vec<Row> {
    let mut rows = vec![Row::against(&format!("{name} on the lab"), own.took, "by hand", other.took)];
    if let Some(Spent { waiting, reading, own: rest }) = own.spent {
        let share = waiting.as_secs_f64() / own.took.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut row = Row::alone(
            format!("{name}: changes of the platform and waits for it"),
            format!(
                "{waiting:.1?} of {:.1?}, beside them {reading:.1?} of reads, {rest:.1?} of neither, soaks included",
                own.took
            ),
        );
        row.ratio = format!("{share:.2}");
        rows.push(row);
    }
    for (node, out) in &own.out {
        let what = format!("{name}: {node} out of rotation");
        rows.push(match other.out.get(node) {
            Some(by_hand) => Row::against(&what, *out, "by hand", *by_hand),
            None => Row::alone(what, format!("{out:.2?}")),
        });
    }
    rows
}
