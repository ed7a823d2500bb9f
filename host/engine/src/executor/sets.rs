//! Backup sets in a run: what a backup leaves, what an update rests on, what a backout goes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use runner_types::{
    BackupPart, BackupSet, BoundUpdate, ComponentVersion, Decision, FormatVersion, Place, RunOutcome, StepOutcome,
    Timestamp,
};
use serde_json::{Map, Value, json};

use super::Executor;
use super::ended::Ended;
use super::rests::{self, Want, Wants};
use super::steps::{StepEnd, worse};
use super::unit::Unit;
use crate::backups::{BackupError, Begun, Hosts, Wanted, latest, release_of};
use crate::gate::Stop;
use crate::planner::{Plan, PlannedComponent, World};

impl Executor {
    /// Writes the set of a backup step, complete or not. Its manifest comes last, when all data is in the store.
    pub(super) async fn keep_backup(&self, path: &str, step: &PlannedComponent, done: Vec<(Unit, Ended)>) -> StepEnd {
        let mut end = StepEnd::of(StepOutcome::Ok);
        let mut parts = Vec::with_capacity(done.len());
        let mut outputs = Map::new();
        for (unit, ended) in done {
            end.outcome = worse(end.outcome, ended.outcome);
            end.stop = Stop::graver(end.stop, ended.stop);
            end.changed |= ended.changed;
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
            update: BoundUpdate::default(),
        };
        if let Err(error) = self.backups.save(&set) {
            end.join(self.fail(path, StepOutcome::Failed, "backup-set", error.to_string()));
            return end;
        }
        let what = Decision::BackupSet { component: step.component.clone(), set: set.id.clone() };
        if let Err(stop) = self.decide(Some(path), None, what).await {
            end.join(StepEnd::stopped(stop));
            return end;
        }
        outputs.insert("set".to_owned(), Value::from(set.id));
        end.outputs = Value::Object(outputs);
        end
    }

    /// The set that an update rests on; bound to it before the first write. With the first update of a run every set that
    /// was chosen is bound, so that what an update left half-done can be backed out whole.
    pub(super) async fn begin_update(&self, path: &str, step: &PlannedComponent) -> Result<Arc<BackupSet>, StepEnd> {
        let mut sets = self.sets.lock().await;
        if !sets.resting.contains_key(&step.component) {
            self.choose_for_update(&mut sets, path, &step.component).await?;
        }
        let Sets { wants, resting, .. } = &mut *sets;
        if let Some(rests) = resting.get(&step.component) {
            let hosts = step.hosts.iter().map(|host| (step.cluster.as_deref(), host.as_str()));
            let lacks: Vec<&str> = rests.set.lacks(hosts).into_iter().collect();
            if !lacks.is_empty() {
                let (set, lacks) = (&rests.set.id, lacks.join(", "));
                let message = format!("the backup set {set} of {} holds nothing of {lacks}", step.component);
                return Err(self.fail(path, StepOutcome::Refused, "backup-set", message));
            }
        }
        let bound = Timestamp::from(SystemTime::now());
        let mut set = None;
        for (component, rests) in resting.iter_mut() {
            let own = *component == step.component;
            let hosts: &[String] = if own { &step.hosts } else { &[] };
            let first = !rests.bound || (own && !rests.begun);
            if first || !hosts.iter().all(|host| rests.set.update.hosts.contains(host)) {
                let none = BTreeSet::new();
                let goals = wants.updates.get(component).map_or(&none, |want| &want.goals);
                let begun = Begun { run: &self.run, bound, hosts, goals };
                rests.set =
                    Arc::new(self.backups.bind(&rests.set, &begun).map_err(|error| self.without_set(path, &error))?);
                rests.bound = true;
            }
            if own {
                rests.begun = true;
                set = Some(Arc::clone(&rests.set));
            }
        }
        set.ok_or_else(|| self.fail(path, StepOutcome::Failed, "backup-set", "no set was chosen".to_owned()))
    }

