//! `runner runs journal`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use clap::{Args, ValueEnum};
use runner_engine::journal::{ENTRIES, Record, read};
use runner_types::{Entry, ItemOutcome, Line, Payload};
use serde_json::Value;

use super::Folder;
use crate::exit::Exit;
use crate::out;

/// Print the journal of a run: every call of every plugin, in order
///
/// The whole chain is checked first; what is damaged is refused with its place.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner runs journal                       the latest run
  runner runs journal 3f2a --step etcd      only what belongs to a step
  runner runs journal 3f2a -v               arguments and answers in full
  runner runs journal 3f2a --output jsonl   the file as it is")]
pub(super) struct Journal {
    /// The run, or a part of its name [default: the latest]
    run: Option<String>,
    /// Only entries of this step and of steps below it
    #[arg(long, value_name = "PATH")]
    step: Option<String>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// How a journal is shown.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// The file as it is; with --step, its lines that belong to the step
    Jsonl,
}

/// Characters of arguments and answers that are shown.
const SHORT: usize = 160;

impl Journal {
    pub(super) fn carry_out(&self, folder: &Folder, verbosity: u8) -> anyhow::Result<Exit> {
        let directory = folder.find(self.run.as_deref())?;
        let record = read(&directory)?;
        match self.output {
            Form::Jsonl => raw(&directory, &record, self.step.as_deref())?,
            Form::Text => {
                let limit = if verbosity > 0 { usize::MAX } else { SHORT };
                let text = text(&record, self.step.as_deref(), limit);
                out::stdout(&out::printable(&text))?;
            }
        }
        if record.torn > 0 {
            out::stderr(&format!("{} bytes at the end were cut off in mid-write and prove nothing\n", record.torn));
        }
        Ok(Exit::Succeeded)
    }
}

fn raw(directory: &Path, record: &Record, step: Option<&str>) -> io::Result<()> {
    let mut file = File::open(directory.join(ENTRIES))?;
    let mut stdout = io::stdout().lock();
    let copied = match step {
        Some(step) => chosen(BufReader::new(file), &record.lines, step, &mut stdout),
        None => io::copy(&mut file, &mut stdout).map(|_| ()),
    };
    match copied {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        copied => copied,
    }
}

