//! A unit of work: one job of one component over one target, with its attempts.

use std::sync::Arc;

use runner_types::{
    Artifact, BackupSet, Decision, DecisionEntry, Entry, EventKind, Place as TypesPlace, Retry, StepBegun, StepEnded,
    StepOutcome, Target, TimeSpan,
};
use serde_json::Value;

use super::ended::Ended;
use super::{Done, Executor, Job};
use crate::contract::types::{self, Invocation};
use crate::gate::{Attempt, AttemptSpec, Stop};
use crate::journal::Durability;
use crate::plugin::GuestError;

/// One job of one component over one target.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Path of the step.
    pub(super) step: String,
    pub(super) component: String,
    pub(super) job: Job,
    pub(super) target: Target,
    pub(super) hosts: Vec<String>,
    pub(super) cluster: Option<String>,
    pub(super) parameters: Value,
    pub(super) backup: Option<Arc<BackupSet>>,
    pub(super) retry: Option<Retry>,
    pub(super) timeout: Option<TimeSpan>,
    /// A verify whose failed checks are what somebody wants to know, not a failure.
    pub(super) informs: bool,
}

impl Executor {
    /// Does a unit of work: attempts until one ends well or no further one can help. Counts it in the recap.
    pub(super) async fn unit(self: &Arc<Self>, unit: &Unit) -> Ended {
        self.unit_after(unit, 0).await
    }

    /// The same for a unit of which part was looked at first: if that passes, it is all there is to it; if not, the whole
    /// decides, with all its attempts.
    pub(super) async fn unit_by_part(self: &Arc<Self>, unit: &Unit, part: Vec<String>) -> Ended {
        let part = Unit { hosts: part, ..unit.clone() };
        let ended = self.attempt(&part, 1, false).await;
        if ended.stop.is_some() || ended.outcome.is_success() {
            self.note(&part, &ended);
            return ended;
        }
        let what = Decision::Retry { attempt: 2, delay: TimeSpan::from_millis(0) };
        if let Err(stop) = self.decide(Some(&unit.step), Some(&unit.target), what).await {
            return Ended { stop: Some(stop), ..ended };
        }
        self.unit_after(unit, 1).await
    }

    /// The attempts of a unit, counted on from those before.
    async fn unit_after(self: &Arc<Self>, unit: &Unit, before: u32) -> Ended {
        let mut number = before + 1;
        let mut changed = false;
        let ended = loop {
            let ended = self.attempt(unit, number, changed).await;
            changed = ended.changed;
            let delay = unit.retry.as_ref().and_then(|retry| retry.delay_after(number - before));
            let Some(delay) = delay.filter(|_| ended.stop.is_none() && ended.outcome.retries_by_itself()) else {
                break ended;
            };
            number += 1;
            let what = Decision::Retry { attempt: number, delay };
            if let Err(stop) = self.decide(Some(&unit.step), Some(&unit.target), what).await {
                break Ended { stop: Some(stop), ..ended };
            }
            tokio::select! {
                () = tokio::time::sleep(delay.get()) => {}
                () = self.gate.cancelled() => break Ended { stop: Some(Stop::Cancelled), ..ended },
            }
        };
        self.note(unit, &ended);
        ended
    }

    fn note(&self, unit: &Unit, ended: &Ended) {
        let mut record = self.record();
        record.count(&unit.step, &unit.hosts, ended);
        // A failed update may have changed something, too.
        if unit.job == Job::Update && ended.outcome != StepOutcome::Ok {
            let turned_down = matches!(ended.outcome, StepOutcome::Refused | StepOutcome::Declined);
            record.changed.push(super::unwind::Changed {
                only_refused: turned_down && !ended.changed,
                step: unit.step.clone(),
                component: unit.component.clone(),
                target: unit.target.clone(),
                hosts: unit.hosts.clone(),
                cluster: unit.cluster.clone(),
                parameters: unit.parameters.clone(),
            });
        }
        if let Some(report) = &ended.report {
            record.warnings.extend(report.warnings.iter().cloned());
            record.reports.push(super::Reported {
                step: unit.step.clone(),
                component: unit.component.clone(),
                operation: unit.job.operation(),
                target: unit.target.clone(),
                report: report.clone(),
            });
        }
        if !ended.outcome.is_success() {
            record.failures.push(super::StepFailure {
                step: unit.step.clone(),
                target: Some(unit.target.clone()),
                outcome: ended.outcome,
                findings: ended.findings.clone(),
            });
        }
    }

