//! How a unit of work ended, from what the plugin answered.

use std::collections::HashSet;

use runner_types::{Artifact, Digest, Finding, Report, StepOutcome};
use serde_json::Value;

use crate::capability::place_name;
use crate::contract::operations::{Verdict, Verification};
use crate::contract::types::{self, Problem};
use crate::contract::{Failure, FailureKind};
use crate::gate::Stop;

/// How a unit of work ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: StepOutcome,
    pub(super) report: Option<Report>,
    pub(super) findings: Vec<Finding>,
    /// The run must stop.
    pub(super) stop: Option<Stop>,
    /// The platform is other than before, however it ended.
    pub(super) changed: bool,
    /// Hosts that caused a failure or a refusal; none: no host in particular.
    pub(super) culprits: Vec<String>,
    /// Artifacts of the report, in the order in which they were stored.
    pub(super) artifacts: Vec<Artifact>,
    /// What the plugin passed on.
    pub(super) failure: Option<Failure>,
}

impl Ended {
    pub(super) fn nothing(outcome: StepOutcome) -> Self {
        Self {
            outcome,
            report: None,
            findings: Vec::new(),
            stop: None,
            changed: outcome == StepOutcome::Changed,
            culprits: Vec::new(),
            artifacts: Vec::new(),
            failure: None,
        }
    }

    pub(super) fn with(outcome: StepOutcome, code: &str, subject: &str, message: String) -> Self {
        let finding = Finding { code: code.to_owned(), subject: subject.to_owned(), message };
        Self { findings: vec![finding], ..Self::nothing(outcome) }
    }

    pub(super) fn failed(code: &str, subject: &str, message: String) -> Self {
        Self::with(StepOutcome::Failed, code, subject, message)
    }

    pub(super) fn stopped(stop: Stop) -> Self {
        let (outcome, code) = match &stop {
            Stop::Cancelled => (StepOutcome::Cancelled, "cancelled"),
            Stop::Unanswerable { .. } => (StepOutcome::Cancelled, "unanswerable"),
            Stop::InDoubt(_) => (StepOutcome::InDoubt, "in-doubt"),
            Stop::Journal(_) => (StepOutcome::Failed, "journal"),
        };
        let message = stop.to_string();
        Self { stop: Some(stop), ..Self::with(outcome, code, "", message) }
    }

    pub(super) fn problem(problem: Problem, hosts: &[String]) -> Self {
        let failure = match problem {
            Problem::Refused(findings) => {
                let findings: Vec<Finding> = findings
                    .into_iter()
                    .map(|finding| Finding { code: finding.code, subject: finding.subject, message: finding.message })
                    .collect();
                let culprits = named(hosts, findings.iter().map(|finding| finding.subject.as_str()));
                return Self { findings, culprits, ..Self::nothing(StepOutcome::Refused) };
            }
            Problem::Declined(what) => {
                let subject = match hosts {
                    [host] => host,
                    _ => "",
                };
                return Self::with(StepOutcome::Declined, "declined", subject, what);
            }
            Problem::Failed(failure) => failure,
        };
        let (outcome, code) = match &failure.kind {
            FailureKind::Denied(_) => (StepOutcome::Denied, "denied"),
            FailureKind::Unreachable => (StepOutcome::Unreachable, "unreachable"),
            FailureKind::NotFound => (StepOutcome::Failed, "not-found"),
            FailureKind::Conflict(_) => (StepOutcome::Failed, "conflict"),
            FailureKind::TimedOut => (StepOutcome::Failed, "timed-out"),
            FailureKind::Invalid => (StepOutcome::Failed, "invalid"),
            FailureKind::Failed(_) => (StepOutcome::Failed, "failed"),
            FailureKind::TooLarge => (StepOutcome::Failed, "too-large"),
            FailureKind::Unsupported => (StepOutcome::Failed, "unsupported"),
            FailureKind::NotAttempted => (StepOutcome::Failed, "not-attempted"),
            FailureKind::Other(kind) => (StepOutcome::Failed, kind.as_str()),
        };
        let mut message = failure.message.clone();
        if let FailureKind::Failed(exit) = &failure.kind
            && !exit.tail.trim().is_empty()
        {
            message = format!("{message}: {}", exit.tail.trim());
        }
        let culprits = named(hosts, std::iter::once(failure.subject.as_str()));
        let ended = Self::with(outcome, code, &failure.subject, message);
        Self { culprits, failure: Some(failure.clone()), ..ended }
    }

    /// A verification that only tells: it ended well whatever it found.
    pub(super) fn looked(verification: Verification) -> Self {
        let ended = Self::verified(verification);
        match ended.report {
            Some(_) => Self { outcome: StepOutcome::Ok, ..ended },
            None => ended,
        }
    }

