//! Backup sets in a run: what a backup leaves, what an update rests on, what a backout goes to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use runner_types::{
    BackupPart, BackupSet, ComponentVersion, Decision, FormatVersion, Operation, Place, StepOutcome, Timestamp,
};
use serde_json::{Map, Value, json};

use super::Executor;
use super::ended::Ended;
use super::steps::{StepEnd, worse};
use super::unit::Unit;
use crate::backups::{BackupError, Binding, release_of};
use crate::planner::{Plan, PlannedAction, PlannedComponent, PlannedStep};

impl Executor {
    /// Writes the set of a backup step, complete or not. Its manifest comes last, when all data is in the store.
    pub(super) async fn keep_backup(&self, path: &str, step: &PlannedComponent, done: Vec<(Unit, Ended)>) -> StepEnd {
        let mut end = StepEnd::of(StepOutcome::Ok);
        let mut parts = Vec::with_capacity(done.len());
        let mut outputs = Map::new();
        for (unit, ended) in done {
            end.outcome = worse(end.outcome, ended.outcome);
            end.stop = end.stop.or(ended.stop);
            let Some(report) = ended.report.filter(|_| ended.outcome.is_success()) else {
                continue;
            };
            outputs.insert(unit.target.to_string(), Value::Object(report.outputs.clone()));
            parts.push(BackupPart {
                target: unit.target,
                hosts: unit.hosts,
                versions: report.versions,
                artifacts: ended.artifacts,
                notes: report.outputs,
            });
        }
        if parts.is_empty() {
            return end;
        }
        let versions: Vec<ComponentVersion> = parts.iter().flat_map(|part| part.versions.iter().cloned()).collect();
        let set = BackupSet {
            format: FormatVersion::CURRENT,
            id: format!("{}-{}", self.run, path.replace('/', ".")),
            component: step.component.clone(),
            platform: self.platform.clone(),
            created: self.stamp,
            run: self.run.clone(),
            step: path.to_owned(),
            plugin: self
                .components
                .get(&step.component)
                .map_or_else(runner_types::Digest::zero, |component| component.digest().clone()),
            release: release_of(&self.releases, &step.component, &versions),
            complete: end.outcome.is_success() && end.stop.is_none(),
            parts,
            bound_to: None,
        };
        if let Err(error) = self.backups.save(&set) {
            return self.fail(path, StepOutcome::Failed, "backup-set", error.to_string());
        }
        let what = Decision::BackupSet { component: step.component.clone(), set: set.id.clone() };
        if let Err(stop) = self.decide(Some(path), None, what).await {
            return StepEnd::stopped(stop);
        }
        outputs.insert("set".to_owned(), Value::from(set.id));
        end.outputs = Value::Object(outputs);
        end
    }

    /// The set that an update of the component is bound to; chosen and verified once a run.
    pub(super) async fn bound_set(&self, plan: &Plan, path: &str, component: &str) -> Result<Arc<BackupSet>, StepEnd> {
        let mut known = self.sets.lock().await;
        if let Some(set) = known.get(component) {
            return Ok(Arc::clone(set));
        }
        let wanted = Binding {
            platform: &self.platform,
            component,
            run: &self.run,
            max_age: plan.requires.backup.max_age.get(),
            now: Timestamp::from(SystemTime::now()),
        };
        let bound = self.backups.bind(&*self.store, &wanted).await;
        self.take(&mut known, path, component, bound).await
    }

    /// The set that a backout of the component goes to; verified once a run.
    pub(super) async fn backout_set(&self, path: &str, component: &str) -> Result<Arc<BackupSet>, StepEnd> {
        let mut known = self.sets.lock().await;
        if let Some(set) = known.get(component) {
            return Ok(Arc::clone(set));
        }
        let found = self.backups.for_backout(&*self.store, &self.platform, component).await;
        self.take(&mut known, path, component, found).await
    }

