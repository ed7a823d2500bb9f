//! Cases: folders with a call of the binary and what it must say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::normalised;
use crate::runner::{Ended, root};
use crate::states::{State, Step};
use crate::terminal::Answer;

/// `case.json`: a call, and what is expected of it beside the files `stdout.txt`, `stderr.txt` and `shown.txt`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// What it shows.
    pub description: String,
    /// How far the shipped workflows have come before.
    #[serde(default = "fresh")]
    after: Step,
    /// Calls before, which must succeed.
    #[serde(default)]
    before: Vec<Vec<String>>,
    /// Arguments; `<case>` stands for this folder, `<state>` for the state directory.
    args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Standard input, without a terminal.
    #[serde(default)]
    stdin: String,
    /// What is typed at a terminal; left out: there is none.
    #[serde(default)]
    answers: Option<Vec<Answer>>,
    /// Exit code.
    exit: i32,
    /// Texts that must be said.
    #[serde(default)]
    says: Vec<String>,
    /// Texts that must not be said.
    #[serde(default)]
    hushes: Vec<String>,
    /// Nothing may have been written: the journal of the last run, if there is one, holds reads only.
    #[serde(default)]
    reads_only: bool,
}

fn fresh() -> Step {
    Step::Fresh
}

/// Set to write expectations anew.
const UPDATE: &str = "RUNNER_UPDATE_CASES";

impl Case {
    /// Reads the case of a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("case.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no case", path.display()))
    }

    /// Carries it out and compares.
    ///
    /// # Errors
    /// What is not as expected.
    pub fn check(&self, folder: &Path) -> Result<()> {
        let state = State::after(self.after)?;
        let place = |text: &str| {
            text.replace("<case>", &folder.display().to_string())
                .replace("<state>", &state.path().display().to_string())
        };
        for arguments in &self.before {
            let arguments: Vec<String> = arguments.iter().map(|argument| place(argument)).collect();
            state.call(arguments.iter().map(String::as_str)).run()?.with(0).context("a call before the case")?;
        }
        let arguments: Vec<String> = self.args.iter().map(|argument| place(argument)).collect();
        let mut call = state.call(arguments.iter().map(String::as_str)).stdin(self.stdin.clone());
        for (name, value) in &self.env {
            call = call.env(name, place(value));
        }
        let runs_before = runs(&state)?;
        let (ended, shown) = match &self.answers {
            None => (call.run()?, None),
            Some(answers) => {
                let typed = call.at_terminal(answers)?;
                (typed.ended, Some(typed.shown.join("\n")))
            }
        };
        let ended = ended.with(self.exit)?;
        let said = [ended.stdout.as_str(), &ended.stderr].join("\n");
        for text in &self.says {
            ensure!(said.contains(&place(text)), "nothing says {text:?}\n{said}");
        }
        for text in &self.hushes {
            ensure!(!said.contains(&place(text)), "{text:?} was said\n{said}");
        }
        if self.reads_only {
            let new: Vec<PathBuf> = runs(&state)?.into_iter().filter(|run| !runs_before.contains(run)).collect();
            for run in new {
                reads_only(&run)?;
            }
        }
        self.compare(folder, &state, &ended, shown.as_deref())
    }

    fn compare(&self, folder: &Path, state: &State, ended: &Ended, shown: Option<&str>) -> Result<()> {
        let mut differences = Vec::new();
        let mut compare = |name: &str, found: &str| -> Result<()> {
            let path = folder.join(name);
            if !path.exists() {
                return Ok(());
            }
            let found = normalised(found, state.path());
            if std::env::var_os(UPDATE).is_some() {
                return Ok(fs::write(&path, found)?);
            }
            let wanted = fs::read_to_string(&path)?;
            if wanted != found {
                differences.push(format!("{name} differs:\n{}", difference(&wanted, &found)));
            }
            Ok(())
        };
        compare("stdout.txt", &ended.stdout)?;
        compare("stderr.txt", &ended.stderr)?;
        // The originals are never written anew: they are what people know.
        let original = folder.join("original.txt");
        if original.exists() {
            let said = shown.unwrap_or(&ended.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            let mut rest = said.as_str();
            for line in fs::read_to_string(&original)?.lines().filter(|line| !line.trim().is_empty()) {
                match rest.find(line.trim()) {
                    Some(at) => rest = &rest[at + line.trim().len()..],
                    None => bail!("the original says, and this does not (in this order):\n{line}\n--- said\n{said}"),
                }
            }
        }
        ensure!(differences.is_empty(), "{}\n({UPDATE}=1 writes them anew)", differences.join("\n"));
        Ok(())
    }
}

/// Directories of the runs of a state.
fn runs(state: &State) -> Result<Vec<PathBuf>> {
    let folder = state.path().join("runs");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Fails when a run performed anything but reads.
fn reads_only(run: &Path) -> Result<()> {
    let text = fs::read_to_string(run.join("journal.jsonl"))?;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let class = line.pointer("/entry/start/class");
        if let Some(class) = class.and_then(Value::as_str) {
            ensure!(class == "read" || class == "none", "a write was begun: {line}");
        }
    }
    Ok(())
}

/// The first lines in which two texts differ.
fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let at = wanted.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let some = |lines: &[&str], mark: &str| -> String {
        lines.iter().skip(at).take(8).map(|line| format!("{mark} {line}\n")).collect()
    };
    format!("from line {}:\n{}{}", at + 1, some(&wanted, "-"), some(&found, "+"))
}

/// All folders of cases.
///
/// # Errors
/// When they cannot be listed.
pub fn folders() -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("tests/cases"))?
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &Result<PathBuf>| path.as_ref().is_ok_and(|path| path.join("case.json").is_file()))
        .collect::<Result<_>>()?;
    folders.sort();
    Ok(folders)
}
