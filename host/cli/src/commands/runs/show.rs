//! `runner runs show`.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use runner_engine::journal::{Record, read};
use runner_types::{Decision, Entry, RunStatus, StepOutcome};
use serde_json::{Value, json};

use super::{Folder, is_running};
use crate::args::ListOutput;
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::reporter::{answered, duration, recap, verdict};

/// Show where a run stands, or how it ended
///
/// Everything is derived from the journal: what was begun, what ended how, what is in doubt, who answered what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner runs show                     the latest run
  runner runs show 3f2a                by a part of its name
  runner runs show --output json")]
pub(super) struct Show {
    /// The run, or a part of its name [default: the latest]
    run: Option<String>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

impl Show {
    pub(super) fn carry_out(&self, folder: &Folder) -> anyhow::Result<Exit> {
        let directory = folder.find(self.run.as_deref())?;
        let record = read(&directory)?;
        let status = RunStatus::of(record.lines.iter().map(|line| &line.entry)).map_err(|(index, error)| {
            Problem::new(Exit::Internal, format!("entry {index} of the journal cannot stand where it stands: {error}"))
                .hint("the journal was changed, or two processes wrote it; trust only what stands before that entry")
        })?;
        let running = is_running(&directory);
        match self.output {
            ListOutput::Text => {
                let text = text(&record, &status, &directory, running);
                out::stdout(&out::printable(&text))?;
            }
            ListOutput::Json => out::json(&document(&record, &status, &directory, running))?,
        }
        Ok(Exit::Succeeded)
    }
}

/// One line about where the run stands.
fn standing(status: &RunStatus, running: bool) -> String {
    match status.ended() {
        _ if running => "is running".to_owned(),
        Some(ended) => verdict(ended.outcome).to_owned(),
        None => "was cut off: nobody runs it, and it did not end".to_owned(),
    }
}

fn text(record: &Record, status: &RunStatus, directory: &Path, running: bool) -> String {
    let header = &record.header;
    let mut text = String::new();
    let workflow = header.workflows.first().map_or("", |workflow| workflow.path.as_str());
    let _ = writeln!(text, "run {} {}", header.run, standing(status, running));
    if let Some(message) = status.ended().and_then(|ended| ended.message.as_deref()) {
        let _ = writeln!(text, "  {}", message.replace('\n', "\n  "));
    }
    let _ = writeln!(text, "\nworkflow   {workflow}");
    let _ = writeln!(text, "platform   {}", header.platform);
    let _ = writeln!(text, "operator   {}", header.operator);
    let _ = writeln!(text, "started    {}", header.started);
    if let Some(last) = record.lines.last() {
        let _ = writeln!(text, "last entry {} (after {})", last.time, duration(last.time.since(header.started)));
    }
    for (name, value) in &header.inputs {
        let _ = writeln!(text, "input      {name}={value}");
    }
    if record.torn > 0 {
        let _ =
            writeln!(text, "torn       {} bytes at the end were cut off in mid-write and prove nothing", record.torn);
    }
    answers(record, &mut text);
    let rows: Vec<Vec<String>> = status
        .steps()
        .filter_map(|(step, target, attempts)| {
            let last = attempts.last()?;
            let outcome = last.outcome().map_or(if running { "running" } else { "cut off" }, StepOutcome::as_str);
            let said = last.ended.as_ref().map_or_else(String::new, |ended| {
                let findings: Vec<&str> = ended.findings.iter().map(|finding| finding.message.as_str()).collect();
                match &ended.report {
                    _ if !findings.is_empty() => findings.join("; "),
                    Some(report) => report.summary.clone(),
                    None => String::new(),
                }
            });
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            Some(vec![step.to_owned(), target.to_string(), attempts.len().to_string(), outcome.to_owned(), said])
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&out::table(&["STEP", "TARGET", "ATTEMPTS", "OUTCOME", "SAID"], &rows));
    }
    let open = status.open_writes();
    if !open.is_empty() {
        let state = if running { "under way" } else { "in doubt" };
        let _ = writeln!(text, "\n{state}:");
        for write in open {
            let items: Vec<String> = write.items.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "  {} of {} (items {})", write.function, write.call, items.join(", "));
        }
    }
    if let Some(ended) = status.ended() {
        let _ = write!(text, "\n{}", recap(&ended.recap));
    }
    let _ = writeln!(text, "\njournal    {}", directory.join(runner_engine::journal::ENTRIES).display());
    text
}

fn answers(record: &Record, text: &mut String) {
    for line in &record.lines {
        let Entry::Decision(decision) = &line.entry else {
            continue;
        };
        if let Decision::Answered { prompt, answer, by, .. } = &decision.what {
            let step = decision.step.as_ref().map_or_else(String::new, |step| format!("{step}: "));
            let said = answered(prompt, answer, by);
            let _ = writeln!(text, "answer     {} {step}{said}", line.time);
        }
    }
}

fn document(record: &Record, status: &RunStatus, directory: &Path, running: bool) -> Value {
    let header = &record.header;
    let steps: Vec<Value> = status
        .steps()
        .map(|(step, target, attempts)| {
            let last = attempts.last();
            json!({
                "step": step,
                "target": target,
                "attempts": attempts.len(),
                "component": last.map(|last| &last.begun.component),
                "operation": last.map(|last| last.begun.operation),
                "hosts": last.map(|last| &last.begun.hosts),
                "changed": last.is_some_and(|last| last.changed),
                "ended": last.and_then(|last| last.ended.as_ref()),
            })
        })
        .collect();
    let open: Vec<Value> = status
        .open_writes()
        .into_iter()
        .map(|write| json!({"call": write.call, "function": write.function, "items": write.items}))
        .collect();
    json!({
        "run": header.run,
        "header": header,
        "running": running,
        "ended": status.ended(),
        "resumptions": status.resumptions(),
        "entries": record.lines.len(),
        "torn-bytes": record.torn,
        "steps": steps,
        "open-writes": open,
        "directory": directory,
    })
}

#[cfg(test)]
mod tests {
    use super::super::journal::tests::record;
    use super::*;

    #[test]
    fn a_run_that_was_cut_off_shows_what_is_in_doubt() {
        let record = record();
        let status = RunStatus::of(record.lines.iter().map(|line| &line.entry)).unwrap();
        let shown = text(&record, &status, Path::new("/s/runs/r1"), false);
        assert!(shown.starts_with("run r1 was cut off: nobody runs it, and it did not end\n"), "{shown}");
        assert!(
            shown.contains(
                ": confirm: yes, by ann@bastion at /dev/pts/1
"
            ) || shown.contains(
                "Z confirm: yes, by ann@bastion at /dev/pts/1
"
            ),
            "{shown}"
        );
        assert!(shown.contains("\nin doubt:\n  systemd.stop of etcd @ main #1.0 (items 1)\n"), "{shown}");
        assert!(shown.contains("\netcd  main    1         cut off\n"), "{shown}");
        let shown = text(&record, &status, Path::new("/s/runs/r1"), true);
        assert!(shown.contains("\nunder way:\n"), "{shown}");
        assert_eq!(document(&record, &status, Path::new("/r"), false)["open-writes"][0]["function"], "systemd.stop");
    }
}
