//! Events in words: one line each, its kind first, so that a run's output can be searched.

use runner_types::{
    AnsweredBy, Attempt, Decision, EffectClass, EffectItem, Event, EventKind, Finding, LogLevel, Report, StepOutcome,
    Target,
};
use serde_json::Value;

use super::Tally;
use super::ending::{duration, indented};
use crate::out::{Paint, printable};

/// Width of the first column.
const KIND: usize = 11;
/// Items of an effect that are shown one by one.
const ITEMS: usize = 3;
/// Characters of an item's subject that are shown.
const SUBJECT: usize = 80;

/// How much is shown, and in which colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wording {
    /// 0: steps; 1: effects too; 2: everything.
    verbosity: u8,
    paint: Paint,
    /// Whether a question is seen by who reads these lines, because it is asked on the same terminal.
    questions_seen: bool,
}

impl Wording {
    pub(crate) fn new(verbosity: u8, paint: Paint, questions_seen: bool) -> Self {
        Self { verbosity, paint, questions_seen }
    }

    pub(crate) fn paint(self) -> Paint {
        self.paint
    }

    /// An event as whole lines; none: not shown at this verbosity.
    pub(crate) fn event(self, event: &Event, tally: &Tally) -> Option<String> {
        let text = match &event.what {
            EventKind::RunBegun { run, workflow, resumed, simulated, .. } => {
                let mut announced = Tally::default();
                announced.take(event);
                let (_, operations) = announced.progress();
                return Some(self.begun(run, workflow, *resumed, *simulated, operations));
            }
            EventKind::StepBegun { attempt, component, operation, hosts } => {
                let again = match attempt.attempt {
                    0 | 1 => String::new(),
                    number => format!(", attempt {number}"),
                };
                let on = on(&attempt.target, hosts);
                self.line("start", &of(attempt), &format!("{operation} {component}{on}{again}"))
            }
            EventKind::EffectBegun { call, function, class, items } => {
                if self.verbosity < effect_verbosity(*class) {
                    return None;
                }
                let kind = if class.is_write() { "write" } else { "read" };
                let long = self.verbosity > 1;
                self.line(kind, &of(&call.of()), &format!("{function}{}", listed(items, long)))
            }
            EventKind::EffectEnded { call, function, failed, changed, replayed } => {
                return self.effect_ended(&of(&call.of()), function, failed, *changed, *replayed);
            }
            EventKind::Progress { attempt, message, done, total } => {
                if self.verbosity < 1 {
                    return None;
                }
                self.line("progress", &of(attempt), &format!("{message}{}", counted(*done, *total)))
            }
            EventKind::Log { attempt, level, message } => {
                let (kind, from) = match level {
                    LogLevel::Debug => ("debug", 1),
                    LogLevel::Info => ("info", 0),
                    LogLevel::Warn => ("warning", 0),
                    LogLevel::Error => ("error", 0),
                };
                if self.verbosity < from {
                    return None;
                }
                self.line(kind, &of(attempt), message)
            }
            EventKind::Decided { what: Decision::BackupSet { component, set }, .. } => {
                self.line("backup-set", component, set)
            }
            EventKind::Decided { step, target, what } => {
                let (kind, text) = self.decision(what)?;
                self.line(kind, &place(step.as_deref(), target.as_ref()), &text)
            }
            EventKind::Soaking { step, hosts, time } => {
                self.line("soak", step, &format!("waiting {time} after {}", hosts.join(", ")))
            }
            EventKind::Waiting { prompt, message } => {
                if self.questions_seen {
                    return None;
                }
                self.line("waiting", prompt, message)
            }
            EventKind::StepEnded { attempt, outcome, report, findings } => {
                let begun =
                    tally.attempts.get(&(attempt.step.clone(), attempt.target.clone())).map(|tried| tried.begun);
                let took = begun.map(|begun| duration(event.time.since(begun)));
                return Some(self.step_ended(attempt, *outcome, report.as_ref(), findings, took));
            }
            // The end is told at length by the recap.
            EventKind::RunEnded { .. } => return None,
        };
        Some(text)
    }

    fn line(self, kind: &str, place: &str, text: &str) -> String {
        let kind_text = format!("{kind:<KIND$}");
        let kind_text = match kind {
            "failed" | "unreachable" | "denied" | "refused" | "error" | "timed-out" | "in-doubt" | "stopped" => {
                self.paint.red(&kind_text)
            }
            "warning" | "changed" | "waiting" | "cancelled" => self.paint.yellow(&kind_text),
            "ok" => self.paint.green(&kind_text),
            "effect" | "read" | "write" | "progress" | "debug" | "skipped" => self.paint.dim(&kind_text),
            _ => kind_text,
        };
        let text = indented(&printable(text), &" ".repeat(KIND + 3));
        if place.is_empty() { format!("{kind_text} {text}\n") } else { format!("{kind_text} {place}: {text}\n") }
    }

