//! The end of a run for people: the recap, and on a bad end what failed, where, what state each host is in, where the
//! journal is, and what to do next.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use runner_types::{Operation, Recap, RunOutcome, StepOutcome, Target};

use super::tally::Tried;
use super::{Tally, recap};
use crate::exit::Exit;
use crate::out::{Paint, printable};

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// Run.
    pub(crate) run: String,
    /// Its directory.
    pub(crate) directory: PathBuf,
    /// How.
    pub(crate) outcome: RunOutcome,
    /// Counts per host.
    pub(crate) recap: Recap,
    /// Why it did not end well.
    pub(crate) message: Option<String>,
    /// What state each host is in.
    pub(crate) hosts: Vec<HostState>,
    /// Commands that lead on.
    pub(crate) next: Vec<String>,
}

/// What is known of a host at the end.
#[derive(Debug, Clone)]
pub(crate) struct HostState {
    /// Host.
    pub(crate) host: String,
    /// The last step that worked on it, and how that ended.
    pub(crate) last: (String, StepOutcome),
    /// It was taken out of service and not brought back.
    pub(crate) out_of_service: bool,
}

impl HostState {
    /// What the run did to the host, in words.
    pub(crate) fn text(&self, tally: &Tally) -> String {
        let mut parts: Vec<String> = Vec::new();
        for tried in tally.attempts.values() {
            let (Some(component), Some(operation)) = (&tried.component, tried.operation) else {
                continue;
            };
            let here = match &tried.target {
                Target::Host(host) => *host == self.host,
                Target::Cluster(_) | Target::Hosts => tried.hosts.contains(&self.host),
            };
            if !here {
                continue;
            }
            let how = |outcome: StepOutcome| match self.fault_of_another(tried) {
                Some(other) => format!("not done ({other}: {outcome})"),
                None => outcome.to_string(),
            };
            let part = match (operation, tried.outcome) {
                // What went well and changed nothing is no state of a host.
                (_, Some(StepOutcome::Skipped))
                | (Operation::Verify | Operation::Maintenance, Some(StepOutcome::Ok | StepOutcome::Changed)) => {
                    continue;
                }
                (_, Some(StepOutcome::Changed)) => format!("{component}: {operation} done"),
                (Operation::Backup, Some(StepOutcome::Ok)) => format!("{component}: backup done"),
                (_, Some(StepOutcome::Ok)) => format!("{component}: as wanted already"),
                (_, Some(outcome @ (StepOutcome::Refused | StepOutcome::Declined))) => {
                    format!("{component}: {operation} {outcome}")
                }
                (Operation::Verify | Operation::Backup, Some(outcome)) => {
                    format!("{component}: {operation} {}", how(outcome))
                }
                (_, Some(outcome)) => {
                    format!("{component}: {operation} {}, may be half done", how(outcome))
                }
                (_, None) => format!("{component}: {operation} begun and not ended"),
            };
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        if parts.is_empty() {
            parts.push("not changed by this run".to_owned());
        }
        if self.out_of_service {
            parts.push("OUT OF SERVICE: taken out and not brought back".to_owned());
        }
        parts.join("; ")
    }

    /// The other host of a step over several that is named as the reason why it did not end well.
    fn fault_of_another<'a>(&self, tried: &'a Tried) -> Option<&'a str> {
        let named = tried.findings.iter().map(|finding| finding.subject.as_str());
        let mut named = named.filter(|subject| tried.hosts.iter().any(|host| host == subject)).peekable();
        let first = *named.peek()?;
        (!named.any(|host| host == self.host)).then_some(first)
    }
}

impl Ending {
    /// Path of the journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.join(runner_engine::journal::ENTRIES)
    }

    /// The end as text.
    pub(crate) fn text(&self, tally: &Tally, paint: Paint) -> String {
        let good = matches!(self.outcome, RunOutcome::Succeeded);
        let mut text = format!("\n{}\n", recap(&self.recap));
        let verdict = format!("run {} {}", self.run, verdict(self.outcome));
        let verdict = if good { paint.green(&verdict) } else { paint.red(&verdict) };
        let after =
            tally.span.map_or_else(String::new, |(first, last)| format!(" after {}", duration(last.since(first))));
        let _ = write!(text, "{verdict}{after}");
        match &self.message {
            Some(message) if !good => {
                let _ = writeln!(text, ":\n  {}", indented(message, "  "));
            }
            Some(_) | None => text.push('\n'),
        }
        if !good {
            self.failures(tally, paint, &mut text);
            self.states(tally, &mut text);
        }
        let _ = writeln!(text, "journal: {}", self.journal().display());
        if !good && !self.next.is_empty() {
            text.push_str("\nnext:\n");
            for command in &self.next {
                let _ = writeln!(text, "  {}", indented(command, "  "));
            }
            let _ = writeln!(text, "\nexit code {} ({})", Exit::of(self.outcome).code(), Exit::of(self.outcome).name());
        }
        text
    }

    fn failures(&self, tally: &Tally, paint: Paint, text: &mut String) {
        let mut failed = tally.failed().peekable();
        if failed.peek().is_some() {
            text.push_str("\nwhat failed:\n");
        }
        for tried in failed {
            let what = match (tried.operation, &tried.component) {
                (Some(operation), Some(component)) => format!(" ({operation} of {component})"),
                (None, _) | (_, None) => String::new(),
            };
            let outcome = tried.outcome.map_or("unfinished", |outcome| outcome.as_str());
            let _ = writeln!(text, "  {} on {}{what}: {}", tried.step, tried.target, paint.red(outcome));
            for reason in tried.why() {
                // What the run says of itself need not be said again.
                if self.message.as_deref().is_none_or(|message| !message.contains(reason)) {
                    let _ = writeln!(text, "    {}", indented(reason, "    "));
                }
            }
        }
    }

    fn states(&self, tally: &Tally, text: &mut String) {
        if self.hosts.is_empty() {
            return;
        }
        text.push_str("\nstate of the hosts:\n");
        let width = self.hosts.iter().map(|host| host.host.chars().count()).max().unwrap_or(0);
        for host in &self.hosts {
            let _ = writeln!(text, "  {:<width$}  {}", host.host, indented(&host.text(tally), "    "));
        }
        text.push('\n');
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        use runner_types::HostRecap;
        let counts = HostRecap { ok: 3, changed: 2, failed: 1, ..HostRecap::default() };
        Self {
            run: "run-1".to_owned(),
            directory: PathBuf::from("/state/runs/run-1"),
            outcome: RunOutcome::Failed,
            recap: Recap([("node-1".to_owned(), counts)].into_iter().collect()),
            message: Some("step nodes failed on node-1".to_owned()),
            hosts: vec![HostState {
                host: "node-1".to_owned(),
                last: ("nodes/node-1/kubernetes".to_owned(), StepOutcome::Failed),
                out_of_service: true,
            }],
            next: vec!["runner run update-all.json".to_owned()],
        }
    }
}

