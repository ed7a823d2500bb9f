//! The executor with scripted components, without wasm.

mod rolling;
mod sets;
mod stops;
mod sub_workflows;
mod unwinding;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use runner_types::{
    Connection, Decision, Digest, Entry, EventKind, Manifest, ResolvedInventory, RunOutcome, Timestamp,
};
use serde_json::{Value, json};

use super::*;
use crate::artifacts::DirectoryStore;
use crate::backups::Backups;
use crate::contract::operations::{Check, Verdict, Verification};
use crate::contract::systemd::{Start, UnitOrder};
use crate::contract::types::{ComponentVersion, Finding as ContractFinding, Invocation, Problem, Report};
use crate::contract::{Failure, FailureKind, Place, RetryAdvice};
use crate::expression::Scope;
use crate::gate::Attempt;
use crate::planner::plan;
use crate::plugin::GuestError;
use crate::testing::{Bench, Console, inventory};

/// What a scripted component does on a host (or `*`), by job; the default is to report a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Change,
    Nothing,
    Fail,
    FailOnce,
    Refuse,
    Decline,
    Unreachable,
    Trap,
    Hang,
    Unhealthy,
    /// From the second attempt on.
    UnhealthyAgain,
    /// Starts a unit; the first attempt fails then, and the others find nothing to do.
    StartThenFail,
    /// Starts a unit, which takes a while.
    Start,
    /// The same and another one, of which nobody knows how it ended.
    Lose,
    /// Asks the run to stop while others are at work, and stops.
    Cancel,
}

/// How long starting a unit takes.
const STARTING: Duration = Duration::from_millis(120);

type Calls = Arc<Mutex<Vec<String>>>;

/// How many calls run at this moment, and the most that ever did.
#[derive(Debug, Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Scripted {
    manifest: Arc<Manifest>,
    digest: Digest,
    acts: BTreeMap<String, Act>,
    calls: Calls,
    busy: Arc<Busy>,
    /// Versions by host; none: every operation but verify tells version 1 of the runner's own machine.
    installed: Option<Installed>,
    gate: Arc<Gate>,
}

/// Versions by component and host, where they are not 1.
type Installed = Arc<Mutex<BTreeMap<(String, String), String>>>;

impl Scripted {
    fn versions(&self, job: &Job, invocation: &Invocation) -> Vec<ComponentVersion> {
        let version =
            |version: &str, place| ComponentVersion { part: "p".to_owned(), version: version.to_owned(), place };
        let Some(installed) = &self.installed else {
            return if let Job::Verify(_) = job { Vec::new() } else { vec![version("1", Place::Runner)] };
        };
        let mut installed = installed.lock().unwrap();
        let hosts = invocation.target.hosts.iter().map(|host| {
            let key = (self.manifest.name.clone(), host.name.clone());
            let parameters: Value = serde_json::from_str(&invocation.parameters).unwrap();
            let held = invocation.backup.iter().flat_map(|set| &set.versions);
            match job {
                Job::Update => {
                    installed.insert(key.clone(), parameters["version"].as_str().unwrap_or("2").to_owned());
                }
                Job::Backout => {
                    let held = held.filter(|held| matches!(&held.place, Place::Host(name) if *name == host.name));
                    installed.extend(held.map(|held| (key.clone(), held.version.clone())));
                }
                _ => {}
            }
            let found = installed.get(&key).map_or("1", String::as_str);
            version(found, Place::Host(host.name.clone()))
        });
        hosts.collect()
    }

    /// Starts units of a host in one call.
    async fn start(&self, attempt: &Arc<Attempt>, hosts: &[&str], units: &[&str]) -> Result<(), GuestError> {
        let order = |unit: &&str| UnitOrder { host: hosts.concat(), unit: (*unit).to_owned(), time_out: 1_000 };
        let answers = attempt.call::<Start>(units.iter().map(order).collect()).await?;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        Ok(())
    }
}

#[async_trait::async_trait]
impl Component for Scripted {
    fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn digest(&self) -> &Digest {
        &self.digest
    }