/// Copies the lines of a journal's file that belong to a step. `lines` are those of the file, in order; what follows
/// them there was cut off and proves nothing.
fn chosen(file: impl io::BufRead, lines: &[Line], step: &str, to: &mut impl io::Write) -> io::Result<()> {
    for (line, text) in lines.iter().zip(file.split(b'\n')) {
        let text = text?;
        if belongs(line, step) {
            to.write_all(&text)?;
            to.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn text(record: &Record, step: Option<&str>, limit: usize) -> String {
    let header = &record.header;
    let mut text = String::new();
    let _ = writeln!(text, "run {} on platform {} by {}", header.run, header.platform, header.operator);
    for line in &record.lines {
        if step.is_none_or(|wanted| belongs(line, wanted)) {
            entry(line, limit, &mut text);
        }
    }
    text
}

fn belongs(line: &Line, wanted: &str) -> bool {
    let step = match &line.entry {
        Entry::StepBegun(begun) => Some(&begun.attempt.step),
        Entry::Start(start) => Some(&start.call.step),
        Entry::End(end) => Some(&end.call.step),
        Entry::Decision(decision) => decision.step.as_ref(),
        Entry::Log(log) => Some(&log.attempt.step),
        Entry::StepEnded(ended) => Some(&ended.attempt.step),
        Entry::RunEnded(_) => None,
    };
    step.is_some_and(|step| step.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn entry(line: &Line, limit: usize, text: &mut String) {
    let time = line.time.to_string();
    let clock = time.get(11..23).unwrap_or(&time);
    let mut say = |kind: &str, what: &str| {
        let _ = writeln!(text, "{:>6} {clock} {kind:<9} {what}", line.seq);
    };
    match &line.entry {
        Entry::StepBegun(begun) => {
            let mode = begun.mode.as_ref().map_or_else(String::new, |mode| format!(" ({mode})"));
            let set = begun.backup.as_ref().map_or_else(String::new, |set| format!(", backup set {set}"));
            let what = format!(
                "{}: {} of {}{mode} on {}{set} {}",
                begun.attempt,
                begun.operation,
                begun.component,
                begun.hosts.join(", "),
                short(&begun.parameters, limit)
            );
            say("begun", &what);
        }
        Entry::Start(start) => {
            let destructive = if start.destructive { ", DESTRUCTIVE" } else { "" };
            let items = payload(&start.items, limit);
            say("start", &format!("{}: {} ({}{destructive}) {items}", start.call, start.function, start.class));
        }
        Entry::End(end) => {
            for item in &end.items {
                let changed = if item.changed { "changed, " } else { "" };
                let outcome = match &item.outcome {
                    ItemOutcome::Ok(answer) => format!("ok {changed}{}", payload(answer, limit)),
                    ItemOutcome::Failed(failure) => format!("FAILED {}", short(failure, limit)),
                };
                say("end", &format!("{}[{}]: {outcome}", end.call, item.item));
            }
        }
        Entry::Decision(decision) => {
            let step = decision.step.as_ref().map_or_else(String::new, |step| format!("{step}: "));
            let what = serde_json::to_value(&decision.what).unwrap_or_default();
            say("decision", &format!("{step}{}", short(&what, limit)));
        }
        Entry::Log(log) => {
            let level = serde_json::to_value(log.level).unwrap_or_default();
            let level = level.as_str().unwrap_or_default().to_owned();
            say("log", &format!("{}: {level}: {}", log.attempt, log.message.replace('\n', "\n                    ")));
        }
        Entry::StepEnded(ended) => {
            let mut what = format!("{}: {}", ended.attempt, ended.outcome);
            if let Some(report) = ended.report.as_ref().filter(|report| !report.summary.is_empty()) {
                let _ = write!(what, ": {}", report.summary);
            }
            for finding in &ended.findings {
                let _ = write!(what, "\n                    {}: {}", finding.code, finding.message);
            }
            say("ended", &what);
        }
        Entry::RunEnded(ended) => {
            let message = ended.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
            say("run ended", &format!("{}{message}", ended.outcome));
        }
    }
}

fn payload(payload: &Payload, limit: usize) -> String {
    match payload {
        Payload::Inline(value) => short(value, limit),
        Payload::Stored { digest, size } => format!("<{size} bytes in the store: {digest}>"),
    }
}

fn short(value: &Value, limit: usize) -> String {
    let text = value.to_string();
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use indexmap::IndexMap;
    use runner_types::{
        AnsweredBy, ApiVersion, Attempt, CallId, Decision, DecisionEntry, Digest, EffectClass, End, FileDigest,
        FormatVersion, ItemEnd, Operation, Operator, RunHeader, SourceFile, Start, StepBegun, Target, Timestamp,
    };
    use serde_json::json;

    fn who() -> Operator {
        Operator { user: "ann".to_owned(), host: "bastion".to_owned() }
    }

    /// A run that was killed between the two items of a write.
    pub(in crate::commands::runs) fn record() -> Record {
        let start = Timestamp::from_unix_millis(1_795_247_506_000);
        let file = |path: &str| SourceFile { path: path.to_owned(), digest: Digest::zero(), content: Value::Null };
        let header = RunHeader {
            format: FormatVersion::CURRENT,
            runner: "0.1.0".to_owned(),
            api: ApiVersion::new(0, 1, 0),
            run: "r1".to_owned(),
            stamp: start,
            seed: 1,
            platform: "demo".to_owned(),
            workflows: vec![file("update-all.json")],
            inputs: IndexMap::from([("release".to_owned(), json!("2.0"))]),
            inventory: file("inventory.json"),
            releases: None,
            plugins: IndexMap::new(),
            policy: FileDigest { path: "policy.json".to_owned(), digest: Digest::zero() },
            operator: who(),
            started: start,
        };
        let attempt = Attempt { step: "etcd".to_owned(), target: Target::Cluster("main".to_owned()), attempt: 1 };
        let call = CallId { step: attempt.step.clone(), target: attempt.target.clone(), attempt: 1, index: 0 };
        let by = AnsweredBy::Operator { who: who(), terminal: Some("/dev/pts/1".to_owned()) };
        let answered =
            Decision::Answered { prompt: "confirm".to_owned(), message: "?".to_owned(), answer: json!(true), by };
        let entries = vec![
            Entry::Decision(DecisionEntry { step: None, target: None, what: answered }),
            Entry::StepBegun(StepBegun {
                attempt,
                component: "etcd".to_owned(),
                operation: Operation::Update,
                mode: None,
                plugin: Digest::zero(),
                parameters: json!({"versions": {}}),
                hosts: vec!["master-1".to_owned(), "node-1".to_owned()],
                backup: Some("etcd-1".to_owned()),
            }),
            Entry::Start(Start {
                call: call.clone(),
                function: "systemd.stop".to_owned(),
                class: EffectClass::WriteIdempotent,
                destructive: false,
                count: 2,
                items: Payload::Inline(json!([{"host": "master-1", "unit": "etcd.service"}, {"host": "node-1"}])),
                before: Vec::new(),
            }),
            Entry::End(End {
                call,
                items: vec![ItemEnd {
                    item: 0,
                    outcome: ItemOutcome::Ok(Payload::Inline(json!({"changed": true}))),
                    changed: true,
                }],
            }),
        ];
        let lines = (0..)
            .zip(entries)
            .map(|(seq, entry)| Line { seq, time: start, prev: Digest::zero(), entry, hash: Digest::zero() })
            .collect();
        Record { header, lines, torn: 0 }
    }

    #[test]
    fn every_entry_is_one_readable_line() {
        assert_eq!(
            text(&record(), None, 60),
            "run r1 on platform demo by ann@bastion\n     \
             0 07:51:46.000 decision  {\"answered\":{\"prompt\":\"confirm\",\"message\":\"?\",\"answer\":true,…\n     \
             1 07:51:46.000 begun     etcd @ main #1: update of etcd on master-1, node-1, backup set etcd-1 {\"versions\":{}}\n     \
             2 07:51:46.000 start     etcd @ main #1.0: systemd.stop (write-idempotent) [{\"host\":\"master-1\",\"unit\":\"etcd.service\"},{\"host\":\"node-1\"}…\n     \
             3 07:51:46.000 end       etcd @ main #1.0[0]: ok changed, {\"changed\":true}\n"
        );
    }

    #[test]
    fn a_step_s_entries_can_be_chosen() {
        assert_eq!(text(&record(), Some("etcd"), 60).lines().count(), 4);
        assert_eq!(text(&record(), Some("etc"), 60).lines().count(), 1);
        let lines = |step: &str| {
            let mut to = Vec::new();
            chosen("0\n1\n2\n3\ncut o".as_bytes(), &record().lines, step, &mut to).unwrap();
            String::from_utf8(to).unwrap()
        };
        assert_eq!(lines("etcd"), "1\n2\n3\n");
        assert_eq!(lines("etc"), "");
    }
}
