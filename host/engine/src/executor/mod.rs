//! Carrying out a plan.
//!
//! The executor obeys the plan: it begins what may begin, keeps what it decides in the journal, and leaves effects to
//! the plugins and their gate.

mod component;
mod ended;
mod preconditions;
mod record;
mod rests;
mod rolling;
mod sets;
mod steps;
#[cfg(test)]
mod tests;
mod unit;
mod unwind;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use runner_types::{Entry, EventKind, Finding, Recap, Releases, RunEnded, RunOutcome, StepOutcome, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

pub use component::{Component, Done, Job};
pub use record::{HostState, Reported, StepFailure};
use rolling::Question;
use steps::StepEnd;

use crate::artifacts::Store;
use crate::backups::{BackupError, Backups};
use crate::expression::Scope;
use crate::gate::{Gate, Reply, Stop, Wanted};
use crate::journal::{Durability, JournalError};
use crate::planner::{Plan, World};

/// What a run is carried out with.
pub struct Parts {
    /// What was planned on.
    pub world: Arc<World>,
    /// Plugins by component.
    pub components: BTreeMap<String, Arc<dyn Component>>,
    /// The path of effects.
    pub gate: Arc<Gate>,
    /// Backup sets.
    pub backups: Backups,
    /// Their data.
    pub store: Arc<dyn Store>,
    /// Releases of the platform.
    pub releases: Releases,
    /// Name of the platform.
    pub platform: String,
    /// Name of the run.
    pub run: String,
    /// The moment that stands for the run.
    pub stamp: Timestamp,
}

/// How a run ended, with everything that an operator wants to know then.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunSummary {
    /// Name of the run.
    pub run: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Name of the workflow.
    pub workflow: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Counts per host.
    pub recap: Recap,
    /// Why it did not end well.
    pub message: Option<String>,
    /// Everything that did not end well.
    pub failures: Vec<StepFailure>,
    /// What is known of each host.
    pub hosts: IndexMap<String, HostState>,
    /// What should be looked at.
    pub warnings: Vec<Finding>,
    /// What the operations reported.
    pub reports: Vec<Reported>,
}

/// Carries out one plan.
pub(crate) struct Executor {
    world: Arc<World>,
    components: BTreeMap<String, Arc<dyn Component>>,
    gate: Arc<Gate>,
    backups: Backups,
    store: Arc<dyn Store>,
    releases: Releases,
    platform: String,
    run: String,
    stamp: Timestamp,
    record: Mutex<record::Record>,
    sets: tokio::sync::Mutex<sets::Sets>,
    terminal: tokio::sync::Mutex<()>,
    /// What sub-workflows are told beside their own inputs and vars.
    found: Mutex<Found>,
}

/// Carries out a plan to its end, whatever that is.
///
/// # Errors
/// When the journal cannot even say how the run ended.
pub async fn execute(parts: Parts, plan: &Plan) -> Result<RunSummary, JournalError> {
    let sets = sets::Sets::of(plan, &parts.world);
    let executor = Arc::new(Executor {
        world: parts.world,
        components: parts.components,
        gate: parts.gate,
        backups: parts.backups,
        store: parts.store,
        releases: parts.releases,
        platform: parts.platform,
        run: parts.run,
        stamp: parts.stamp,
        record: Mutex::default(),
        sets,
        terminal: tokio::sync::Mutex::default(),
        found: Mutex::default(),
    });
    let mut end = executor.whole(plan).await;
    executor.gate.settled().await;
    if let Ending::Step(step) = &end
        && step.unwind
        && step.stop.is_none()
        && executor.gate.doubt(None).is_none()
    {
        end = Ending::Unwound(executor.unwind(plan).await);
        executor.gate.settled().await;
    }
    executor.conclude(plan, end).await
}

impl Executor {
    fn record(&self) -> MutexGuard<'_, record::Record> {
        // Counts stay usable whatever panicked beside them.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Preconditions, backup sets, the question, the steps.
    async fn whole(self: &Arc<Self>, plan: &Plan) -> Ending {
        let mut scope = match self.scope(plan).await {
            Ok(scope) => scope,
            Err(error) => {
                return Ending::Step(self.fail("", StepOutcome::Failed, "backup-set", error.to_string()));
            }
        };
        let mut components = Map::new();
        if let Some(end) = self.preconditions(plan, "", &mut scope, &mut components).await {
            return Ending::Step(end);
        }
        if let Some(end) = self.choose_sets().await.into_iter().next() {
            return Ending::Step(end);
        }
        // The sets of updates have just been chosen.
        match self.backups_value().await {
            Ok(backups) => scope.set("backups", &backups),
            Err(error) => {
                return Ending::Step(self.fail("", StepOutcome::Failed, "backup-set", error.to_string()));
            }
        }
        *self.found() = Found { scope: scope.clone(), components };
        match self.confirmed(plan, "", &scope).await {
            Ok(true) => Ending::Step(self.list(plan, &plan.steps, &scope).await),
            Ok(false) => Ending::Declined,
            Err(end) => Ending::Step(end),
        }
    }

