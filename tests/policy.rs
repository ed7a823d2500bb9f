//! The shipped policy is as narrow as the shipped workflows allow: without any one of its lines a step ends denied, and
//! the denial quotes that very line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use runner_tests::{Ended, State, Step, root};
use serde_json::Value;
use tempfile::TempDir;

const DENIED: i32 = 5;
const POLICY: &str = "workflows/inventories/demo/policy.json";

/// The shipped workflows, each with where it begins and its options.
const WORKFLOWS: [(Step, &str, &[&str]); 6] = [
    (Step::Fresh, "backup-all", &[]),
    (
        Step::BackedUp,
        "update-all",
        &[
            "no_interactive=True",
            "interactive_update=False",
            "stop_containers=True",
        ],
    ),
    (Step::Updated, "verify-all", &["release=2.0"]),
    (Step::Updated, "backout-flannel", &["no_interactive=True"]),
    (
        Step::FlannelBackedOut,
        "backout-all",
        &[
            "no_interactive=True",
            "interactive_backout=False",
            "stop_containers=True",
            "delete_pv_data=metrics",
            "fix_f1013_2021_001=True",
        ],
    ),
    (
        Step::FlannelBackedOut,
        "backout-all",
        &[
            "no_interactive=True",
            "interactive_backout=False",
            "stop_containers=True",
            "delete_pv_data=metrics",
            "restore_etcd=True",
            "accept_etcd_loss=True",
        ],
    ),
];

/// The grants of a policy, a line each, as they stand there.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| line.starts_with("{\"plugin\""))
        .map(str::to_owned)
        .collect()
}

/// Plugin and capability of a line.
fn of_line(line: &str) -> Result<(String, String)> {
    let value: Value = serde_json::from_str(line)?;
    let field = |name: &str| {
        value[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {name} in {line}"))
    };
    Ok((field("plugin")?, field("allow")?))
}

fn run(from: Step, workflow: &str, extras: &[&str], policy: &Path) -> Result<(State, Ended)> {
    let state = State::after(from)?;
    let policy = policy.to_string_lossy().into_owned();
    let ended = state
        .workflow(workflow, extras)
        .args(["--policy".to_owned(), policy])
        .run()?;
    Ok((state, ended))
}

/// For each workflow the plugins and functions that it calls, from its journal.
fn calls() -> Result<BTreeMap<usize, BTreeSet<(String, String)>>> {
    let mut calls = BTreeMap::new();
    for (index, (from, workflow, extras)) in WORKFLOWS.iter().enumerate() {
        let before = State::after(*from)?;
        let known: BTreeSet<_> = journals(before.path())?.into_iter().collect();
        let ended = before.workflow(workflow, extras).run()?;
        ended
            .with(0)
            .with_context(|| format!("{workflow} with the shipped policy"))?;
        let mut found = BTreeSet::new();
        for journal in journals(before.path())?
            .into_iter()
            .filter(|journal| !known.contains(journal))
        {
            let mut components = BTreeMap::new();
            for line in fs::read_to_string(&journal)?.lines() {
                let line: Value = serde_json::from_str(line)?;
                collect(&line, &mut components, &mut found);
            }
        }
        calls.insert(index, found);
    }
    Ok(calls)
}

/// Notes which component an attempt is of, and which functions it calls.
fn collect(
    line: &Value,
    components: &mut BTreeMap<String, String>,
    found: &mut BTreeSet<(String, String)>,
) {
    let name = |of: &Value| format!("{} {} {}", of["step"], of["target"], of["attempt"]);
    let begun = &line["entry"]["step-begun"];
    if let Some(component) = begun["component"].as_str() {
        components.insert(name(&begun["attempt"]), component.to_owned());
    }
    let start = &line["entry"]["start"];
    if let Some(function) = start["function"].as_str()
        && let Some(component) = components.get(&name(&start["call"]))
    {
        found.insert((component.clone(), function.to_owned()));
    }
}

fn journals(state: &Path) -> Result<Vec<std::path::PathBuf>> {
    let runs = state.join("runs");
    if !runs.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(runs)?
        .map(|run| Ok(run?.path().join("journal.jsonl")))
        .collect()
}

#[test]
fn without_any_one_line_a_step_is_denied_and_quotes_it() -> Result<()> {
    let text = fs::read_to_string(root().join(POLICY))?;
    let all = lines(&text);
    ensure!(
        all.len() > 50,
        "only {} lines were found in {POLICY}",
        all.len()
    );
    let calls = calls()?;
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(line) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = needed(&text, line, &calls)
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("{line}\n    {error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a check panicked"))?;
    ensure!(
        wrong.is_empty(),
        "{} of {} lines:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Fails unless some workflow is denied without the line.
fn needed(
    policy: &str,
    line: &str,
    calls: &BTreeMap<usize, BTreeSet<(String, String)>>,
) -> Result<()> {
    let without: Vec<&str> = policy
        .lines()
        .filter(|one| one.trim().trim_end_matches(',') != line)
        .collect();
    let text = without.join("\n");
    // The last line of a list has no comma.
    let text = text.replace("},\n  ]", "}\n  ]");
    let folder = TempDir::new()?;
    let path = folder.path().join("policy.json");
    fs::write(&path, text)?;
    let called = of_line(line)?;
    let mut seen = Vec::new();
    for (index, (from, workflow, extras)) in WORKFLOWS.iter().enumerate() {
        if !calls
            .get(&index)
            .is_some_and(|calls| calls.contains(&called))
        {
            continue;
        }
        let (_state, ended) = run(*from, workflow, extras, &path)?;
        match ended.code {
            Some(0) => seen.push(format!("{workflow} succeeds without it")),
            Some(DENIED) if ended.stderr.contains(line) => return Ok(()),
            code => bail!(
                "{workflow} ends with {code:?} and does not quote it:\n{}",
                ended.stderr
            ),
        }
    }
    bail!(
        "{}",
        if seen.is_empty() {
            "no workflow calls it".to_owned()
        } else {
            seen.join(", ")
        }
    )
}

#[test]
fn a_policy_without_grants_denies_the_first_effect() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("policy.json");
    fs::write(&path, "{\"grants\": []}")?;
    let (_state, ended) = run(Step::Fresh, "backup-all", &[], &path)?;
    ended.with(DENIED)?.says(&["{\"plugin\":"])?;
    Ok(())
}