    async fn take(
        &self,
        known: &mut BTreeMap<String, Arc<BackupSet>>,
        path: &str,
        component: &str,
        found: Result<BackupSet, BackupError>,
    ) -> Result<Arc<BackupSet>, StepEnd> {
        let set = Arc::new(found.map_err(|error| {
            let (outcome, message) = match &error {
                BackupError::NotWhole { source, .. } => (StepOutcome::Refused, format!("{error}: {source}")),
                BackupError::NoneForUpdate { .. } | BackupError::NoneForBackout { .. } => {
                    (StepOutcome::Refused, error.to_string())
                }
                BackupError::Io { .. } | BackupError::Damaged { .. } => (StepOutcome::Failed, error.to_string()),
            };
            self.fail(path, outcome, "backup-set", message)
        })?);
        let what = Decision::BackupSet { component: component.to_owned(), set: set.id.clone() };
        self.decide(Some(path), None, what).await.map_err(StepEnd::stopped)?;
        known.insert(component.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    /// The set that a backout of the component would go to, for a look at it beforehand: which data it holds is verified
    /// when the backout takes it.
    pub(super) fn set_of(&self, component: &str) -> Option<Arc<BackupSet>> {
        let sets = self.backups.list(&self.platform).ok()?;
        sets.into_iter().find(|set| set.component == component && set.bound_to.is_some()).map(Arc::new)
    }

    /// Chooses and verifies, before anything is changed, the sets that the plan's updates and backouts rest on.
    /// Components that the plan itself backs up first get theirs when their step begins.
    pub(super) async fn choose_sets(&self, plan: &Plan) -> Vec<StepEnd> {
        let mut wrong = Vec::new();
        let mut backed_up = Vec::new();
        let mut wanted = Vec::new();
        wants(plan, &mut backed_up, &mut wanted);
        for (component, operation, path) in wanted {
            let chosen = match operation {
                Operation::Update if backed_up.contains(&component) => continue,
                Operation::Update => self.bound_set(plan, &path, &component).await,
                Operation::Backout => self.backout_set(&path, &component).await,
                Operation::Backup | Operation::Verify | Operation::Maintenance => continue,
            };
            if let Err(end) = chosen {
                wrong.push(end);
            }
        }
        wrong
    }

    /// Frees the sets of components that are backed out completely.
    pub(super) async fn release_sets(&self, plan: &Plan) -> Result<(), BackupError> {
        let mut components: BTreeMap<String, bool> = BTreeMap::new();
        backouts(&plan.steps, &mut |component, top| {
            let done = self.record().steps.get(top).is_some_and(|outcome| outcome.is_success());
            let all = components.entry(component.to_owned()).or_insert(true);
            *all = *all && done;
        });
        let known = self.sets.lock().await;
        for component in components.into_iter().filter(|(_, done)| *done).map(|(component, _)| component) {
            if let Some(set) = known.get(&component) {
                self.backups.release(set)?;
            }
        }
        Ok(())
    }

    /// `backups`, as expressions see it: for each component the set that a backout would use.
    pub(super) fn backups_value(&self) -> Result<Value, BackupError> {
        let mut values = Map::new();
        for set in self.backups.list(&self.platform)?.iter().filter(|set| set.bound_to.is_some()) {
            values.entry(set.component.clone()).or_insert_with(|| set_value(set));
        }
        Ok(Value::Object(values))
    }
}

fn set_value(set: &BackupSet) -> Value {
    let mut versions = Map::new();
    let mut hosts: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for found in set.versions() {
        versions.insert(found.part.clone(), Value::from(found.version.as_str()));
        if let Place::Host(host) = &found.place {
            hosts.entry(host).or_default().insert(found.part.clone(), Value::from(found.version.as_str()));
        }
    }
    json!({
        "id": set.id,
        "taken": set.created,
        "release": set.release,
        "versions": versions,
        "hosts": hosts,
    })
}

/// Whether the plan backs the component out.
pub(super) fn backs_out(plan: &Plan, component: &str) -> bool {
    let mut found = false;
    each_component(&plan.steps, &mut |planned, _| {
        found |= planned.operation == Operation::Backout && planned.component == component;
    });
    found
}

/// Components with a backup step, and every update or backout with its path.
fn wants(plan: &Plan, backed_up: &mut Vec<String>, wanted: &mut Vec<(String, Operation, String)>) {
    each_component(&plan.steps, &mut |component, path| match component.operation {
        Operation::Backup => backed_up.push(component.component.clone()),
        Operation::Update | Operation::Backout => {
            if !wanted.iter().any(|(known, _, _)| *known == component.component) {
                wanted.push((component.component.clone(), component.operation, path.to_owned()));
            }
        }
        Operation::Verify | Operation::Maintenance => {}
    });
}

fn each_component(steps: &[PlannedStep], see: &mut dyn FnMut(&PlannedComponent, &str)) {
    for step in steps {
        match &step.action {
            PlannedAction::Component(component) => see(component, &step.path),
            PlannedAction::Rolling(rolling) => each_component(&rolling.steps, see),
            PlannedAction::Workflow(plan) => each_component(&plan.steps, see),
        }
    }
}

/// Each backout with the path of the step whose outcome is recorded: a rolling block's for those inside it.
fn backouts(steps: &[PlannedStep], see: &mut dyn FnMut(&str, &str)) {
    for step in steps {
        match &step.action {
            PlannedAction::Component(component) if component.operation == Operation::Backout => {
                see(&component.component, &step.path);
            }
            PlannedAction::Component(_) => {}
            PlannedAction::Rolling(rolling) => each_component(&rolling.steps, &mut |component, _| {
                if component.operation == Operation::Backout {
                    see(&component.component, &step.path);
                }
            }),
            PlannedAction::Workflow(plan) => backouts(&plan.steps, see),
        }
    }
}
