//! What a run has come to: counts per host, what failed, what was reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use runner_types::{
    BackupSet, ComponentVersion, Finding, HostRecap, Operation, Place, Recap, Report, StepOutcome, Target,
};
use serde::Serialize;

use super::ended::Ended;

/// Something that did not end well.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepFailure {
    /// Path of the step.
    pub step: String,
    /// Target; none: the step as a whole.
    pub target: Option<Target>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Why.
    pub findings: Vec<Finding>,
}

/// What is known of a host at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostState {
    /// Last step that worked on it.
    pub step: String,
    /// How that ended.
    pub outcome: StepOutcome,
    /// It was taken out of service and not brought back.
    pub out_of_service: bool,
}

/// A report with where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reported {
    /// Path of the step.
    pub step: String,
    /// Component.
    pub component: String,
    /// Operation.
    pub operation: Operation,
    /// Target.
    pub target: Target,
    /// The report.
    pub report: Report,
}

/// What a run has come to.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) recap: IndexMap<String, HostRecap>,
    pub(super) failures: Vec<StepFailure>,
    pub(super) hosts: IndexMap<String, HostState>,
    pub(super) reports: Vec<Reported>,
    pub(super) warnings: Vec<Finding>,
    /// Updates that changed something, in the order in which they ended.
    pub(super) changed: Vec<super::unwind::Changed>,
    /// Hosts' turns in rolling blocks that have begun, by path of block and host.
    pub(super) windows: BTreeMap<String, Arc<super::rolling::Window>>,
    /// Outcome of each step, by path.
    pub(super) steps: BTreeMap<String, StepOutcome>,
}

impl Record {
    /// Counts the end of a step over these hosts. What did not end well counts for the hosts that caused it, if there
    /// were any; what was changed by then is changed all the same.
    pub(super) fn count(&mut self, step: &str, hosts: &[String], ended: &Ended) {
        let Ended { outcome, culprits, .. } = ended;
        let outcome = *outcome;
        for host in hosts {
            let blamed = culprits.is_empty() || culprits.contains(host);
            let recap = self.recap.entry(host.clone()).or_default();
            recap.changed += u32::from(ended.changed);
            match outcome {
                StepOutcome::Ok | StepOutcome::Changed => recap.ok += 1,
                StepOutcome::Skipped => recap.skipped += 1,
                // Once is enough to know it, however many steps asked.
                StepOutcome::Unreachable if blamed => recap.unreachable = 1,
                StepOutcome::Refused
                | StepOutcome::Denied
                | StepOutcome::Failed
                | StepOutcome::TimedOut
                | StepOutcome::InDoubt
                    if blamed =>
                {
                    recap.failed += 1;
                }
                StepOutcome::Unreachable
                | StepOutcome::Refused
                | StepOutcome::Denied
                | StepOutcome::Failed
                | StepOutcome::TimedOut
                | StepOutcome::InDoubt
                // Nothing of the host failed.
                | StepOutcome::Declined
                | StepOutcome::Cancelled => {}
            }
            if outcome == StepOutcome::Skipped {
                continue;
            }
            let out_of_service = self.hosts.get(host).is_some_and(|state| state.out_of_service);
            self.hosts.insert(host.clone(), HostState { step: step.to_owned(), outcome, out_of_service });
        }
    }

    pub(super) fn out_of_service(&mut self, host: &str, out: bool) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.out_of_service = out;
        }
    }

    /// Whether an update of the component failed somewhere.
    pub(super) fn update_failed(&self, component: &str) -> bool {
        let failed = |step: &str| self.failures.iter().any(|failure| failure.step == step);
        self.changed.iter().any(|update| update.component == component && failed(&update.step))
    }

    /// Whether every update of the component was turned down before it changed anything.
    pub(super) fn only_refused(&self, component: &str) -> bool {
        self.changed.iter().filter(|update| update.component == component).all(|update| update.only_refused)
    }

    /// Whether a backout at this path ended well on a host, with no update of the component after it.
    pub(super) fn backed_out(&self, component: &str, path: &str, host: &str) -> bool {
        let last = self.reports.iter().rev().find(|reported| {
            reported.component == component
                && (reported.step == path || reported.operation == Operation::Update)
                && is_of(&reported.target, host)
        });
        last.is_some_and(|reported| reported.operation == Operation::Backout)
    }

    /// Whether a step failed on a host.
    pub(super) fn failed(&self, path: &str, host: &str) -> bool {
        self.failures
            .iter()
            .any(|failure| failure.step == path && failure.target.as_ref().is_none_or(|target| is_of(target, host)))
    }

    /// Whether what the run saw last of a component on a host are the versions of a backup set.
    pub(super) fn seen_at(&self, component: &str, host: &str, set: &BackupSet) -> bool {
        let by_host = |version: &&ComponentVersion| matches!(&version.place, Place::Host(other) if other == host);
        let mut wanted: Vec<&ComponentVersion> = set.versions().filter(by_host).collect();
        if wanted.is_empty() {
            let parts = set.parts.iter().filter(|part| part.hosts.iter().any(|other| other == host));
            let versions = parts.flat_map(|part| &part.versions);
            wanted.extend(versions.filter(|version| !matches!(version.place, Place::Host(_))));
        }
        let seen = |wanted: &&ComponentVersion| {
            let reports = self.reports.iter().rev().filter(|reported| reported.component == component);
            let mut found = reports.flat_map(|reported| reported.report.versions.iter().rev());
            found.find(|found| found.place == wanted.place && found.part == wanted.part).map(|found| &found.version)
                == Some(&wanted.version)
        };
        !wanted.is_empty() && wanted.iter().all(seen)
    }

    /// Counts per host, in inventory order.
    pub(super) fn recap<'a>(&self, order: impl Iterator<Item = &'a String>) -> Recap {
        Recap(order.filter_map(|host| Some((host.clone(), *self.recap.get(host)?))).collect())
    }
}

/// Whether an operation over a target works on a host: one over a cluster does on all of its hosts.
fn is_of(target: &Target, host: &str) -> bool {
    match target {
        Target::Host(name) => name == host,
        Target::Cluster(_) | Target::Hosts => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_that_did_not_answer_is_unreachable() {
        let mut record = Record::default();
        let hosts = ["a".to_owned(), "b".to_owned()];
        let silent = || Ended { culprits: hosts[1..].to_vec(), ..Ended::nothing(StepOutcome::Unreachable) };
        record.count("s", &hosts, &Ended::nothing(StepOutcome::Changed));
        record.count("s", &hosts, &silent());
        record.count("t", &hosts, &silent());
        let recap = record.recap(hosts.iter());
        assert_eq!(recap.0["a"], HostRecap { ok: 1, changed: 1, ..HostRecap::default() });
        assert_eq!(recap.0["b"], HostRecap { ok: 1, changed: 1, unreachable: 1, ..HostRecap::default() });
    }
}