    pub(super) fn verified(verification: Verification) -> Self {
        let findings: Vec<Finding> = verification
            .checks
            .iter()
            .filter(|check| check.verdict != Verdict::Pass)
            .map(|check| {
                let place = place_name(&check.place);
                let message =
                    format!("{} on {place}: expected {}, found {}", check.name, check.expected, check.observed);
                Finding { code: check.name.clone(), subject: place.to_owned(), message }
            })
            .collect();
        let summary = match findings.len() {
            0 => format!("{} checks passed", verification.checks.len()),
            failed => format!("{failed} of {} checks failed", verification.checks.len()),
        };
        let read = || -> Result<Report, serde_json::Error> {
            let checks = serde_json::from_value(serde_json::to_value(&verification.checks)?)?;
            let versions = serde_json::from_value(serde_json::to_value(&verification.versions)?)?;
            Ok(Report { summary, checks, versions, ..Report::default() })
        };
        match read() {
            Err(error) => Self::failed("report", "", format!("its verification is wrong: {error}")),
            Ok(report) => {
                let outcome = if findings.is_empty() { StepOutcome::Ok } else { StepOutcome::Failed };
                Self { findings, report: Some(report), ..Self::nothing(outcome) }
            }
        }
    }

    /// A report of an operation that ended well.
    pub(super) fn reported(report: types::Report, stored: &[Artifact], host_saw_change: bool) -> Self {
        let report = match report_of(report) {
            Ok(report) => report,
            Err(reason) => return Self::failed("report", "", reason),
        };
        let kept: HashSet<&Digest> = stored.iter().map(|artifact| &artifact.digest).collect();
        if let Some(digest) = report.artifacts.iter().find(|digest| !kept.contains(digest)) {
            let message = format!("its report names the artifact {digest}, which it did not store");
            return Self::failed("report", digest.as_str(), message);
        }
        // Equal files of several hosts are one content under several names, all of which belong to the set.
        let wanted: HashSet<&Digest> = report.artifacts.iter().collect();
        let mut names = HashSet::new();
        let artifacts = stored
            .iter()
            .filter(|artifact| wanted.contains(&artifact.digest))
            .filter(|artifact| names.insert((&artifact.name, &artifact.origin)))
            .cloned()
            .collect();
        // The plugin can only add to what the host saw change.
        let changed = report.changed || host_saw_change;
        let outcome = if changed { StepOutcome::Changed } else { StepOutcome::Ok };
        Self { report: Some(Report { changed, ..report }), artifacts, changed, ..Self::nothing(outcome) }
    }
}

/// A report of the contract as the journal holds it.
fn report_of(report: types::Report) -> Result<Report, String> {
    let outputs: Value = if report.outputs.trim().is_empty() {
        Value::Object(serde_json::Map::new())
    } else {
        serde_json::from_str(&report.outputs)
            .map_err(|error| format!("the outputs of its report are no JSON: {error}"))?
    };
    let mut value = serde_json::to_value(&report).map_err(|error| error.to_string())?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("outputs".to_owned(), outputs);
    }
    serde_json::from_value(value).map_err(|error| format!("its report is wrong: {error}"))
}

/// The hosts that are among the subjects.
fn named<'a>(hosts: &[String], subjects: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    hosts.iter().filter(|host| subjects.clone().any(|subject| subject == *host)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::Place;

    fn stored(host: &str, content: &[u8; 32]) -> Artifact {
        Artifact {
            digest: Digest::from_bytes(content),
            size: 1,
            name: format!("{host}/kubelet.conf"),
            origin: Place::Host(host.to_owned()),
            labels: Vec::new(),
            file: None,
        }
    }

    fn report(artifacts: &[&Artifact]) -> types::Report {
        types::Report {
            changed: false,
            summary: String::new(),
            outputs: String::new(),
            artifacts: artifacts.iter().map(|artifact| artifact.digest.to_string()).collect(),
            versions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn equal_files_of_two_hosts_both_belong_to_the_set() {
        let all = [stored("a", &[1; 32]), stored("b", &[1; 32]), stored("c", &[2; 32])];
        let ended = Ended::reported(report(&[&all[0], &all[1]]), &all, false);
        let names: Vec<&str> = ended.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        assert_eq!(names, ["a/kubelet.conf", "b/kubelet.conf"]);
    }

    #[test]
    fn what_was_not_stored_is_no_artifact() {
        let ended = Ended::reported(report(&[&stored("a", &[1; 32])]), &[], false);
        assert_eq!(ended.outcome, StepOutcome::Failed);
    }
}