    async fn run(&self, attempt: Arc<Attempt>, job: &Job, invocation: &Invocation) -> Result<Done, GuestError> {
        let hosts: Vec<&str> = invocation.target.hosts.iter().map(|host| host.name.as_str()).collect();
        let name = format!(
            "{}{} {}",
            job.operation(),
            job.mode().map(|mode| format!("-{mode}")).unwrap_or_default(),
            hosts.join(",")
        );
        self.calls.lock().unwrap().push(format!("{} {name}", self.manifest.name));
        let now = self.busy.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.busy.most.fetch_max(now, Ordering::Relaxed);
        // Whoever else may run begins now.
        tokio::task::yield_now().await;
        self.busy.now.fetch_sub(1, Ordering::Relaxed);
        let act = self.acts.get(&name).copied().unwrap_or(Act::Change);
        let failed = |kind: FailureKind, subject: &str| {
            let failure = Failure {
                kind,
                retry: RetryAdvice::Later,
                subject: subject.to_owned(),
                message: format!("{subject} is bad"),
            };
            Ok(Done::Report(Err(Problem::Failed(failure))))
        };
        let verdict = match act {
            Act::Unhealthy => Verdict::Fail,
            Act::UnhealthyAgain if invocation.attempt > 1 => Verdict::Fail,
            Act::Fail | Act::FailOnce if invocation.attempt == 1 || act == Act::Fail => {
                return failed(FailureKind::NotFound, "thing");
            }
            Act::Unreachable => {
                return failed(FailureKind::Unreachable, hosts.first().unwrap_or(&"?"));
            }
            Act::Trap => return Err(GuestError::Trapped("unreachable executed".to_owned())),
            Act::Hang => std::future::pending().await,
            Act::Refuse => {
                let finding = ContractFinding {
                    code: "no".to_owned(),
                    subject: "x".to_owned(),
                    message: "it says no".to_owned(),
                };
                return Ok(Done::Report(Err(Problem::Refused(vec![finding]))));
            }
            Act::Decline => return Ok(Done::Report(Err(Problem::Declined("stopping x was declined".to_owned())))),
            Act::StartThenFail if invocation.attempt == 1 => {
                self.start(&attempt, &hosts, &["x.service"]).await?;
                return failed(FailureKind::NotFound, "thing");
            }
            Act::Start => {
                self.start(&attempt, &hosts, &["x.service"]).await?;
                Verdict::Pass
            }
            Act::Lose => {
                self.start(&attempt, &hosts, &["x.service", "lost.service"]).await?;
                Verdict::Pass
            }
            Act::Cancel => {
                tokio::time::sleep(STARTING / 4).await;
                self.gate.cancel();
                return Err(attempt.check_stop().unwrap_err().into());
            }
            Act::Change | Act::Nothing | Act::Fail | Act::FailOnce | Act::UnhealthyAgain | Act::StartThenFail => {
                Verdict::Pass
            }
        };
        if let Job::Verify(_) = job {
            let check = Check {
                name: "works".to_owned(),
                place: Place::Runner,
                expected: "yes".to_owned(),
                observed: "no".to_owned(),
                verdict,
            };
            return Ok(Done::Verification(Ok(Verification {
                checks: vec![check],
                versions: self.versions(job, invocation),
            })));
        }
        Ok(Done::Report(Ok(Report {
            changed: !matches!(act, Act::Nothing | Act::StartThenFail),
            summary: String::new(),
            outputs: json!({"did": job.operation()}).to_string(),
            artifacts: Vec::new(),
            versions: self.versions(job, invocation),
            warnings: Vec::new(),
        })))
    }
}

fn manifest(name: &str) -> Arc<Manifest> {
    let free = json!({"type": "object"});
    let operation = |scope: &str| json!({"scope": scope, "parameters": free});
    let backup = operation(if name == "h" { "host" } else { "cluster" });
    let mut verify = operation(if name == "h" { "host" } else { "cluster" });
    verify["any-hosts"] = json!(name == "p");
    Arc::new(
        serde_json::from_value(json!({
            "name": name, "version": "1.0.0", "api": "0.1.0", "description": "d",
            "operations": {
                "backup": backup, "update": operation("host"), "backout": operation("host"),
                "verify": verify, "maintenance": operation("host")
            },
            "capabilities": [{"capability": "systemd.start", "units": ["*"], "reason": "start units"}]
        }))
        .unwrap(),
    )
}

struct Outcome {
    summary: RunSummary,
    calls: Vec<String>,
    /// The most calls at the same time.
    at_once: usize,
    plan: Plan,
    bench: Bench,
}

