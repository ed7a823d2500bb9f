//! The shipped policy is as narrow as the shipped workflows allow: without any one of its lines a step ends denied, and
//! the denial quotes that very line.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use runner_tests::{Ended, Site, State, Step, root};
use serde_json::{Value, json};
use tempfile::TempDir;

const DENIED: i32 = 5;
const POLICY: &str = "workflows/inventories/demo/policy.json";

const UPDATE: &[&str] = &["no_interactive=True", "interactive_update=False", "stop_containers=True"];

/// A shipped workflow, where it begins, and its options.
struct Scene {
    /// State of the demo's platform; none: a platform of its own, see [`busy_docker`].
    from: Option<Step>,
    workflow: &'static str,
    extras: &'static [&'static str],
}

/// Together these call everything that the policy grants.
const SCENES: [Scene; 7] = [
    Scene { from: Some(Step::Fresh), workflow: "backup-all", extras: &[] },
    Scene { from: Some(Step::BackedUp), workflow: "update-all", extras: UPDATE },
    Scene { from: Some(Step::Updated), workflow: "verify-all", extras: &["release=2.0"] },
    Scene { from: Some(Step::Updated), workflow: "backout-flannel", extras: &["no_interactive=True"] },
    Scene {
        from: Some(Step::FlannelBackedOut),
        workflow: "backout-all",
        extras: &[
            "no_interactive=True",
            "interactive_backout=False",
            "stop_containers=True",
            "delete_pv_data=metrics",
            "fix_f1013_2021_001=True",
        ],
    },
    Scene {
        from: Some(Step::FlannelBackedOut),
        workflow: "backout-all",
        extras: &[
            "no_interactive=True",
            "interactive_backout=False",
            "stop_containers=True",
            "delete_pv_data=metrics",
            "restore_etcd=True",
            "accept_etcd_loss=True",
        ],
    },
    Scene { from: None, workflow: "update-all", extras: UPDATE },
];

/// A platform whose Docker packages leave restarts to whoever updates them, where a container runs outside Kubernetes and
/// one daemon has stopped.
fn busy_docker(name: &str, text: String) -> Result<String> {
    if name != "platform.json" {
        return Ok(text);
    }
    let mut value: Value = serde_json::from_str(&text)?;
    for repository in value["repositories"].as_object_mut().context("no repositories")?.values_mut() {
        for package in ["docker.io", "containerd"] {
            repository["packages"][package]["restarts"] = json!([]);
        }
    }
    value["hosts"]["node-1"]["components"] = json!({"docker": {
        "containers": {"a".repeat(64): {"name": "mirror", "image": "registry:2", "running": true, "restarts": "no"}},
        "images": {format!("sha256:{}", "b".repeat(64)): "registry:2"},
    }});
    value["hosts"]["node-2"]["units"] = json!({"docker.service": {"active": "inactive"}});
    Ok(serde_json::to_string_pretty(&value)?)
}

/// A scene that was carried out; its state lives as long as this.
struct Played {
    ended: Ended,
    journal: PathBuf,
    _state: Box<dyn Any>,
}

impl Scene {
    fn play(&self, policy: &Path) -> Result<Played> {
        let policy = policy.to_string_lossy().into_owned();
        let (place, call, runs) = match self.from {
            Some(from) => {
                let state = State::after(from)?;
                let call = state.workflow(self.workflow, self.extras);
                let runs = state.path().join("runs");
                (Box::new(state) as Box<dyn Any>, call, runs)
            }
            None => {
                let site = Site::new(busy_docker)?;
                site.run("backup-all", &[])?.with(0).context("backing up the busy platform")?;
                let call = site.workflow(self.workflow, self.extras);
                let runs = site.path("state/runs");
                (Box::new(site) as Box<dyn Any>, call, runs)
            }
        };
        let ended = call.args(["--policy".to_owned(), policy]).run()?;
        let newest = fs::read_dir(&runs)?
            .filter_map(Result::ok)
            .map(|run| run.path().join("journal.jsonl"))
            .max_by_key(|journal| journal.metadata().and_then(|metadata| metadata.modified()).ok())
            .context("no run was begun")?;
        Ok(Played { ended, journal: newest, _state: place })
    }
}

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
    let field = |name: &str| value[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {line}"));
    Ok((field("plugin")?, field("allow")?))
}

/// Components and the functions that they called, from a journal.
fn calls(journal: &Path) -> Result<BTreeSet<(String, String)>> {
    let name = |of: &Value| format!("{} {} {}", of["step"], of["target"], of["attempt"]);
    let (mut components, mut found) = (BTreeMap::new(), BTreeSet::new());
    for line in fs::read_to_string(journal)?.lines() {
        let line: Value = serde_json::from_str(line)?;
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
    Ok(found)
}

#[test]
fn without_any_one_line_a_step_is_denied_and_quotes_it() -> Result<()> {
    let policy = root().join(POLICY);
    let text = fs::read_to_string(&policy)?;
    let all = lines(&text);
    ensure!(all.len() > 50, "only {} lines were found in {POLICY}", all.len());
    let mut called = Vec::new();
    for scene in &SCENES {
        let played = scene.play(&policy)?;
        let found = calls(&played.journal)?;
        played.ended.with(0).with_context(|| format!("{} with the shipped policy", scene.workflow))?;
        called.push(found);
    }
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(line) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = needed(&text, line, &called)
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("{line}\n    {error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().map_err(|_| anyhow::anyhow!("a check panicked"))?;
    ensure!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    Ok(())
}

/// Fails unless some scene is denied without the line.
fn needed(policy: &str, line: &str, called: &[BTreeSet<(String, String)>]) -> Result<()> {
    let without: Vec<&str> = policy.lines().filter(|one| one.trim().trim_end_matches(',') != line).collect();
    // The last line of a list has no comma.
    let text = without.join("\n").replace("},\n  ]", "}\n  ]");
    let folder = TempDir::new()?;
    let path = folder.path().join("policy.json");
    fs::write(&path, text)?;
    let call = of_line(line)?;
    let mut seen = Vec::new();
    for (scene, _) in SCENES.iter().zip(called).filter(|(_, called)| called.contains(&call)) {
        let ended = scene.play(&path)?.ended;
        match ended.code {
            Some(0) => seen.push(format!("{} succeeds without it", scene.workflow)),
            Some(DENIED) if ended.stderr.contains(line) => return Ok(()),
            code => bail!("{} ends with {code:?} and does not quote it:\n{}", scene.workflow, ended.stderr),
        }
    }
    bail!("{}", if seen.is_empty() { "no workflow calls it".to_owned() } else { seen.join(", ") })
}

#[test]
fn a_policy_without_grants_denies_the_first_effect() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("policy.json");
    fs::write(&path, "{\"grants\": []}")?;
    let played = SCENES[0].play(&path)?;
    played.ended.with(DENIED)?.says(&["{\"plugin\":"])?;
    Ok(())
}