    /// One attempt; `changed`: one before it changed something.
    async fn attempt(self: &Arc<Self>, unit: &Unit, number: u32, changed: bool) -> Ended {
        let Some(component) = self.components.get(&unit.component).cloned() else {
            return Ended::failed("no-plugin", &unit.component, "the plugin is not loaded".to_owned());
        };
        let manifest = component.manifest();
        let operation = unit.job.operation();
        // A line that names a parameter which this operation does not have is not requested for it.
        let requests = manifest
            .capabilities
            .iter()
            .filter_map(|request| request.to_grant(&manifest.name, &unit.parameters).ok())
            .collect();
        let id = runner_types::Attempt { step: unit.step.clone(), target: unit.target.clone(), attempt: number };
        let spec = AttemptSpec {
            id: id.clone(),
            plugin: manifest.name.clone(),
            operation,
            reads_only: unit.job.reads_only(),
            hosts: unit.hosts.clone(),
            cluster: unit.cluster.clone(),
            requests,
            prompts: manifest.prompts_of(operation, &unit.parameters).cloned().collect(),
            saved: unit.backup.as_ref().map(|set| saved(set, &unit.target).cloned().collect()).unwrap_or_default(),
        };
        let begun = StepBegun {
            attempt: id.clone(),
            component: unit.component.clone(),
            operation,
            mode: unit.job.mode().map(str::to_owned),
            plugin: component.digest().clone(),
            parameters: unit.parameters.clone(),
            hosts: unit.hosts.clone(),
            backup: unit.backup.as_ref().map(|set| set.id.clone()),
        };
        if let Err(error) = self.gate.journal.append(Entry::StepBegun(begun), Durability::Lazy).await {
            return Ended::stopped(error.into());
        }
        self.gate.observer.observe(EventKind::StepBegun {
            attempt: id.clone(),
            component: unit.component.clone(),
            operation,
            hosts: unit.hosts.clone(),
        });
        let attempt = Attempt::new(Arc::clone(&self.gate), spec);
        let invocation = self.invocation(unit, number);
        let work = component.run(Arc::clone(&attempt), &unit.job, &invocation);
        let done = match unit.timeout {
            None => work.await.map(Ok),
            Some(limit) => match tokio::time::timeout(limit.get(), work).await {
                Ok(done) => done.map(Ok),
                Err(_) => {
                    let what = Decision::TimedOut { after: limit };
                    self.decide(Some(&unit.step), Some(&unit.target), what)
                        .await
                        .map(|()| Err(limit))
                        .map_err(Into::into)
                }
            },
        };
        // The time is over for the instance, not for the effect that it began: nothing follows before its end is known.
        attempt.settled().await;
        let done = match self.gate.doubt(Some(&id)) {
            Some(doubt) => Err(GuestError::Stopped(doubt.into())),
            None => done,
        };
        // A backup's own temporary files are no change of the platform.
        let changed = changed || (attempt.has_changed() && unit.job != Job::Backup);
        let ended = match done {
            Err(GuestError::Stopped(stop)) => Ended::stopped(stop),
            Err(GuestError::Trapped(reason)) => {
                Ended::failed("plugin-broke-down", &unit.component, format!("the plugin broke down: {reason}"))
            }
            Ok(Err(limit)) => {
                let message = format!("it took longer than {limit}; effects that had begun went on to their end");
                Ended::with(StepOutcome::TimedOut, "timed-out", &unit.component, message)
            }
            Ok(Ok(Done::Report(Err(problem)) | Done::Verification(Err(problem)))) => {
                Ended::problem(problem, &unit.hosts)
            }
            Ok(Ok(Done::Report(Ok(report)))) => Ended::reported(report, &attempt.stored(), changed),
            Ok(Ok(Done::Verification(Ok(verification)))) if unit.informs => Ended::looked(verification),
            Ok(Ok(Done::Verification(Ok(verification)))) => Ended::verified(verification),
        };
        let changed = changed || ended.changed;
        self.close(id, Ended { changed, ..ended }).await
    }

