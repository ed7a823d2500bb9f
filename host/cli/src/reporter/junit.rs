//! JUnit XML for continuous integration: one test case a step and target, one for each check of a verify.

use std::fmt::Write as _;
use std::io::{self, Write};

use runner_types::{Check, Event, StepOutcome, Verdict};

use super::tally::Tried;
use super::{Ending, Reporter, Tally};
use crate::exit::Exit;

/// One XML document when the run is over.
pub(crate) struct Junit<W> {
    out: W,
    tally: Tally,
}

impl<W: Write + Send> Junit<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, tally: Tally::default() }
    }
}

impl<W: Write + Send> Reporter for Junit<W> {
    fn name(&self) -> &'static str {
        "junit"
    }

    fn is_output(&self) -> bool {
        true
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tally.take(event);
        Ok(())
    }

    fn end(&mut self, ending: &Ending) -> io::Result<()> {
        self.out.write_all(document(&self.tally, ending).as_bytes())?;
        self.out.flush()
    }
}

/// How a test case ended.
enum Case {
    Passed,
    Failed(String),
    /// Ended for a reason that is not the platform's.
    Error(String),
    Skipped(String),
}

#[derive(Default)]
struct Counts {
    tests: u32,
    failures: u32,
    errors: u32,
    skipped: u32,
}

/// The document of a run that could not begin: one case, which says why.
pub(crate) fn refused(message: &str, exit: Exit) -> String {
    let mut cases = String::new();
    let mut counts = Counts::default();
    counts.case(&mut cases, "runner", "run", 0.0, &Case::Error(message.to_owned()));
    counts.framed("runner", None, &[("outcome", exit.name())], 0.0, &cases)
}

fn document(tally: &Tally, ending: &Ending) -> String {
    let mut cases = String::new();
    let mut counts = Counts::default();
    for tried in tally.attempts.values() {
        let class = format!("{}.{}", tally.workflow, tried.step.replace('/', "."));
        let seconds = tried.ended.map_or(0.0, |ended| ended.since(tried.begun).as_secs_f64());
        counts.case(&mut cases, &class, &tried.target.to_string(), seconds, &of_step(tried));
        for check in tried.report.iter().flat_map(|report| &report.checks) {
            counts.case(&mut cases, &class, &format!("{} on {}", check.name, check.place), 0.0, &of_check(check));
        }
    }
    if tally.attempts.is_empty()
        && let Some(message) = &ending.message
    {
        counts.case(&mut cases, &tally.workflow, "run", 0.0, &Case::Error(message.clone()));
    }
    let seconds = tally.span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64());
    let journal = ending.journal().display().to_string();
    let properties = [("outcome", ending.outcome.as_str()), ("journal", journal.as_str())];
    counts.framed(&tally.workflow, Some(&ending.run), &properties, seconds, &cases)
}

impl Counts {
    /// The cases that were counted, as one document.
    fn framed(&self, name: &str, run: Option<&str>, properties: &[(&str, &str)], seconds: f64, cases: &str) -> String {
        let Self { tests, failures, errors, skipped } = self;
        let numbers = format!(
            "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\""
        );
        let id = run.map_or_else(String::new, |run| format!(" id=\"{}\"", escaped(run)));
        let mut listed = String::new();
        for (name, value) in properties {
            let _ = writeln!(listed, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"runner\" {numbers}>\n  \
               <testsuite name=\"{}\"{id} {numbers}>\n    \
                 <properties>\n\
             {listed}    \
                 </properties>\n\
             {cases}  \
               </testsuite>\n\
             </testsuites>\n",
            escaped(name)
        )
    }

    fn case(&mut self, out: &mut String, class: &str, name: &str, seconds: f64, case: &Case) {
        self.tests += 1;
        let _ = write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
            escaped(class),
            escaped(name)
        );
        let (element, message) = match case {
            Case::Passed => {
                out.push_str("/>\n");
                return;
            }
            Case::Failed(message) => {
                self.failures += 1;
                ("failure", message)
            }
            Case::Error(message) => {
                self.errors += 1;
                ("error", message)
            }
            Case::Skipped(message) => {
                self.skipped += 1;
                ("skipped", message)
            }
        };
        let _ = writeln!(out, ">\n      <{element} message=\"{}\"/>\n    </testcase>", escaped(message));
    }
}