    fn begun(self, run: &str, workflow: &str, resumed: bool, simulated: bool, operations: usize) -> String {
        let mut text = String::new();
        if simulated {
            text.push_str(&self.paint.bold(&self.paint.yellow(SIMULATED)));
        }
        let verb = if resumed { "resumed" } else { "run" };
        text.push_str(&self.line(verb, "", &format!("{run}: workflow {workflow}, {operations} operations")));
        text
    }

    fn effect_ended(
        self,
        of: &str,
        function: &str,
        failed: &[EffectItem],
        changed: bool,
        replayed: bool,
    ) -> Option<String> {
        if self.verbosity < 1 {
            return None;
        }
        if failed.is_empty() {
            let how = match (replayed, changed) {
                (true, _) => "answered from the journal",
                (false, true) => "changed",
                (false, false) => return None,
            };
            return Some(self.line("effect", of, &format!("{function} {how}")));
        }
        let items: Vec<String> = failed.iter().map(|item| format!("{}: {}", item.place, item.subject)).collect();
        Some(self.line("effect", of, &format!("{function} failed\n{}", items.join("\n"))))
    }

    fn step_ended(
        self,
        attempt: &Attempt,
        outcome: StepOutcome,
        report: Option<&Report>,
        findings: &[Finding],
        took: Option<String>,
    ) -> String {
        let took = took.map_or_else(String::new, |took| format!(" ({took})"));
        let mut said = String::new();
        if let Some(report) = report.filter(|report| !report.summary.is_empty()) {
            said.push_str(&report.summary);
        }
        if !outcome.is_success() {
            for finding in findings {
                if !said.is_empty() {
                    said.push('\n');
                }
                said.push_str(&finding.message);
            }
        }
        if said.is_empty() {
            said.push_str(match outcome {
                StepOutcome::Ok => "nothing to do",
                StepOutcome::Changed => "done",
                StepOutcome::Skipped => "left out",
                StepOutcome::Refused
                | StepOutcome::Declined
                | StepOutcome::Denied
                | StepOutcome::Unreachable
                | StepOutcome::Failed
                | StepOutcome::TimedOut
                | StepOutcome::Cancelled
                | StepOutcome::InDoubt => "no reason given",
            });
        }
        let mut text = self.line(outcome.as_str(), &of(attempt), &format!("{said}{took}"));
        for check in report.iter().flat_map(|report| &report.checks) {
            // Findings tell already which checks failed.
            let told = check.verdict.is_pass() || !findings.is_empty();
            if !told || self.verbosity > 0 {
                let verdict = format!("{:?}", check.verdict).to_lowercase();
                let line =
                    format!("{} on {}: expected {}, found {}", check.name, check.place, check.expected, check.observed);
                text.push_str(&self.line(&format!("  {verdict}"), "", &line));
            }
        }
        for warning in report.iter().flat_map(|report| &report.warnings) {
            text.push_str(&self.line("warning", &of(attempt), &warning.message));
        }
        text
    }

    /// The first column and the text of a decision; none: not shown at this verbosity.
    fn decision(self, what: &Decision) -> Option<(&'static str, String)> {
        Some(match what {
            Decision::Fixed { values } => {
                if self.verbosity < 2 {
                    return None;
                }
                ("fixed", Value::Object(values.clone()).to_string())
            }
            Decision::Gate { name, held: true, .. } => {
                if self.verbosity < 1 {
                    return None;
                }
                ("gate", format!("{name} holds"))
            }
            Decision::Gate { name, held: false, message } => {
                let message = message.as_deref().unwrap_or("it does not hold");
                ("refused", format!("{name}: {message}"))
            }
            Decision::Batch { number, hosts } => {
                let hosts = few(hosts).unwrap_or_default();
                ("batch", format!("number {}: {hosts}", number + 1))
            }
            Decision::Skipped { reason } => ("skipped", reason.clone()),
            Decision::Threshold { failures, limit } => {
                ("stopped", format!("{failures} hosts failed, {limit} are tolerated"))
            }
            Decision::Retry { attempt, delay } => ("retry", format!("attempt {attempt} after {delay}")),
            Decision::TimedOut { after } => ("timed-out", format!("after {after}")),
            Decision::Answered { prompt, answer, by, .. } => ("answer", answered(prompt, answer, by)),
            Decision::BackupSet { component, set } => ("backup-set", format!("{component}: {set}")),
            Decision::Cancelled { by } => {
                let by = by.as_ref().map_or_else(|| "a signal".to_owned(), ToString::to_string);
                ("cancelled", format!("asked to stop by {by}; effects under way finish"))
            }
            Decision::Resumed { by, runner } => ("resumed", format!("by {by} with runner {runner}")),
            Decision::Unwinding { steps } => ("unwinding", steps.join(", ")),
        })
    }
}