/// A run's outcome as the end of a sentence.
pub(crate) const fn verdict(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Succeeded => "succeeded",
        RunOutcome::Refused => "was refused",
        RunOutcome::Denied => "was denied an effect",
        RunOutcome::Unreachable => "did not reach a host or an API",
        RunOutcome::Failed => "failed",
        RunOutcome::Declined => "was declined by the operator",
        RunOutcome::Unanswerable => "has a question that nobody can answer",
        RunOutcome::Cancelled => "was cancelled",
        RunOutcome::InDoubt => "left an effect in doubt",
        RunOutcome::BackedOut => "failed and was backed out",
        RunOutcome::Stuck => "is stuck: backing out failed too",
    }
}

/// A time span for people, in at most two units.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Further lines of a text, indented.
pub(crate) fn indented(text: &str, by: &str) -> String {
    printable(text.trim_end()).replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::tally::tests::{ended, failed_run};

    #[test]
    fn a_bad_end_says_what_failed_where_and_what_to_do() {
        let mut tally = Tally::default();
        for event in failed_run() {
            tally.take(&event);
        }
        let text = Ending::example().text(&tally, Paint::default());
        assert_eq!(
            text,
            "\n\
             PLAY RECAP *********************************************************************\n\
             node-1                     : ok=3    changed=2    unreachable=0    failed=1\n\
             \n\
             run run-1 failed after 1 min 2 s:\n  \
               step nodes failed on node-1\n\
             \n\
             what failed:\n  \
               nodes/node-1/kubernetes on node-1 (update of kubernetes): failed\n    \
                 PodDisruptionBudget web/db allows no eviction\n\
             \n\
             state of the hosts:\n  \
               node-1  kubernetes: update failed, may be half done; OUT OF SERVICE: taken out and not brought back\n\
             \n\
             journal: /state/runs/run-1/journal.jsonl\n\
             \n\
             next:\n  \
               runner run update-all.json\n\
             \n\
             exit code 3 (failed)\n"
        );
    }

    #[test]
    fn no_host_has_the_state_of_another() {
        let mut tally = Tally::default();
        for event in failed_run() {
            tally.take(&event);
        }
        for tried in tally.attempts.values_mut().filter(|tried| tried.step.starts_with("nodes")) {
            tried.target = Target::Cluster("main".to_owned());
            tried.hosts = vec!["node-1".to_owned(), "node-2".to_owned()];
            tried.outcome = Some(StepOutcome::Unreachable);
            tried.findings[0].subject = "node-2".to_owned();
        }
        let state = |host: &str| HostState { host: host.to_owned(), ..Ending::example().hosts.remove(0) }.text(&tally);
        assert!(state("node-1").starts_with("kubernetes: update not done (node-2: unreachable), may be half done"));
        assert!(state("node-2").starts_with("kubernetes: update unreachable, may be half done"));
    }

    #[test]
    fn a_good_end_is_short() {
        let ending = Ending { outcome: RunOutcome::Succeeded, message: None, ..Ending::example() };
        let mut tally = Tally::default();
        tally.take(&ended(5, RunOutcome::Succeeded));
        let text = ending.text(&tally, Paint::default());
        assert!(
            text.ends_with("\nrun run-1 succeeded after 0 ms\njournal: /state/runs/run-1/journal.jsonl\n"),
            "{text}"
        );
    }

    #[test]
    fn spans_are_told_in_two_units() {
        let told = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([told(59), told(61), told(3_725)], ["59 s", "1 min 1 s", "1 h 2 min"]);
        assert_eq!(duration(Duration::from_millis(850)), "850 ms");
    }
}
