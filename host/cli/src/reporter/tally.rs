//! What has happened in a run so far: a fold over its events.

use std::collections::HashMap;

use indexmap::IndexMap;
use runner_types::{
    Attempt, Decision, Event, EventKind, Finding, Operation, Report, StepOutcome, StepOutline, Target, Timestamp,
};
use serde::Serialize;

/// A run as its events tell it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Run.
    pub(crate) run: String,
    /// Workflow.
    pub(crate) workflow: String,
    /// Whether its platform is a simulated one.
    pub(crate) simulated: bool,
    /// Its steps in order, as announced.
    pub(crate) outline: Vec<StepOutline>,
    /// The latest attempt of each step and target, in the order of their first one.
    pub(crate) attempts: IndexMap<(String, Target), Tried>,
    /// Places in `attempts` of each step.
    places: HashMap<String, Vec<usize>>,
    /// Time of the first and of the last event.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// The latest attempt of a step over a target.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Tried {
    /// Step.
    pub(crate) step: String,
    /// Target.
    pub(crate) target: Target,
    /// Number of the attempt.
    pub(crate) attempt: u32,
    /// Component.
    pub(crate) component: Option<String>,
    /// Operation.
    pub(crate) operation: Option<Operation>,
    /// Hosts.
    pub(crate) hosts: Vec<String>,
    /// When it began.
    pub(crate) begun: Timestamp,
    /// When it ended.
    pub(crate) ended: Option<Timestamp>,
    /// How it ended.
    pub(crate) outcome: Option<StepOutcome>,
    /// Why it was left out.
    pub(crate) reason: Option<String>,
    /// What the plugin reported.
    pub(crate) report: Option<Report>,
    /// Why it did not end well.
    pub(crate) findings: Vec<Finding>,
    /// What its effects that failed said, the latest last.
    #[serde(skip)]
    pub(crate) failures: Vec<String>,
}

/// Failed effects that are kept of an attempt.
const FAILURES: usize = 5;

impl Tally {
    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event) {
        let first = self.span.map_or(event.time, |(first, _)| first);
        self.span = Some((first, event.time));
        match &event.what {
            EventKind::RunBegun { run, workflow, simulated, steps, .. } => {
                self.run.clone_from(run);
                self.workflow.clone_from(workflow);
                self.simulated = *simulated;
                self.outline.clone_from(steps);
            }
            EventKind::StepBegun { attempt, component, operation, hosts } => {
                let tried = Tried {
                    component: Some(component.clone()),
                    operation: Some(*operation),
                    hosts: hosts.clone(),
                    ..Tried::of(attempt, event.time)
                };
                *self.tried(attempt, event.time) = tried;
            }
            EventKind::EffectEnded { call, failed, .. } => {
                let tried = self.tried(&call.of(), event.time);
                for item in failed {
                    tried.failures.push(format!("{}: {}", item.place, item.subject));
                }
                let surplus = tried.failures.len().saturating_sub(FAILURES);
                tried.failures.drain(..surplus);
            }
            EventKind::Decided { step: Some(step), target, what: Decision::Skipped { reason } } => {
                let target = target.clone().unwrap_or(Target::Hosts);
                let attempt = Attempt { step: step.clone(), target, attempt: 1 };
                let outline = self.outline.iter().find(|outline| outline.step == *step).cloned();
                let tried = self.tried(&attempt, event.time);
                if let Some(outline) = outline {
                    tried.component = outline.component;
                    tried.operation = outline.operation;
                    tried.hosts = outline.hosts;
                }
                tried.outcome = Some(StepOutcome::Skipped);
                tried.reason = Some(reason.clone());
                tried.ended = Some(event.time);
            }
            EventKind::StepEnded { attempt, outcome, report, findings } => {
                let tried = self.tried(attempt, event.time);
                tried.outcome = Some(*outcome);
                tried.report.clone_from(report);
                tried.findings.clone_from(findings);
                tried.ended = Some(event.time);
            }
            EventKind::EffectBegun { .. }
            | EventKind::Progress { .. }
            | EventKind::Log { .. }
            | EventKind::Decided { .. }
            | EventKind::Soaking { .. }
            | EventKind::Waiting { .. }
            | EventKind::RunEnded { .. } => {}
        }
    }

    fn tried(&mut self, attempt: &Attempt, time: Timestamp) -> &mut Tried {
        let entry = self.attempts.entry((attempt.step.clone(), attempt.target.clone()));
        if let indexmap::map::Entry::Vacant(vacant) = &entry {
            let places = self.places.entry(attempt.step.clone()).or_default();
            places.push(vacant.index());
        }
        entry.or_insert_with(|| Tried::of(attempt, time))
    }

    /// Attempts that did not end well and were not made good by a later one.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &Tried> {
        self.attempts.values().filter(|tried| tried.outcome.is_some_and(|outcome| !outcome.is_success()))
    }

    /// Announced operations that have ended, and all of them. One within a rolling block counts once for each host.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let (mut ended, mut total) = (0, 0);
        for step in self.outline.iter().filter(|step| step.component.is_some()) {
            let (block, name) = step.step.rsplit_once('/').unwrap_or(("", &step.step));
            let rolls = |outline: &&StepOutline| {
                outline.step == block && outline.component.is_none() && !outline.hosts.is_empty()
            };
            match self.outline.iter().find(rolls) {
                Some(rolling) => {
                    total += rolling.hosts.len();
                    ended += rolling
                        .hosts
                        .iter()
                        .filter(|host| self.has_ended(&format!("{block}/{host}/{name}"), 1))
                        .count();
                }
                None => {
                    total += 1;
                    ended += usize::from(self.has_ended(&step.step, step.hosts.len()));
                }
            }
        }
        (ended, total)
    }

    /// Whether a step has ended on all its targets: one for all hosts, or one a host.
    fn has_ended(&self, step: &str, hosts: usize) -> bool {
        let mut targets = 0;
        let places = self.places.get(step).map_or(&[][..], Vec::as_slice);
        for (_, tried) in places.iter().filter_map(|place| self.attempts.get_index(*place)) {
            if tried.outcome.is_none() {
                return false;
            }
            targets += match tried.target {
                Target::Host(_) => 1,
                Target::Cluster(_) | Target::Hosts => hosts.max(1),
            };
        }
        targets >= hosts.max(1)
    }
}