/// Who answered what, and how.
pub(crate) fn answered(prompt: &str, answer: &Value, by: &AnsweredBy) -> String {
    let who = match by {
        // What stands there is the input's value, which may well be what makes the question needless.
        AnsweredBy::Input { name } => {
            return format!("{prompt}: not asked, {}", given(name, answer));
        }
        AnsweredBy::Operator { who, terminal: Some(terminal) } => format!("{who} at {terminal}"),
        AnsweredBy::Operator { who, terminal: None } => who.to_string(),
    };
    let answer = match answer {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{prompt}: {answer}, by {who}")
}

/// An input with its value, as operators write it.
fn given(name: &str, value: &Value) -> String {
    match value {
        Value::Bool(true) => format!("-e {name}=True"),
        Value::Bool(false) => format!("-e {name}=False"),
        Value::String(text) => format!("-e {name}={text}"),
        other => format!("-e {name}={other}"),
    }
}

/// What every run on a simulated platform says first.
pub(crate) const SIMULATED: &str = "\
*** SIMULATED PLATFORM: no real host is touched. `runner platform show` shows it, `runner platform reset` begins anew. ***
";

/// From which verbosity on an effect of that class is shown.
const fn effect_verbosity(class: EffectClass) -> u8 {
    match class {
        EffectClass::Read | EffectClass::WriteIdempotent | EffectClass::WriteOnce => 1,
        EffectClass::None => 2,
    }
}

fn of(attempt: &Attempt) -> String {
    place(Some(&attempt.step), Some(&attempt.target))
}

fn place(step: Option<&str>, target: Option<&Target>) -> String {
    match (step, target) {
        (Some(step), Some(target)) => format!("{step} [{target}]"),
        (Some(step), None) => step.to_owned(),
        (None, Some(target)) => format!("[{target}]"),
        (None, None) => String::new(),
    }
}

/// The hosts of an attempt, when its target does not name them.
fn on(target: &Target, hosts: &[String]) -> String {
    match target {
        Target::Host(_) => String::new(),
        Target::Cluster(_) | Target::Hosts => few(hosts).map_or_else(String::new, |hosts| format!(" on {hosts}")),
    }
}

/// A list of names that fits a line.
fn few(names: &[String]) -> Option<String> {
    const MOST: usize = 6;
    match names.len() {
        0 => None,
        count if count <= MOST => Some(names.join(", ")),
        count => {
            let shown: Vec<&str> = names.iter().take(MOST - 1).map(String::as_str).collect();
            Some(format!("{} and {} more", shown.join(", "), count - shown.len()))
        }
    }
}

fn listed(items: &[EffectItem], long: bool) -> String {
    let most = if long { usize::MAX } else { ITEMS };
    let mut text = String::new();
    let mut last = None;
    for item in items.iter().take(most) {
        let place = item.place.to_string();
        text.push_str(match &last {
            Some(last) if *last == place => ", ",
            Some(_) => "; ",
            None => " ",
        });
        if last.as_ref() != Some(&place) {
            text.push_str(&place);
            text.push_str(": ");
        }
        text.push_str(&if long { item.subject.clone() } else { short(&item.subject) });
        last = Some(place);
    }
    if items.len() > most {
        text.push_str(&format!(" and {} more", items.len() - most));
    }
    text
}

/// A subject that leaves room for others in a line.
fn short(subject: &str) -> String {
    match subject.char_indices().nth(SUBJECT) {
        Some((end, _)) => format!("{}…", subject.get(..end).unwrap_or_default()),
        None => subject.to_owned(),
    }
}

pub(super) fn counted(done: Option<u32>, total: Option<u32>) -> String {
    match (done, total) {
        (Some(done), Some(total)) => format!(" ({done}/{total})"),
        (Some(done), None) => format!(" ({done})"),
        (None, Some(_)) | (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests;