impl Outcome {
    fn decisions(&self) -> Vec<Decision> {
        let decision = |line: runner_types::Line| match line.entry {
            Entry::Decision(decision) => Some(decision.what),
            _ => None,
        };
        self.bench.lines().into_iter().filter_map(decision).collect()
    }
}

async fn run(workflow: Value, acts: &[(&str, Act)]) -> Outcome {
    run_with(workflow, acts, Console { present: true, yes: true }, false).await
}

/// Runs a workflow over the hosts a, b and c with the scripted components `p`, whose verify judges any hosts, `q`, whose
/// verify needs all of them, and `h`, whose verify works host by host.
async fn run_with(workflow: Value, acts: &[(&str, Act)], console: Console, cancel: bool) -> Outcome {
    run_over(inventory().resolve(), &[("w.json", workflow)], acts, console, cancel).await
}

/// The same over another inventory of these hosts; the first of the workflows is run, with the others as its parts.
async fn run_over(
    inventory: ResolvedInventory,
    workflows: &[(&str, Value)],
    acts: &[(&str, Act)],
    console: Console,
    cancel: bool,
) -> Outcome {
    let bench = lab(console);
    if cancel {
        bench.gate.cancel();
    }
    Home::new(None).run(bench, inventory, workflows, acts).await
}

/// A bench on which the components may start units.
fn lab(console: Console) -> Bench {
    let grant = |plugin: &str| json!({"plugin": plugin, "allow": "systemd.start", "units": ["*"]});
    let bench = Bench::new(json!([grant("p"), grant("q"), grant("h")]), console);
    *bench.script.takes.lock().unwrap() = STARTING;
    bench.script.doubtful.lock().unwrap().push("lost.service".to_owned());
    bench
}

/// What outlasts a run.
struct Home {
    directory: tempfile::TempDir,
    installed: Option<Installed>,
    runs: AtomicUsize,
}

impl Home {
    fn new(installed: Option<Installed>) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), installed, runs: AtomicUsize::new(0) }
    }

    fn backups(&self) -> Backups {
        Backups::open(&self.directory.path().join("sets")).unwrap()
    }

    async fn run(
        &self,
        bench: Bench,
        inventory: ResolvedInventory,
        workflows: &[(&str, Value)],
        acts: &[(&str, Act)],
    ) -> Outcome {
        let loaded = |(name, workflow): &(&str, Value)| {
            let file = runner_types::load(&workflow.to_string(), name).unwrap_or_else(|error| panic!("{error}"));
            ((*name).to_owned(), file)
        };
        let names = ["p", "q", "h"];
        let world = World {
            inventory,
            clusters: Vec::new(),
            components: IndexMap::new(),
            plugins: names.iter().map(|name| ((*name).to_owned(), (manifest(name), Digest::zero()))).collect(),
            workflows: workflows.iter().map(loaded).collect(),
            scope: Scope::default(),
        };
        let inputs = world.workflows["w.json"].value().input_values(&[]).unwrap_or_else(|error| panic!("{error}"));
        let plan = plan(&world, "w.json", &inputs).unwrap_or_else(|error| panic!("{error}"));
        let calls = Calls::default();
        let busy = Arc::new(Busy::default());
        let component = |name: &str| -> Arc<dyn Component> {
            let mine = acts.iter().filter_map(|(key, act)| Some((key.strip_prefix(name)?.trim().to_owned(), *act)));
            Arc::new(Scripted {
                manifest: manifest(name),
                digest: Digest::zero(),
                acts: mine.collect(),
                calls: Arc::clone(&calls),
                busy: Arc::clone(&busy),
                installed: self.installed.clone(),
                gate: Arc::clone(&bench.gate),
            })
        };
        let release = |version: &str| {
            let versions = json!({"versions": {"p": version}});
            json!({"p": versions, "q": versions})
        };
        let parts = Parts {
            world: Arc::new(world),
            components: names.iter().map(|name| ((*name).to_owned(), component(name))).collect(),
            gate: Arc::clone(&bench.gate),
            backups: self.backups(),
            store: Arc::new(DirectoryStore::open(&self.directory.path().join("store")).unwrap()),
            releases: serde_json::from_value(
                json!({"releases": {"1.0": release("1"), "2.0": release("2"), "3.0": release("3")}}),
            )
            .unwrap(),
            platform: "p".to_owned(),
            run: format!("r{}", self.runs.fetch_add(1, Ordering::Relaxed)),
            stamp: Timestamp::from(std::time::SystemTime::now()),
        };
        let summary = execute(parts, &plan).await.unwrap();
        let calls = calls.lock().unwrap().clone();
        Outcome { summary, calls, at_once: busy.most.load(Ordering::Relaxed), plan, bench }
    }
}

