//! From the start of the process to the first effect, with compiled plugins in the cache.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use runner_types::Entry;

use crate::table::{Row, median};

const TIMES: usize = 11;

pub(crate) fn measure(runner: &Path) -> Result<Vec<Row>> {
    let state = tempfile::tempdir()?;
    let mut first_effects = Vec::new();
    let mut bare = Vec::new();
    for round in 0..=TIMES {
        let folder = state.path().join(format!("{round}"));
        let begun = SystemTime::now();
        let ended = Command::new(runner)
            .args(["run", "workflows/verify-all.json", "--state-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .output()?;
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let run = std::fs::read_dir(folder.join("runs"))?.next().context("no run")??.path();
        let record = runner_engine::journal::read(&run)?;
        let first = record.lines.iter().find(|line| matches!(line.entry, Entry::Start(_))).context("no effect")?;
        let started = runner_types::Timestamp::from(begun);
        let help = std::time::Instant::now();
        Command::new(runner).arg("--version").output()?;
        // The first round compiles the plugins.
        if round > 0 {
            first_effects.push(first.time.since(started));
            bare.push(help.elapsed());
        }
    }
    let first = median(first_effects);
    Ok(vec![
        Row::against("start of `runner run` to the first effect", first, "goal", Duration::from_millis(50)),
        Row::alone("start of `runner --version`", format!("{:.2?}", median(bare))),
    ])
}