fn of_step(tried: &Tried) -> Case {
    let why = || {
        let why = tried.why().join("\n");
        let outcome = tried.outcome.map_or("unfinished", |outcome| outcome.as_str());
        if why.is_empty() { outcome.to_owned() } else { format!("{outcome}: {why}") }
    };
    match tried.outcome {
        Some(StepOutcome::Ok | StepOutcome::Changed) => Case::Passed,
        Some(StepOutcome::Skipped) => Case::Skipped(tried.reason.clone().unwrap_or_default()),
        Some(StepOutcome::Failed | StepOutcome::Refused | StepOutcome::Declined | StepOutcome::TimedOut) => {
            Case::Failed(why())
        }
        Some(StepOutcome::Denied | StepOutcome::Unreachable | StepOutcome::Cancelled | StepOutcome::InDoubt) | None => {
            Case::Error(why())
        }
    }
}

fn of_check(check: &Check) -> Case {
    match check.verdict {
        Verdict::Pass => Case::Passed,
        Verdict::Fail => Case::Failed(format!("expected {}, found {}", check.expected, check.observed)),
        Verdict::Unknown => Case::Error(format!("expected {}, could not find out: {}", check.expected, check.observed)),
    }
}

/// Text for an attribute. XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::tally::tests::{at, attempt, begun, failed_run};
    use runner_types::{EventKind, Place, Report};

    fn shown(events: &[Event]) -> String {
        let mut out = Vec::new();
        let mut junit = Junit::new(&mut out);
        for event in events {
            junit.event(event).unwrap();
        }
        junit.end(&Ending::example()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_that_could_not_begin_is_one_error() {
        assert_eq!(
            refused("error: no inventory is named\n  hint: name it with -i FILE", Exit::Usage),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"runner\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.000\">\n  \
               <testsuite name=\"runner\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.000\">\n    \
                 <properties>\n      \
                   <property name=\"outcome\" value=\"usage\"/>\n    \
                 </properties>\n    \
                 <testcase classname=\"runner\" name=\"run\" time=\"0.000\">\n      \
                   <error message=\"error: no inventory is named&#10;  hint: name it with -i FILE\"/>\n    \
                 </testcase>\n  \
               </testsuite>\n\
             </testsuites>\n"
        );
    }

    #[test]
    fn failures_and_skips_are_counted_and_explained() {
        assert_eq!(
            shown(&failed_run()),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"runner\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"62.000\">\n  \
               <testsuite name=\"update-all\" id=\"run-1\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"62.000\">\n    \
                 <properties>\n      \
                   <property name=\"outcome\" value=\"failed\"/>\n      \
                   <property name=\"journal\" value=\"/state/runs/run-1/journal.jsonl\"/>\n    \
                 </properties>\n    \
                 <testcase classname=\"update-all.nodes.node-1.kubernetes\" name=\"node-1\" time=\"60.000\">\n      \
                   <failure message=\"failed: PodDisruptionBudget web/db allows no eviction\"/>\n    \
                 </testcase>\n    \
                 <testcase classname=\"update-all.metrics\" name=\"hosts\" time=\"0.000\">\n      \
                   <skipped message=\"nodes did not succeed\"/>\n    \
                 </testcase>\n  \
               </testsuite>\n\
             </testsuites>\n"
        );
    }

    #[test]
    fn checks_are_cases_of_their_own_and_text_is_escaped() {
        let check = |verdict| Check {
            name: "node-ready".to_owned(),
            place: Place::Host("node-1".to_owned()),
            expected: "<Ready> & \"well\"".to_owned(),
            observed: "a\u{1}b".to_owned(),
            verdict,
        };
        let report = Report {
            checks: vec![check(Verdict::Pass), check(Verdict::Fail), check(Verdict::Unknown)],
            ..Report::default()
        };
        let end = EventKind::StepEnded {
            attempt: attempt(1),
            outcome: StepOutcome::Failed,
            report: Some(report),
            findings: Vec::new(),
        };
        let text = shown(&[begun(0, 1), at(1, end)]);
        assert!(text.contains("tests=\"4\" failures=\"2\" errors=\"1\""), "{text}");
        assert!(text.contains("expected &lt;Ready&gt; &amp; &quot;well&quot;, found a\u{fffd}b"), "{text}");
    }
}
