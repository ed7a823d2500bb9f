//! Unwinding: backing out what a failed run changed, last first, to the backup sets that its updates are bound to.

use std::sync::Arc;

use runner_types::{Decision, Operation, RunOutcome, Target};
use serde_json::{Map, Value};

use super::rolling::Window;
use super::steps::StepEnd;
use super::unit::Unit;
use super::{Executor, Job};
use crate::planner::{Plan, PlannedAction, PlannedRolling};

/// What operators are told with the pauses of a block that is gone through again.
const WHY: &str = "The run failed and is backed out: this host goes back to what it had before the update.";

/// An update that changed something in this run, or may have.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    /// It was turned down before it changed anything.
    pub(super) only_refused: bool,
    pub(super) step: String,
    pub(super) component: String,
    pub(super) target: Target,
    pub(super) hosts: Vec<String>,
    pub(super) cluster: Option<String>,
    pub(super) parameters: Value,
}

/// Updates that are backed out together.
struct Turn<'p> {
    /// Block and host out of whose service they are backed out.
    of: Option<(&'p Plan, &'p PlannedRolling, Arc<Window>)>,
    /// Path of the step, or of the block and the host.
    path: String,
    updates: Vec<Changed>,
}

impl Executor {
    /// Backs out every update of this run that changed something. A host of a rolling block is taken out of service
    /// for it once, with the pauses of the block, as it was for its updates.
    pub(super) async fn unwind(self: &Arc<Self>, plan: &Plan) -> RunOutcome {
        let mut changed = std::mem::take(&mut self.record().changed);
        changed.reverse();
        let steps = changed.iter().map(|update| format!("{} @ {}", update.step, update.target)).collect();
        if self.decide(None, None, Decision::Unwinding { steps }).await.is_err() {
            return RunOutcome::Stuck;
        }
        for turn in self.turns(plan, changed) {
            if self.back_out(&turn).await.is_err() {
                return RunOutcome::Stuck;
            }
        }
        RunOutcome::BackedOut
    }

    /// The updates by block and host, in the order in which the first of each comes.
    fn turns<'p>(&self, plan: &'p Plan, changed: Vec<Changed>) -> Vec<Turn<'p>> {
        let mut turns: Vec<Turn<'p>> = Vec::new();
        for update in changed {
            let block = match &update.target {
                Target::Host(host) => block_of(plan, &update.step, host),
                Target::Cluster(_) | Target::Hosts => None,
            };
            let of = block.and_then(|(plan, rolling, path)| {
                let window = self.record().windows.get(&path).map(Arc::clone)?;
                Some(((plan, rolling, window), path))
            });
            let (of, path) = match of {
                Some((of, path)) => (Some(of), path),
                None => (None, update.step.clone()),
            };
            match turns.iter_mut().find(|turn| turn.of.is_some() && turn.path == path) {
                Some(turn) => turn.updates.push(update),
                None => turns.push(Turn { of, path, updates: vec![update] }),
            }
        }
        turns
    }

    async fn back_out(self: &Arc<Self>, turn: &Turn<'_>) -> Result<(), StepEnd> {
        let path = format!("unwinding/{}", turn.path);
        let entered = match &turn.of {
            Some((plan, rolling, window)) => self.out_of_service(plan, &path, rolling, window, WHY).await?,
            None => Vec::new(),
        };
        for update in &turn.updates {
            let unit = self.backout_unit(update).await?;
            let ended = self.unit(&unit).await;
            if !ended.outcome.is_success() {
                return Err(StepEnd::of_unit(ended));
            }
        }
        if let Some((plan, rolling, window)) = &turn.of {
            self.into_service(plan, &path, rolling, window, entered, WHY).await?;
        }
        Ok(())
    }

    async fn backout_unit(&self, update: &Changed) -> Result<Unit, StepEnd> {
        let step = format!("unwinding/{}/backout", update.step);
        let set = self.backout_set(&step, &update.component).await?;
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
        Ok(Unit {
            parameters: self.parameters_of(&update.component, Operation::Backout, &with, &step)?,
            step,
            component: update.component.clone(),
            job: Job::Backout,
            target: update.target.clone(),
            hosts: update.hosts.clone(),
            cluster: update.cluster.clone(),
            backup: Some(set),
            retry: None,
            timeout: None,
            informs: false,
        })
    }
}

/// The rolling block that a step on a host belongs to, the plan it stands in, and the path of the host's turn in it.
fn block_of<'p>(plan: &'p Plan, step: &str, host: &str) -> Option<(&'p Plan, &'p PlannedRolling, String)> {
    plan.all().into_iter().find_map(|(_, plan)| {
        plan.steps.iter().find_map(|planned| match &planned.action {
            PlannedAction::Rolling(rolling) => {
                let path = format!("{}/{host}", planned.path);
                step.starts_with(&format!("{path}/")).then_some((plan, &**rolling, path))
            }
            PlannedAction::Component(_) | PlannedAction::Workflow(_) => None,
        })
    })
}