    /// Chooses the set of a component's updates, once a run.
    async fn choose_for_update(&self, sets: &mut Sets, path: &str, component: &str) -> Result<(), StepEnd> {
        let none = Want::default();
        let want = sets.wants.updates.get(component).unwrap_or(&none);
        let wanted = Wanted {
            platform: &self.platform,
            component,
            hosts: &want.hosts,
            goals: &want.goals,
            max_age: sets.max_age,
            now: Timestamp::from(SystemTime::now()),
        };
        let chosen = self.backups.choose(&*self.store, &wanted).await;
        let set = self.take(path, component, chosen).await?;
        let rests = Resting { before: Arc::clone(&set), set, bound: false, begun: false };
        sets.resting.insert(component.to_owned(), rests);
        Ok(())
    }

    /// The set that a backout of the component goes to; verified once a run.
    pub(super) async fn backout_set(&self, path: &str, component: &str) -> Result<Arc<BackupSet>, StepEnd> {
        let mut sets = self.sets.lock().await;
        if let Some(rests) = sets.resting.get(component).filter(|rests| rests.begun) {
            return Ok(Arc::clone(&rests.set));
        }
        if let Some(set) = sets.backouts.get(component) {
            return Ok(Arc::clone(set));
        }
        let none = Want::default();
        let want = sets.wants.backouts.get(component).unwrap_or(&none);
        let found = self.backups.for_backout(&*self.store, &self.platform, component, &want.hosts).await;
        let set = self.take(path, component, found).await?;
        sets.backouts.insert(component.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    async fn take(
        &self,
        path: &str,
        component: &str,
        found: Result<BackupSet, BackupError>,
    ) -> Result<Arc<BackupSet>, StepEnd> {
        let set = Arc::new(found.map_err(|error| self.without_set(path, &error))?);
        let what = Decision::BackupSet { component: component.to_owned(), set: set.id.clone() };
        self.decide(Some(path), None, what).await.map_err(StepEnd::stopped)?;
        Ok(set)
    }

    fn without_set(&self, path: &str, error: &BackupError) -> StepEnd {
        let (outcome, message) = match error {
            BackupError::NotWhole { source, .. } => (StepOutcome::Refused, format!("{error}: {source}")),
            BackupError::NoneForUpdate { .. } | BackupError::NoneForBackout { .. } => {
                (StepOutcome::Refused, error.to_string())
            }
            BackupError::Io { .. } | BackupError::Damaged { .. } => (StepOutcome::Failed, error.to_string()),
        };
        self.fail(path, outcome, "backup-set", message)
    }

    /// The set that a backout of the component would go to, for a look at it beforehand: which data it holds is verified
    /// when the backout takes it.
    pub(super) async fn set_of(&self, component: &str) -> Option<Arc<BackupSet>> {
        let sets = self.sets.lock().await;
        let hosts = &sets.wants.backouts.get(component)?.hosts;
        self.backups.bound(&self.platform, component, hosts).ok().flatten().map(Arc::new)
    }

    /// Chooses and verifies, before anything is changed, the sets that the plan's updates and backouts rest on.
    /// Components that the plan itself backs up first get theirs when their step begins.
    pub(super) async fn choose_sets(&self) -> Vec<StepEnd> {
        let mut wrong = Vec::new();
        let mut updates = Vec::new();
        let mut backouts = Vec::new();
        {
            let sets = self.sets.lock().await;
            let paths = |wants: &IndexMap<String, Want>| -> Vec<(String, String)> {
                let now = wants.iter().filter(|(_, want)| !want.later);
                now.map(|(component, want)| (component.clone(), want.path.clone())).collect()
            };
            updates.extend(paths(&sets.wants.updates));
            backouts.extend(paths(&sets.wants.backouts));
        }
        for (component, path) in updates {
            let mut sets = self.sets.lock().await;
            if let Err(end) = self.choose_for_update(&mut sets, &path, &component).await {
                wrong.push(end);
            }
        }
        for (component, path) in backouts {
            if let Err(end) = self.backout_set(&path, &component).await {
                wrong.push(end);
            }
        }
        wrong
    }

    /// Leaves the sets as the end of the run wants it: bound as before where everything was backed out, finished where
    /// updates ended well, free where the plan's backouts brought every host back.
    pub(super) async fn settle_sets(&self, plan: &Plan, outcome: RunOutcome) -> Result<(), BackupError> {
        let mut sets = self.sets.lock().await;
        let Sets { resting, backouts, .. } = &mut *sets;
        match outcome {
            RunOutcome::BackedOut => {
                for rests in resting.values().filter(|rests| rests.bound) {
                    self.backups.save(&rests.before)?;
                }
            }
            RunOutcome::Succeeded => {
                for (component, rests) in resting.iter().filter(|(_, rests)| rests.begun) {
                    let failed = self.record().update_failed(component);
                    if !failed {
                        self.backups.finish(&rests.set)?;
                    }
                    // A backout later in the same run goes to it, too.
                    backouts.insert(component.clone(), Arc::clone(&rests.set));
                }
                for (component, set) in backouts.iter() {
                    if self.is_back(plan, component, set) {
                        self.backups.release(set)?;
                    }
                }
            }
            RunOutcome::Failed
            | RunOutcome::Refused
            | RunOutcome::Declined
            | RunOutcome::Denied
            | RunOutcome::Unreachable
            | RunOutcome::Unanswerable
            | RunOutcome::Cancelled => {
                for (component, rests) in resting.iter().filter(|(_, rests)| rests.begun) {
                    // Nothing of it is there to be repeated.
                    if self.record().only_refused(component) {
                        let update = BoundUpdate { bound: rests.set.update.bound, ..rests.before.update.clone() };
                        self.backups.save(&BackupSet { update, ..(*rests.set).clone() })?;
                    }
                }
            }
            // What was changed is not known.
            RunOutcome::Stuck | RunOutcome::InDoubt => {}
        }
        Ok(())
    }

    /// Whether every host on which the update of a set was begun was backed out by this run, or was seen at the versions
    /// of the set where a backout left it out.
    fn is_back(&self, plan: &Plan, component: &str, set: &BackupSet) -> bool {
        let places: Vec<(String, &str)> = rests::backouts(plan)
            .into_iter()
            .filter(|(name, _, _)| *name == component)
            .map(|(_, path, host)| (path, host))
            .collect();
        if places.is_empty() {
            return false;
        }
        let begun: BTreeSet<&str> = match set.update.hosts.is_empty() {
            true => set.installed_on(),
            false => set.update.hosts.iter().map(String::as_str).collect(),
        };
        let record = self.record();
        begun.into_iter().all(|host| {
            let mut own = places.iter().filter(|(_, other)| *other == host).peekable();
            let some = own.peek().is_some();
            let all = own.clone().all(|(path, _)| record.backed_out(component, path, host));
            let failed = own.any(|(path, _)| record.failed(path, host));
            !failed && ((some && all) || record.seen_at(component, host, set))
        })
    }

    /// `backups`, as expressions see it: for each component the set that a backout would use, and where the run's updates
    /// have chosen one, that.
    pub(super) async fn backups_value(&self) -> Result<Value, BackupError> {
        let mut bound: BTreeMap<String, Vec<BackupSet>> = BTreeMap::new();
        for set in self.backups.list(&self.platform)?.into_iter().filter(|set| set.bound_to.is_some()) {
            bound.entry(set.component.clone()).or_default().push(set);
        }
        let sets = self.sets.lock().await;
        let mut values = Map::new();
        for (component, bound) in &bound {
            let hosts = sets.wants.backouts.get(component).map(|want| &want.hosts);
            if let Some(set) = latest(bound, hosts.unwrap_or(&Hosts::new())) {
                values.insert(component.clone(), set_value(set));
            }
        }
        for (component, rests) in &sets.resting {
            values.insert(component.clone(), set_value(&rests.set));
        }
        Ok(Value::Object(values))
    }
}

/// The backup sets of a run.
#[derive(Debug)]
pub(super) struct Sets {
    wants: Wants,
    /// Greatest age of a set on which an update rests, of the whole plan.
    max_age: Duration,
    /// What updates rest on, by component.
    resting: BTreeMap<String, Resting>,
    /// What backouts go to, by component.
    backouts: BTreeMap<String, Arc<BackupSet>>,
}

impl Sets {
    pub(super) fn of(plan: &Plan, world: &World) -> tokio::sync::Mutex<Self> {
        tokio::sync::Mutex::new(Self {
            wants: Wants::of(plan, world),
            max_age: plan.requires.backup.max_age.get(),
            resting: BTreeMap::new(),
            backouts: BTreeMap::new(),
        })
    }
}

/// What the updates of a component rest on.
#[derive(Debug)]
struct Resting {
    set: Arc<BackupSet>,
    /// The same before this run.
    before: Arc<BackupSet>,
    /// An update of this run has begun.
    bound: bool,
    /// One of this component has.
    begun: bool,
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