impl Tried {
    fn of(attempt: &Attempt, begun: Timestamp) -> Self {
        Self {
            step: attempt.step.clone(),
            target: attempt.target.clone(),
            attempt: attempt.attempt,
            component: None,
            operation: None,
            hosts: Vec::new(),
            begun,
            ended: None,
            outcome: None,
            reason: None,
            report: None,
            findings: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// What it said when it ended, or the best that is known.
    pub(crate) fn why(&self) -> Vec<&str> {
        if self.findings.is_empty() {
            self.failures.last().map(String::as_str).into_iter().collect()
        } else {
            self.findings.iter().map(|finding| finding.message.as_str()).collect()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use runner_types::{CallId, EffectClass, EffectItem, LogLevel, Place, Recap, RunOutcome};

    pub(crate) fn at(seconds: i64, what: EventKind) -> Event {
        Event { index: 0, time: Timestamp::from_unix_millis(1_795_247_506_000 + seconds * 1_000), what }
    }

    pub(crate) fn attempt(number: u32) -> Attempt {
        Attempt {
            step: "nodes/node-1/kubernetes".to_owned(),
            target: Target::Host("node-1".to_owned()),
            attempt: number,
        }
    }

    pub(crate) fn begun(seconds: i64, number: u32) -> Event {
        at(
            seconds,
            EventKind::StepBegun {
                attempt: attempt(number),
                component: "kubernetes".to_owned(),
                operation: Operation::Update,
                hosts: vec!["node-1".to_owned()],
            },
        )
    }

    pub(crate) fn step_ended(seconds: i64, number: u32, outcome: StepOutcome) -> Event {
        let findings = match outcome.is_success() {
            true => Vec::new(),
            false => vec![Finding {
                code: "blocked".to_owned(),
                subject: "web/db".to_owned(),
                message: "PodDisruptionBudget web/db allows no eviction".to_owned(),
            }],
        };
        let report = outcome.is_success().then(|| Report {
            changed: true,
            summary: "kubelet 1.34.4".to_owned(),
            ..Report::default()
        });
        at(seconds, EventKind::StepEnded { attempt: attempt(number), outcome, report, findings })
    }

    pub(crate) fn ended(seconds: i64, outcome: RunOutcome) -> Event {
        at(seconds, EventKind::RunEnded { outcome, recap: Recap::default(), message: None })
    }

    pub(crate) fn call() -> CallId {
        CallId { step: attempt(1).step, target: attempt(1).target, attempt: 1, index: 4 }
    }

    pub(crate) fn item(subject: &str) -> EffectItem {
        EffectItem { place: Place::Host("node-1".to_owned()), subject: subject.to_owned() }
    }

    /// A run with one of everything that ends badly.
    pub(crate) fn failed_run() -> Vec<Event> {
        vec![
            at(
                0,
                EventKind::RunBegun {
                    run: "run-1".to_owned(),
                    workflow: "update-all".to_owned(),
                    resumed: false,
                    simulated: true,
                    steps: vec![
                        StepOutline {
                            step: "nodes".to_owned(),
                            component: None,
                            operation: None,
                            hosts: vec!["node-1".to_owned()],
                        },
                        StepOutline {
                            step: "nodes/kubernetes".to_owned(),
                            component: Some("kubernetes".to_owned()),
                            operation: Some(Operation::Update),
                            hosts: Vec::new(),
                        },
                        StepOutline {
                            step: "metrics".to_owned(),
                            component: Some("metrics".to_owned()),
                            operation: Some(Operation::Update),
                            hosts: vec!["node-1".to_owned()],
                        },
                    ],
                },
            ),
            begun(1, 1),
            at(2, EventKind::Log { attempt: attempt(1), level: LogLevel::Info, message: "draining node-1".to_owned() }),
            at(
                3,
                EventKind::EffectBegun {
                    call: call(),
                    function: "systemd.stop".to_owned(),
                    class: EffectClass::WriteIdempotent,
                    items: vec![item("kubelet.service")],
                },
            ),
            at(
                4,
                EventKind::EffectEnded {
                    call: call(),
                    function: "systemd.stop".to_owned(),
                    failed: vec![item("job timed out")],
                    changed: false,
                    replayed: false,
                },
            ),
            step_ended(61, 1, StepOutcome::Failed),
            at(
                61,
                EventKind::Decided {
                    step: Some("metrics".to_owned()),
                    target: None,
                    what: Decision::Skipped { reason: "nodes did not succeed".to_owned() },
                },
            ),
            ended(62, RunOutcome::Failed),
        ]
    }

    fn tally(events: &[Event]) -> Tally {
        let mut tally = Tally::default();
        events.iter().for_each(|event| tally.take(event));
        tally
    }

    #[test]
    fn a_later_attempt_makes_an_earlier_failure_good() {
        let mut events = vec![begun(0, 1), step_ended(1, 1, StepOutcome::Failed)];
        assert_eq!(tally(&events).failed().count(), 1);
        events.extend([begun(2, 2), step_ended(3, 2, StepOutcome::Changed)]);
        let tally = tally(&events);
        assert_eq!(tally.failed().count(), 0);
        assert_eq!(tally.attempts.len(), 1);
    }

    #[test]
    fn what_was_left_out_keeps_its_reason() {
        let tally = tally(&failed_run());
        let skipped = &tally.attempts[&("metrics".to_owned(), Target::Hosts)];
        assert_eq!(skipped.outcome, Some(StepOutcome::Skipped));
        assert_eq!(skipped.component.as_deref(), Some("metrics"));
        assert_eq!(tally.progress(), (2, 2));
    }

    #[test]
    fn a_step_over_hosts_has_ended_when_all_of_them_have() {
        let mut events = failed_run();
        let EventKind::RunBegun { steps, .. } = &mut events[0].what else { panic!("a run begins first") };
        steps[0].hosts.push("node-2".to_owned());
        assert_eq!(tally(&events[..2]).progress(), (0, 3));
        assert_eq!(tally(&events).progress(), (2, 3));
    }

    #[test]
    fn without_findings_the_last_failed_effect_says_why() {
        let mut tried = Tried::of(&attempt(1), Timestamp::from_unix_millis(0));
        tried.failures = vec!["node-1: first".to_owned(), "node-1: job timed out".to_owned()];
        assert_eq!(tried.why(), ["node-1: job timed out"]);
    }
}
