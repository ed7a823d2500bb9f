//! Lists of steps: what may begin, what follows a failure.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use runner_types::{Decision, Finding, OnFailure, Operation, Scope as TargetScope, StepOutcome, Target};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::ended::Ended;
use super::unit::Unit;
use super::{Executor, Job, StepFailure};
use crate::expression::Scope;
use crate::gate::Stop;
use crate::planner::{Plan, PlannedAction, PlannedComponent, PlannedStep, parameters};

/// Hosts that a step works on at the same time unless it says otherwise.
pub(super) const FORKS: u32 = 16;

/// How a step, a list of steps or a rolling block ended.
#[derive(Debug)]
pub(super) struct StepEnd {
    pub(super) outcome: StepOutcome,
    /// What expressions see of it.
    pub(super) outputs: Value,
    pub(super) stop: Option<Stop>,
    /// It changed something, however it ended.
    pub(super) changed: bool,
    /// What the run changed is to be backed out.
    pub(super) unwind: bool,
}

impl StepEnd {
    pub(super) fn of(outcome: StepOutcome) -> Self {
        Self { outcome, outputs: Value::Null, stop: None, changed: outcome == StepOutcome::Changed, unwind: false }
    }

    pub(super) fn stopped(stop: Stop) -> Self {
        Self::of_unit(Ended::stopped(stop))
    }

    pub(super) fn of_unit(ended: Ended) -> Self {
        let outputs = ended.report.map_or(Value::Null, |report| Value::Object(report.outputs));
        Self { outcome: ended.outcome, outputs, stop: ended.stop, changed: ended.changed, unwind: false }
    }

    /// Takes in how a part of it ended: the worse outcome, the graver stop, what it changed.
    pub(super) fn join(&mut self, part: Self) {
        self.outcome = worse(self.outcome, part.outcome);
        self.stop = Stop::graver(self.stop.take(), part.stop);
        self.changed |= part.changed;
        self.unwind |= part.unwind;
    }

    fn value(&self) -> Value {
        json!({
            "outcome": self.outcome,
            "changed": self.changed,
            "outputs": self.outputs,
        })
    }
}

/// The worse of two outcomes: what is bad wins over what is good, changed over unchanged, the first over the later.
pub(super) fn worse(one: StepOutcome, other: StepOutcome) -> StepOutcome {
    let rank = |outcome: StepOutcome| match outcome {
        StepOutcome::Skipped => 0,
        StepOutcome::Ok => 1,
        StepOutcome::Changed => 2,
        StepOutcome::Cancelled => 3,
        StepOutcome::Declined => 4,
        StepOutcome::Refused => 5,
        StepOutcome::Denied => 6,
        StepOutcome::Unreachable => 7,
        StepOutcome::TimedOut | StepOutcome::Failed => 8,
        StepOutcome::InDoubt => 9,
    };
    if rank(other) > rank(one) { other } else { one }
}