fn verify(name: &str, extra: Value) -> Value {
    let mut step = json!({"name": name, "component": "p", "operation": "verify"});
    step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    step
}

fn workflow(steps: Value) -> Value {
    json!({"name": "w", "steps": steps})
}

#[tokio::test]
async fn steps_follow_each_other_and_see_what_came_before() {
    let steps = json!([
        {"name": "one", "component": "p", "operation": "verify"},
        {"name": "two", "component": "q", "operation": "verify", "when": "steps.one.outcome == 'ok'"},
        {"name": "three", "component": "q", "operation": "verify", "when": "steps.two.outcome == 'failed'"},
    ]);
    let done = run(workflow(steps), &[]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded);
    assert_eq!(done.calls, ["p verify-health a,b,c", "q verify-health a,b,c"]);
    assert!(done.decisions().iter().any(|what| matches!(what, Decision::Skipped { .. })));
    assert_eq!(done.summary.recap.0["a"].ok, 2);
}

#[tokio::test]
async fn so_many_hosts_are_worked_on_at_once_as_forks_says() {
    for (extra, at_once) in [(json!({"forks": 1}), 1), (json!({"forks": 2}), 2), (json!({}), 3)] {
        let mut step = json!({"name": "one", "component": "h", "operation": "verify"});
        step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        let done = run(workflow(json!([step])), &[]).await;
        assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary);
        assert_eq!((done.calls.len(), done.at_once), (3, at_once), "{extra}");
    }
}

