//! `runner runs list`.

use std::path::Path;

use clap::Args;
use runner_engine::journal::{header, read};
use runner_types::{RunOutcome, RunStatus, Timestamp};
use serde::Serialize;

use super::{Folder, is_running};
use crate::args::ListOutput;
use crate::exit::Exit;
use crate::out;

/// List runs, latest last
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner runs list
  runner runs list --last 5
  runner runs list --output json")]
pub(super) struct List {
    /// Only the latest ones
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

/// Where a run stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Somebody runs it.
    Running,
    /// It ended so.
    Ended(RunOutcome),
    /// Nobody runs it, and it did not end.
    CutOff,
    /// Its files cannot be trusted.
    Damaged(String),
}

impl State {
    fn text(&self) -> String {
        match self {
            Self::Running => "running".to_owned(),
            Self::Ended(outcome) => outcome.to_string(),
            Self::CutOff => "cut off".to_owned(),
            Self::Damaged(reason) => format!("DAMAGED: {reason}"),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    run: String,
    workflow: Option<String>,
    platform: Option<String>,
    operator: Option<String>,
    started: Option<Timestamp>,
    state: State,
}

impl List {
    pub(super) fn carry_out(&self, folder: &Folder) -> anyhow::Result<Exit> {
        let names = folder.names()?;
        let skip = self.last.map_or(0, |last| names.len().saturating_sub(last));
        let rows: Vec<Row> = names.into_iter().skip(skip).map(|name| row(&folder.path.join(&name), name)).collect();
        match self.output {
            ListOutput::Json => out::json(&rows)?,
            ListOutput::Text => out::stdout(&table(&rows))?,
        }
        Ok(Exit::Succeeded)
    }
}

fn row(directory: &Path, run: String) -> Row {
    let header = header(directory).map(|(header, _)| header);
    let state = match &header {
        Err(error) => State::Damaged(error.to_string()),
        Ok(_) => state(directory),
    };
    let header = header.ok();
    Row {
        run,
        workflow: header
            .as_ref()
            .and_then(|header| Some(header.workflows.first()?.content.get("name")?.as_str()?.to_owned())),
        platform: header.as_ref().map(|header| header.platform.clone()),
        operator: header.as_ref().map(|header| header.operator.to_string()),
        started: header.as_ref().map(|header| header.started),
        state,
    }
}

fn state(directory: &Path) -> State {
    let running = is_running(directory);
    let record = match read(directory) {
        Ok(record) => record,
        Err(error) => return State::Damaged(error.to_string()),
    };
    match RunStatus::of(record.lines.iter().map(|line| &line.entry)) {
        Err((index, error)) => State::Damaged(format!("entry {index}: {error}")),
        Ok(_) if running => State::Running,
        Ok(status) => status.ended().map_or(State::CutOff, |ended| State::Ended(ended.outcome)),
    }
}

fn table(rows: &[Row]) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| vec![row.run.clone(), text(&row.platform), text(&row.operator), row.state.text()])
        .collect();
    out::table(&["RUN", "PLATFORM", "OPERATOR", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_run_is_listed_as_such() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("run.json"), "{\"format\": 99}").unwrap();
        let row = row(home.path(), "r1".to_owned());
        assert!(matches!(&row.state, State::Damaged(reason) if reason.contains("newer")), "{row:?}");
        assert!(table(&[row]).contains("r1   -         -         DAMAGED: "));
    }
}