impl Executor {
    /// Carries out a list of steps.
    pub(super) fn list<'a>(
        self: &'a Arc<Self>,
        plan: &'a Plan,
        steps: &'a [PlannedStep],
        scope: &'a Scope,
    ) -> BoxFuture<'a, StepEnd> {
        Box::pin(async move {
            let mut list = List::default();
            let mut waiting: Vec<&PlannedStep> = steps.iter().collect();
            let mut running = FuturesUnordered::new();
            loop {
                let mut later = Vec::with_capacity(waiting.len());
                for step in waiting {
                    match list.may_begin(step) {
                        Readiness::Wait => later.push(step),
                        Readiness::Never => {}
                        Readiness::Now => {
                            let scope = scope.with("steps", &Value::Object(list.seen.clone()));
                            running.push(async move { (step, self.step(plan, step, &scope).await) });
                        }
                    }
                }
                waiting = later;
                let Some((step, end)) = running.next().await else {
                    break;
                };
                self.record().steps.insert(step.path.clone(), end.outcome);
                list.ended(step, end);
            }
            list.end
        })
    }

    async fn step(self: &Arc<Self>, plan: &Plan, step: &PlannedStep, scope: &Scope) -> StepEnd {
        if self.gate.is_cancelled() {
            return StepEnd::stopped(Stop::Cancelled);
        }
        match scope.holds(step.when.as_ref()) {
            Ok(true) => {}
            Ok(false) => {
                let condition = step.when.as_ref().map(ToString::to_string).unwrap_or_default();
                return self.skip(&step.path, hosts_of(step), format!("`{condition}` is false")).await;
            }
            Err(error) => return self.wrong(&step.path, "condition", error.to_string()),
        }
        match &step.action {
            PlannedAction::Component(component) => self.component(&step.path, component, scope).await,
            PlannedAction::Rolling(rolling) => self.rolling(plan, &step.path, rolling, scope).await,
            PlannedAction::Workflow(inner) => self.part(inner, &step.path).await,
        }
    }

    pub(super) async fn skip(&self, path: &str, hosts: &[String], reason: String) -> StepEnd {
        if let Err(stop) = self.decide(Some(path), None, Decision::Skipped { reason }).await {
            return StepEnd::stopped(stop);
        }
        self.record().count(path, hosts, &Ended::nothing(StepOutcome::Skipped));
        StepEnd::of(StepOutcome::Skipped)
    }

    /// A step whose own text is wrong, seen only now.
    pub(super) fn wrong(&self, path: &str, code: &str, message: String) -> StepEnd {
        self.fail(path, StepOutcome::Failed, code, message)
    }

    /// A step that failed before or beside its plugin.
    pub(super) fn fail(&self, path: &str, outcome: StepOutcome, code: &str, message: String) -> StepEnd {
        let finding = Finding { code: code.to_owned(), subject: path.to_owned(), message };
        self.record().failures.push(StepFailure {
            step: path.to_owned(),
            target: None,
            outcome,
            findings: vec![finding],
        });
        StepEnd::of(outcome)
    }

    /// One operation of a component over its hosts.
    pub(super) async fn component(self: &Arc<Self>, path: &str, step: &PlannedComponent, scope: &Scope) -> StepEnd {
        let unit = match self.prepare(path, step, scope).await {
            Ok(unit) => unit,
            Err(end) => return end,
        };
        match step.scope {
            TargetScope::Cluster => {
                let ended = self.unit(&unit).await;
                if step.operation == Operation::Backup {
                    return self.keep_backup(path, step, vec![(unit, ended)]).await;
                }
                StepEnd::of_unit(ended)
            }
            TargetScope::Host => self.each_host(path, step, unit).await,
        }
    }

    /// The unit of a step, before it is split by host.
    async fn prepare(self: &Arc<Self>, path: &str, step: &PlannedComponent, scope: &Scope) -> Result<Unit, StepEnd> {
        let with = scope.resolve_all(&step.with).map_err(|error| self.wrong(path, "parameters", error.to_string()))?;
        let parameters = self.parameters_of(&step.component, step.operation, &with, path)?;
        let backup = match step.operation {
            Operation::Update => Some(self.begin_update(path, step).await?),
            Operation::Backout => Some(self.backout_set(path, &step.component).await?),
            Operation::Backup | Operation::Verify | Operation::Maintenance => None,
        };
        Ok(Unit {
            step: path.to_owned(),
            component: step.component.clone(),
            job: match step.operation {
                Operation::Backup => Job::Backup,
                Operation::Update => Job::Update,
                Operation::Backout => Job::Backout,
                Operation::Verify => Job::Verify(step.depth),
                Operation::Maintenance => Job::Enter,
            },
            target: step.cluster.clone().map_or(Target::Hosts, Target::Cluster),
            hosts: step.hosts.clone(),
            cluster: step.cluster.clone(),
            parameters,
            backup,
            retry: step.retry.clone(),
            timeout: step.timeout,
            informs: false,
        })
    }

    pub(super) fn parameters_of(
        &self,
        component: &str,
        operation: Operation,
        with: &Map<String, Value>,
        path: &str,
    ) -> Result<Value, StepEnd> {
        let Some(found) = self.components.get(component) else {
            return Err(self.wrong(path, "no-plugin", format!("there is no plugin for {component}")));
        };
        parameters(found.manifest(), operation, self.world.components.get(component), with)
            .map_err(|error| self.wrong(path, "parameters", error.to_string()))
    }

    /// The same unit for each host, so many at a time, each its own instance. No host waits for another's failure.
    async fn each_host(self: &Arc<Self>, path: &str, step: &PlannedComponent, unit: Unit) -> StepEnd {
        let room = Arc::new(Semaphore::new(step.forks.unwrap_or(FORKS).max(1) as usize));
        let mut tasks = JoinSet::new();
        for (number, host) in unit.hosts.iter().enumerate() {
            let unit = Unit { target: Target::Host(host.clone()), hosts: vec![host.clone()], ..unit.clone() };
            let (executor, room) = (Arc::clone(self), Arc::clone(&room));
            tasks.spawn(async move {
                // The semaphore is never closed.
                let _permit = room.acquire_owned().await;
                if executor.gate.is_cancelled() {
                    return (number, unit, Ended::stopped(Stop::Cancelled));
                }
                let ended = executor.unit(&unit).await;
                (number, unit, ended)
            });
        }
        let mut done = BTreeMap::new();
        let mut end = StepEnd::of(StepOutcome::Ok);
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((number, unit, ended)) => {
                    done.insert(number, (unit, ended));
                }
                // The other hosts go on to their ends.
                Err(error) => end.join(self.wrong(path, "internal", format!("a task broke down: {error}"))),
            }
        }
        let done: Vec<(Unit, Ended)> = done.into_values().collect();
        if step.operation == Operation::Backup && end.outcome.is_success() {
            return self.keep_backup(path, step, done).await;
        }
        let mut outputs = Map::new();
        for (unit, ended) in done {
            let host = unit.hosts.into_iter().next().unwrap_or_default();
            let mut one = StepEnd::of_unit(ended);
            outputs.insert(host, one.outputs.take());
            end.join(one);
        }
        end.outputs = Value::Object(outputs);
        end
    }
}