#[tokio::test]
async fn a_failure_stops_the_run_or_only_what_needs_it() {
    let steps = json!([
        verify("one", json!({"on-failure": "continue", "needs": []})),
        verify("two", json!({"needs": ["one"]})),
        {"name": "three", "component": "q", "operation": "verify", "needs": []},
    ]);
    let done = run(workflow(steps), &[("p verify-health a,b,c", Act::Unhealthy)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!(done.calls, ["p verify-health a,b,c", "q verify-health a,b,c"]);

    let steps = json!([verify("one", json!({})), verify("two", json!({}))]);
    let done = run(workflow(steps), &[("p verify-health a,b,c", Act::Unhealthy)]).await;
    assert_eq!(done.calls.len(), 1);
    assert!(done.summary.message.unwrap().contains("expected yes, found no"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let retry = json!({"retry": {"attempts": 3, "delay": "1ms"}});
    let host = |act| run_steps(json!([maintenance_free("one", retry.clone())]), vec![("p backout a", act)]);
    let once = host(Act::FailOnce).await;
    assert_eq!(once.summary.outcome, RunOutcome::Refused, "there is nothing to back out");
    let steps = json!([verify("one", retry.clone())]);
    let done = run(workflow(steps.clone()), &[("p verify-health a,b,c", Act::FailOnce)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Succeeded);
    assert_eq!(done.calls.len(), 2);
    let done = run(workflow(steps.clone()), &[("p verify-health a,b,c", Act::Fail)]).await;
    assert_eq!((done.summary.outcome, done.calls.len()), (RunOutcome::Failed, 3));
    let done = run(workflow(steps), &[("p verify-health a,b,c", Act::Refuse)]).await;
    assert_eq!((done.summary.outcome, done.calls.len()), (RunOutcome::Refused, 1));
}

fn maintenance_free(name: &str, extra: Value) -> Value {
    let mut step = json!({"name": name, "component": "p", "operation": "backout", "targets": "a"});
    step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    step
}

async fn run_steps(steps: Value, acts: Vec<(&str, Act)>) -> Outcome {
    run(workflow(steps), &acts).await
}

#[tokio::test]
async fn a_guest_that_breaks_down_or_hangs_fails_its_step_and_the_rest_goes_on() {
    let steps = json!([
        verify("one", json!({"on-failure": "continue", "timeout": "20ms"})),
        {"name": "two", "component": "q", "operation": "verify", "needs": []},
    ]);
    for act in [Act::Trap, Act::Hang] {
        let done = run(workflow(steps.clone()), &[("p verify-health a,b,c", act)]).await;
        assert_eq!(done.summary.outcome, RunOutcome::Failed);
        assert!(done.calls.contains(&"q verify-health a,b,c".to_owned()), "{:?}", done.calls);
        let message = &done.summary.failures[0].findings[0].message;
        assert!(message.contains("broke down") || message.contains("longer than 20ms"), "{message}");
    }
}

fn rolling(extra: Value) -> Value {
    let mut block = json!({
        "over": "all",
        "steps": [{"name": "check", "component": "h", "operation": "verify"}]
    });
    block.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    workflow(json!([{"name": "nodes", "rolling": block}]))
}

fn confirmed() -> Value {
    json!({
        "name": "w",
        "inputs": {"yes": {"type": "boolean", "default": false}},
        "confirm": {"message": "Go?", "skip-when": {"input": "yes", "equals": true}},
        "preconditions": [{"name": "healthy", "component": "p"}],
        "steps": [{"name": "one", "component": "q", "operation": "verify"}]
    })
}

#[tokio::test]
async fn no_stops_with_nothing_begun() {
    let done = run_with(confirmed(), &[], Console { present: true, yes: false }, false).await;
    assert_eq!(done.summary.outcome, RunOutcome::Declined);
    assert_eq!(done.calls, ["p verify-health a,b,c"], "only the precondition was looked at");
}

#[tokio::test]
async fn nobody_at_the_terminal_stops_too() {
    let done = run_with(confirmed(), &[], Console { present: false, yes: true }, false).await;
    assert_eq!(done.summary.outcome, RunOutcome::Unanswerable);
    assert_eq!(done.calls.len(), 1);
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_refuses_before_the_question() {
    let done = run(confirmed(), &[("p verify-health a,b,c", Act::Unhealthy)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Refused);
    assert_eq!(done.calls.len(), 1);
    assert!(!done.decisions().iter().any(|what| matches!(what, Decision::Answered { .. })));
}

#[tokio::test]
async fn an_update_without_a_backup_is_refused() {
    let steps = json!([{"name": "one", "component": "p", "operation": "update"}]);
    let done = run(workflow(steps), &[]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Refused);
    assert!(done.calls.is_empty());
    assert!(done.summary.message.unwrap().contains("run a backup first"));
}

#[tokio::test]
async fn what_the_operator_declines_in_a_plugin_is_no_refusal() {
    let retry = json!({"retry": {"attempts": 3, "delay": "1ms"}});
    let done = run(workflow(json!([verify("one", retry)])), &[("p verify-health a,b,c", Act::Decline)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Declined);
    assert_eq!(done.summary.message.as_deref(), Some("stopping x was declined"));
    assert_eq!(done.calls.len(), 1, "nobody is asked again by itself");
    assert_eq!(done.summary.recap.0["a"].failed, 0, "a host is not to blame for a no");
}

#[tokio::test]
async fn a_cancelled_run_begins_nothing_and_says_so() {
    let steps = json!([verify("one", json!({}))]);
    let done = run_with(workflow(steps), &[], Console { present: true, yes: true }, true).await;
    assert_eq!(done.summary.outcome, RunOutcome::Cancelled);
    assert!(done.calls.is_empty());
}

#[tokio::test]
async fn only_the_silent_host_is_unreachable() {
    let block = json!({"batch": 3, "max-failures": 3});
    let done = run(rolling(block), &[("h verify-health b", Act::Unreachable)]).await;
    let recap = &done.summary.recap.0;
    assert_eq!((recap["a"].unreachable, recap["b"].unreachable, recap["c"].unreachable), (0, 1, 0));
    assert_eq!((recap["a"].ok, recap["c"].ok), (1, 1));
}

#[tokio::test]
async fn every_attempt_that_began_has_its_end() {
    let done = run(rolling(json!({"maintenance": ["p"]})), &[("h verify-health b", Act::Trap)]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (mut begun, mut ended) = (0, 0);
    for line in done.bench.lines() {
        match line.entry {
            Entry::StepBegun(_) => begun += 1,
            Entry::StepEnded(_) => ended += 1,
            _ => {}
        }
    }
    assert!(begun > 3);
    assert_eq!(begun, ended);
    assert!(matches!(done.bench.lines().last().unwrap().entry, Entry::RunEnded(_)));
}