    /// Preconditions, the question and the steps of a sub-workflow. Its backup sets are chosen with the whole's.
    async fn part(self: &Arc<Self>, plan: &Plan, path: &str) -> StepEnd {
        let (mut scope, mut components) = {
            let found = self.found();
            (plan.scope.over(&found.scope), found.components.clone())
        };
        if let Some(end) = self.preconditions(plan, path, &mut scope, &mut components).await {
            return end;
        }
        match self.confirmed(plan, path, &scope).await {
            Ok(true) => self.list(plan, &plan.steps, &scope).await,
            Ok(false) => {
                let message = format!("the operator answered no; nothing of {} was done", plan.workflow);
                self.fail(path, StepOutcome::Declined, "declined", message)
            }
            Err(end) => end,
        }
    }

    /// Asks whether to begin, where the plan wants that.
    async fn confirmed(&self, plan: &Plan, path: &str, scope: &Scope) -> Result<bool, StepEnd> {
        let Some(confirm) = &plan.confirm else {
            return Ok(true);
        };
        let wanted = Wanted::Confirm { destroys: String::new() };
        let question = Question { key: "confirm", prompt: confirm, wanted, why: "" };
        Ok(matches!(self.asked(plan, path, scope, question).await?, None | Some(Reply::Yes)))
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn scope(&self, plan: &Plan) -> Result<Scope, BackupError> {
        let mut scope = plan.scope.clone();
        scope.set("backups", &self.backups_value().await?);
        scope.set("components", &Value::Object(Map::new()));
        scope.set("steps", &Value::Object(Map::new()));
        Ok(scope)
    }

    fn only_cluster(&self) -> Option<String> {
        match self.world.clusters.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    fn hosts_of_component(&self, component: &str) -> Vec<String> {
        rests::hosts_of_component(&self.world, component)
    }

    async fn conclude(&self, plan: &Plan, end: Ending) -> Result<RunSummary, JournalError> {
        let doubt = self.gate.doubt(None).map(|doubt| doubt.to_string());
        let (outcome, mut message) = match (&end, doubt) {
            (Ending::Unwound(RunOutcome::Stuck), doubt) => (RunOutcome::Stuck, doubt),
            // However the rest ended: nothing leads on before it is known what became of the effect.
            (_, Some(doubt)) => (RunOutcome::InDoubt, Some(doubt)),
            (Ending::Declined, None) => {
                (RunOutcome::Declined, Some("the operator answered no; nothing was changed".to_owned()))
            }
            (Ending::Step(end), None) => outcome_of(end),
            (Ending::Unwound(outcome), None) => (*outcome, None),
        };
        if let Err(error) = self.settle_sets(plan, outcome).await {
            message = Some(error.to_string());
        }
        let (recap, failures, hosts, warnings, reports) = {
            let mut record = self.record();
            let recap = record.recap(self.world.inventory.hosts.keys());
            (
                recap,
                std::mem::take(&mut record.failures),
                std::mem::take(&mut record.hosts),
                std::mem::take(&mut record.warnings),
                std::mem::take(&mut record.reports),
            )
        };
        if message.is_none() && outcome != RunOutcome::Succeeded {
            message =
                failures.first().and_then(|failure| failure.findings.first()).map(|finding| finding.message.clone());
        }
        let ended = RunEnded { outcome, recap: recap.clone(), message: message.clone() };
        self.gate.journal.append(Entry::RunEnded(ended), Durability::Flushed).await?;
        self.gate.observer.observe(EventKind::RunEnded { outcome, recap: recap.clone(), message: message.clone() });
        Ok(RunSummary {
            run: self.run.clone(),
            directory: self.gate.journal.directory().to_owned(),
            workflow: plan.workflow.clone(),
            outcome,
            recap,
            message,
            failures,
            hosts,
            warnings,
            reports,
        })
    }
}

/// What the outermost workflow began with.
#[derive(Default)]
struct Found {
    scope: Scope,
    /// `components`, as its preconditions found them.
    components: Map<String, Value>,
}

/// How the whole came to its end.
enum Ending {
    Declined,
    Step(StepEnd),
    /// What was changed was backed out, or that failed too.
    Unwound(RunOutcome),
}

fn outcome_of(end: &StepEnd) -> (RunOutcome, Option<String>) {
    if let Some(stop) = &end.stop {
        let outcome = match stop {
            Stop::Cancelled => RunOutcome::Cancelled,
            Stop::InDoubt(_) => RunOutcome::InDoubt,
            Stop::Unanswerable { .. } => RunOutcome::Unanswerable,
            Stop::Journal(_) => RunOutcome::Failed,
        };
        let message = match stop {
            Stop::Unanswerable { option: Some(option), .. } => format!("{stop}; {option} answers it in advance"),
            _ => stop.to_string(),
        };
        return (outcome, Some(message));
    }
    let outcome = match end.outcome {
        StepOutcome::Ok | StepOutcome::Changed | StepOutcome::Skipped => RunOutcome::Succeeded,
        StepOutcome::Refused => RunOutcome::Refused,
        StepOutcome::Declined => RunOutcome::Declined,
        StepOutcome::Denied => RunOutcome::Denied,
        StepOutcome::Unreachable => RunOutcome::Unreachable,
        StepOutcome::Failed | StepOutcome::TimedOut => RunOutcome::Failed,
        StepOutcome::Cancelled => RunOutcome::Cancelled,
        StepOutcome::InDoubt => RunOutcome::InDoubt,
    };
    (outcome, None)
}