fn hosts_of(step: &PlannedStep) -> &[String] {
    match &step.action {
        PlannedAction::Component(component) => &component.hosts,
        PlannedAction::Rolling(_) | PlannedAction::Workflow(_) => &[],
    }
}

enum Readiness {
    Now,
    Wait,
    Never,
}

/// What has become of a list's steps so far.
struct List {
    end: StepEnd,
    /// Whether each ended step lets those that need it begin.
    done: BTreeMap<String, bool>,
    seen: Map<String, Value>,
    halted: bool,
}

impl Default for List {
    fn default() -> Self {
        Self { end: StepEnd::of(StepOutcome::Ok), done: BTreeMap::new(), seen: Map::new(), halted: false }
    }
}

impl List {
    fn may_begin(&self, step: &PlannedStep) -> Readiness {
        if self.halted || step.needs.iter().any(|need| self.done.get(need) == Some(&false)) {
            return Readiness::Never;
        }
        if step.needs.iter().all(|need| self.done.contains_key(need)) { Readiness::Now } else { Readiness::Wait }
    }

    fn ended(&mut self, step: &PlannedStep, end: StepEnd) {
        self.seen.insert(step.name.clone(), end.value());
        self.done.insert(step.name.clone(), end.outcome.is_success());
        self.halted |= end.stop.is_some();
        if !end.outcome.is_success() {
            match step.on_failure {
                OnFailure::Continue => {}
                OnFailure::Stop => self.halted = true,
                OnFailure::BackOut => {
                    self.halted = true;
                    self.end.unwind = true;
                }
            }
        }
        self.end.join(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: &[&str], on_failure: OnFailure) -> PlannedStep {
        PlannedStep {
            name: name.to_owned(),
            path: name.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            when: None,
            on_failure,
            action: PlannedAction::Component(PlannedComponent {
                component: "c".to_owned(),
                operation: Operation::Verify,
                depth: runner_types::Depth::Health,
                scope: TargetScope::Cluster,
                hosts: Vec::new(),
                cluster: None,
                with: indexmap::IndexMap::new(),
                retry: None,
                timeout: None,
                forks: None,
            }),
        }
    }

    #[test]
    fn a_failure_keeps_back_what_needs_it() {
        let mut list = List::default();
        list.ended(&step("a", &[], OnFailure::Continue), StepEnd::of(StepOutcome::Failed));
        assert!(matches!(list.may_begin(&step("b", &["a"], OnFailure::Stop)), Readiness::Never));
        assert!(matches!(list.may_begin(&step("c", &[], OnFailure::Stop)), Readiness::Now));
        assert!(matches!(list.may_begin(&step("d", &["c"], OnFailure::Stop)), Readiness::Wait));
        list.ended(&step("c", &[], OnFailure::Stop), StepEnd::of(StepOutcome::Unreachable));
        assert!(matches!(list.may_begin(&step("e", &[], OnFailure::Stop)), Readiness::Never));
        assert_eq!(list.end.outcome, StepOutcome::Failed);
    }

    #[test]
    fn a_skipped_step_lets_others_begin() {
        let mut list = List::default();
        list.ended(&step("a", &[], OnFailure::Stop), StepEnd::of(StepOutcome::Skipped));
        assert!(matches!(list.may_begin(&step("b", &["a"], OnFailure::Stop)), Readiness::Now));
        assert!(list.end.outcome.is_success());
    }
}
