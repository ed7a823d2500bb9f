//! Unwinding: backing out what a failed run changed, last first, to the backup sets that its updates are bound to.

use std::sync::Arc;

use runner_types::{Decision, Operation, RunOutcome, Target};
use serde_json::{Map, Value};

use super::steps::StepEnd;
use super::unit::Unit;
use super::{Executor, Job};
use crate::planner::{Plan, PlannedAction, PlannedRolling};

/// An update that changed something in this run.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) step: String,
    pub(super) component: String,
    pub(super) target: Target,
    pub(super) hosts: Vec<String>,
    pub(super) cluster: Option<String>,
    pub(super) parameters: Value,
}

impl Executor {
    /// Backs out every update of this run that changed something. A host of a rolling block is taken out of service
    /// for it, as it was for the update.
    pub(super) async fn unwind(self: &Arc<Self>, plan: &Plan) -> RunOutcome {
        let mut changed = std::mem::take(&mut self.record().changed);
        changed.reverse();
        let steps = changed.iter().map(|update| format!("{} @ {}", update.step, update.target)).collect();
        if self.decide(None, None, Decision::Unwinding { steps }).await.is_err() {
            return RunOutcome::Stuck;
        }
        for update in &changed {
            if !self.back_out(plan, update).await {
                return RunOutcome::Stuck;
            }
        }
        RunOutcome::BackedOut
    }

    async fn back_out(self: &Arc<Self>, plan: &Plan, update: &Changed) -> bool {
        let path = format!("unwinding/{}", update.step);
        let window = match &update.target {
            Target::Host(_) => block_of(plan, &update.step),
            Target::Cluster(_) | Target::Hosts => None,
        };
        let mut entered = Vec::new();
        for part in window.into_iter().flat_map(|block| &block.maintenance) {
            let with: Map<String, Value> = part.with.clone().into_iter().collect();
            let Ok(unit) = self.unwinding_unit(&path, update, &part.component, Job::Enter, &with) else {
                return false;
            };
            let ended = self.unit(&unit).await;
            if !ended.outcome.is_success() {
                return false;
            }
            let outputs = ended.report.map(|report| Value::Object(report.outputs).to_string());
            entered.push((part.component.clone(), with, outputs));
        }
        let Ok(mut unit) = self.backout_unit(&path, update).await else {
            return false;
        };
        unit.step = format!("{path}/backout");
        if !self.unit(&unit).await.outcome.is_success() {
            return false;
        }
        for (component, with, outputs) in entered.into_iter().rev() {
            let Ok(unit) = self.unwinding_unit(&path, update, &component, Job::Leave(outputs), &with) else {
                return false;
            };
            if !self.unit(&unit).await.outcome.is_success() {
                return false;
            }
        }
        true
    }

    async fn backout_unit(&self, path: &str, update: &Changed) -> Result<Unit, StepEnd> {
        let set = self.backout_set(path, &update.component).await?;
        // Parameters that both operations know, such as which part of a component it is.
        let known = self
            .components
            .get(&update.component)
            .and_then(|component| component.manifest().operations.get(&Operation::Backout))
            .and_then(|spec| spec.parameters.get("properties")?.as_object());
        let with: Map<String, Value> = update
            .parameters
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| known.is_some_and(|known| known.contains_key(*name)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut unit = self.unwinding_unit(path, update, &update.component, Job::Backout, &with)?;
        unit.backup = Some(set);
        Ok(unit)
    }

    fn unwinding_unit(
        &self,
        path: &str,
        update: &Changed,
        component: &str,
        job: Job,
        with: &Map<String, Value>,
    ) -> Result<Unit, StepEnd> {
        let parameters = self.parameters_of(component, job.operation(), with, path)?;
        Ok(Unit {
            step: format!("{path}/{component}-{}", job.mode().unwrap_or(job.operation().as_str())),
            component: component.to_owned(),
            job,
            target: update.target.clone(),
            hosts: update.hosts.clone(),
            cluster: update.cluster.clone(),
            parameters,
            backup: None,
            retry: None,
            timeout: None,
            informs: false,
        })
    }
}

/// The rolling block that a step belongs to.
fn block_of<'a>(plan: &'a Plan, step: &str) -> Option<&'a PlannedRolling> {
    plan.all().flat_map(|plan| &plan.steps).find_map(|planned| match &planned.action {
        PlannedAction::Rolling(rolling) if step.starts_with(&format!("{}/", planned.path)) => Some(&**rolling),
        PlannedAction::Rolling(_) | PlannedAction::Component(_) | PlannedAction::Workflow(_) => None,
    })
}
