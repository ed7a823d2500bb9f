//! Machine output: one JSON document at the end, or one JSON line an event.

use std::io::{self, Write};

use runner_types::{Event, Recap, RunOutcome, StepOutcome, Timestamp};
use serde::Serialize;

use super::tally::Tried;
use super::{Ending, HostState, Reporter, Tally};
use crate::exit::Exit;

/// One JSON document when the run is over.
pub(crate) struct Json<W> {
    out: W,
    tally: Tally,
}

/// One line an event, as it happens.
pub(crate) struct JsonLines<W> {
    out: W,
}

/// The document of `--output json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Document<'a> {
    run: &'a str,
    workflow: &'a str,
    simulated: bool,
    outcome: RunOutcome,
    exit_code: u8,
    message: Option<&'a str>,
    begun: Option<Timestamp>,
    ended: Option<Timestamp>,
    recap: &'a Recap,
    steps: Vec<&'a Tried>,
    hosts: Vec<HostOutput<'a>>,
    journal: String,
    next: &'a [String],
}

/// A host in it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HostOutput<'a> {
    host: &'a str,
    last_step: &'a str,
    outcome: StepOutcome,
    out_of_service: bool,
    state: String,
}

impl<'a> HostOutput<'a> {
    fn of(known: &'a HostState, tally: &Tally) -> Self {
        Self {
            host: &known.host,
            last_step: &known.last.0,
            outcome: known.last.1,
            out_of_service: known.out_of_service,
            state: known.text(tally),
        }
    }
}

impl<'a> Document<'a> {
    pub(crate) fn of(ending: &'a Ending, tally: &'a Tally) -> Self {
        Self {
            run: &ending.run,
            workflow: &tally.workflow,
            simulated: tally.simulated,
            outcome: ending.outcome,
            exit_code: Exit::of(ending.outcome).code(),
            message: ending.message.as_deref(),
            begun: tally.span.map(|(first, _)| first),
            ended: tally.span.map(|(_, last)| last),
            recap: &ending.recap,
            steps: tally.attempts.values().collect(),
            hosts: ending.hosts.iter().map(|host| HostOutput::of(host, tally)).collect(),
            journal: ending.journal().display().to_string(),
            next: &ending.next,
        }
    }
}

impl<W: Write + Send> Json<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, tally: Tally::default() }
    }
}

impl<W: Write + Send> JsonLines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn name(&self) -> &'static str {
        "json"
    }

    fn is_output(&self) -> bool {
        true
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tally.take(event);
        Ok(())
    }

    fn end(&mut self, ending: &Ending) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&Document::of(ending, &self.tally))?;
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn is_output(&self) -> bool {
        true
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut text = serde_json::to_string(event)?;
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn end(&mut self, _: &Ending) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::tally::tests::failed_run;
    use serde_json::Value;

    #[test]
    fn the_document_holds_everything_that_the_end_says() {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        for event in failed_run() {
            json.event(&event).unwrap();
        }
        json.end(&Ending::example()).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["run"], "run-1");
        assert_eq!(value["workflow"], "update-all");
        assert_eq!(value["outcome"], "failed");
        assert_eq!(value["exit-code"], 3);
        assert_eq!(value["simulated"], true);
        assert_eq!(value["recap"]["node-1"]["failed"], 1);
        assert_eq!(value["steps"][0]["outcome"], "failed");
        assert_eq!(value["steps"][0]["findings"][0]["code"], "blocked");
        assert_eq!(value["steps"][1]["reason"], "nodes did not succeed");
        assert_eq!(value["journal"], "/state/runs/run-1/journal.jsonl");
        assert_eq!(value["hosts"][0]["host"], "node-1");
        assert_eq!(value["hosts"][0]["out-of-service"], true);
    }

    #[test]
    fn each_event_is_one_line_that_can_be_read_back() {
        let mut out = Vec::new();
        let mut lines = JsonLines::new(&mut out);
        let events = failed_run();
        for event in &events {
            lines.event(event).unwrap();
        }
        lines.end(&Ending::example()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
    }
}