    async fn close(&self, id: runner_types::Attempt, ended: Ended) -> Ended {
        // An attempt that a stop ended has no end: a resume goes on inside it.
        if ended.stop.is_none() {
            let entry = StepEnded {
                attempt: id.clone(),
                outcome: ended.outcome,
                report: ended.report.clone(),
                findings: ended.findings.clone(),
                failure: ended.failure.as_ref().and_then(|failure| serde_json::to_value(failure).ok()),
            };
            if let Err(error) = self.gate.journal.append(Entry::StepEnded(entry), Durability::Lazy).await {
                return Ended { changed: ended.changed, ..Ended::stopped(error.into()) };
            }
        }
        self.gate.observer.observe(EventKind::StepEnded {
            attempt: id,
            outcome: ended.outcome,
            report: ended.report.clone(),
            findings: ended.findings.clone(),
        });
        ended
    }

    /// Journals a decision of the executor.
    pub(super) async fn decide(&self, step: Option<&str>, target: Option<&Target>, what: Decision) -> Result<(), Stop> {
        let decision = DecisionEntry { step: step.map(str::to_owned), target: target.cloned(), what };
        Ok(self.gate.decide(decision, Durability::Lazy).await?)
    }

    fn invocation(&self, unit: &Unit, attempt: u32) -> Invocation {
        let hosts = unit.hosts.iter().filter_map(|name| self.world.inventory.host(name)).map(|host| types::HostInfo {
            name: host.name.clone(),
            address: host.address.clone(),
            node: host.node.clone(),
            groups: host.groups.clone(),
            variables: Value::Object(host.published()).to_string(),
        });
        Invocation {
            run: self.run.clone(),
            step: unit.step.clone(),
            attempt,
            stamp: self.stamp.to_string(),
            target: types::Target {
                scope: match unit.target {
                    Target::Host(_) => types::Scope::Host,
                    Target::Cluster(_) | Target::Hosts => types::Scope::Cluster,
                },
                cluster: unit.cluster.clone(),
                hosts: hosts.collect(),
            },
            parameters: unit.parameters.to_string(),
            backup: unit.backup.as_ref().map(|set| part_of(set, &unit.target)),
        }
    }
}

/// Whether what a set has of a place belongs to a target: all of it for cluster scope.
fn belongs(place: &TypesPlace, target: &Target) -> bool {
    match (target, place) {
        (Target::Host(host), TypesPlace::Host(origin)) => host == origin,
        _ => true,
    }
}

/// The artifacts of a set that belong to a target.
fn saved<'a>(set: &'a BackupSet, target: &Target) -> impl Iterator<Item = &'a Artifact> {
    set.artifacts().filter(|artifact| belongs(&artifact.origin, target))
}

/// The part of a set that belongs to a target.
fn part_of(set: &BackupSet, target: &Target) -> types::BackupSet {
    let place = |place: &TypesPlace| match place {
        TypesPlace::Host(name) => types::Place::Host(name.clone()),
        TypesPlace::Cluster(name) => types::Place::Cluster(name.clone()),
        TypesPlace::Runner => types::Place::Runner,
    };
    let mut notes = serde_json::Map::new();
    for part in &set.parts {
        notes.extend(part.notes.clone());
    }
    types::BackupSet {
        id: set.id.clone(),
        created: set.created.to_string(),
        versions: set
            .versions()
            .filter(|version| belongs(&version.place, target))
            .map(|version| types::ComponentVersion {
                part: version.part.clone(),
                version: version.version.clone(),
                place: place(&version.place),
            })
            .collect(),
        artifacts: saved(set, target)
            .map(|artifact| types::Artifact {
                digest: artifact.digest.to_string(),
                size: artifact.size,
                name: artifact.name.clone(),
                origin: place(&artifact.origin),
                labels: artifact
                    .labels
                    .iter()
                    .map(|label| types::Label { name: label.name.clone(), value: label.value.clone() })
                    .collect(),
            })
            .collect(),
        notes: Value::Object(notes).to_string(),
    }
}
