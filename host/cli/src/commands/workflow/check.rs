//! `runner workflow check`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use indexmap::IndexMap;
use runner_engine::planner::{Plan, PossiblePrompt};
use runner_engine::project::{Project, read_workflows};
use runner_types::InputSpec;
use serde_json::Value;

use crate::args::{Common, Files, Inputs};
use crate::commands::verify::one_line;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;

/// Check a workflow without running it
///
/// Reads the workflow and its sub-workflows, and lists its inputs. With an inventory (named, or the demo's beside the
/// workflow) it is also planned: components, parameters, hosts and expressions are checked, and every question that a
/// run can lead to is listed with the option that answers it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner workflow check workflows/backout-all.json
  runner workflow check workflows/*.json
  runner workflow check mine.json -i hosts.ini --policy policy.json -e release=2.0")]
pub(super) struct Check {
    /// Workflows
    #[arg(required = true)]
    workflows: Vec<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    files: Files,
}

impl Check {
    pub(super) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let mut exit = Exit::Succeeded;
        for path in &self.workflows {
            match self.check(path, common) {
                Ok(text) => out::stdout(&out::printable(&text))?,
                // The other files are looked at all the same.
                Err(error) => exit = exit.max(crate::error::show(&error, common)),
            }
        }
        Ok(exit)
    }

    fn check(&self, path: &Path, common: &Common) -> anyhow::Result<String> {
        let files = read_workflows(path)?;
        let inner = files.len() - 1;
        let mut text = format!("{}: sound", path.display());
        if inner > 0 {
            let _ = write!(text, ", with {inner} sub-workflows");
        }
        text.push('\n');
        text.push_str(&files.values().next().map_or_else(String::new, |file| inputs(&file.value().inputs)));
        let surroundings = Surroundings::real();
        if surroundings.inventory(self.files.inventory.as_deref(), Some(path)).is_err() {
            text.push_str("  not planned: no inventory is named (-i FILE)\n");
            return Ok(text);
        }
        let extras = self.inputs.read()?;
        // Without values for what must be given, the file itself is all that can be judged.
        if extras.is_empty()
            && let Some(Err(missing)) = files.values().next().map(|file| file.value().input_values(&extras))
        {
            let _ = writeln!(text, "  not planned: {}", missing.to_string().replace('\n', "\n  "));
            return Ok(text);
        }
        let project = Project::load(surroundings.options(common, &self.files, Some(path))?)?;
        let plan = project.plan(&extras)?;
        text.push_str(&extent(&plan));
        text.push_str(&questions(&plan.prompts(project.world())));
        Ok(text)
    }
}

/// Each input in one line: what may be given with `-e`.
fn inputs(specs: &IndexMap<String, InputSpec>) -> String {
    let mut text = String::new();
    for (name, spec) in specs {
        let mut of = vec![spec.kind.to_string()];
        match &spec.default {
            // It is a secret all the same.
            Some(_) if spec.secret => of.push("has a default".to_owned()),
            Some(default) => of.push(format!("default {default}")),
            None if spec.optional => of.push("may be left out".to_owned()),
            None => of.push("must be given".to_owned()),
        }
        if !spec.choices.is_empty() {
            let choices: Vec<String> = spec.choices.iter().map(Value::to_string).collect();
            of.push(format!("one of {}", choices.join(", ")));
        }
        if spec.secret {
            of.push("secret".to_owned());
        }
        let description = match spec.description.as_str() {
            "" => String::new(),
            description => format!(": {}", one_line(description)),
        };
        let _ = writeln!(text, "  input {name} ({}){description}", of.join(", "));
    }
    text
}

/// What will be done, in one line.
fn extent(plan: &Plan) -> String {
    let outline = plan.outline();
    let mut hosts: Vec<&str> = outline.iter().flat_map(|step| step.hosts.iter().map(String::as_str)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    format!("  {} steps on {} hosts, components: {}\n", outline.len(), hosts.len(), plan.components().join(", "))
}

/// Each kind of question once.
fn questions(prompts: &[PossiblePrompt]) -> String {
    let mut kinds: IndexMap<(Option<&str>, &str), (usize, &PossiblePrompt)> = IndexMap::new();
    for prompt in prompts {
        let kind = (prompt.component.as_deref(), prompt.key.as_str());
        kinds.entry(kind).or_insert((0, prompt)).0 += 1;
    }
    let mut text = String::new();
    for ((component, key), (count, prompt)) in kinds {
        let who = component.map_or_else(String::new, |component| format!("{component}/"));
        let times = if count > 1 { format!(" (up to {count} times)") } else { String::new() };
        let destructive = if prompt.destructive { ", a yes destroys" } else { "" };
        let answered = match (&prompt.option, prompt.answered) {
            (_, true) => "answered in advance".to_owned(),
            (Some(option), false) => format!("{option} answers it"),
            (None, false) => "only at a terminal".to_owned(),
        };
        let _ = writeln!(text, "  asks {who}{key}{times}{destructive}: {answered}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_listed_with_what_may_be_given() {
        let specs: IndexMap<String, InputSpec> = serde_json::from_value(serde_json::json!({
            "release": {"type": "string", "default": "2.0", "enum": ["1.0", "2.0"], "description": "where to"},
            "pw": {"type": "string", "secret": true},
            "token": {"type": "string", "secret": true, "default": "hunter2"},
            "batch": {"type": "integer", "optional": true},
        }))
        .unwrap();
        assert_eq!(
            inputs(&specs),
            "  input release (string, default \"2.0\", one of \"1.0\", \"2.0\"): where to\n  \
               input pw (string, must be given, secret)\n  \
               input token (string, has a default, secret)\n  \
               input batch (integer, may be left out)\n"
        );
    }

    #[test]
    fn questions_of_one_kind_are_told_once() {
        let prompt = |step: &str| PossiblePrompt {
            step: Some(step.to_owned()),
            component: None,
            key: "pause-before".to_owned(),
            message: String::new(),
            destructive: false,
            option: Some("-e interactive_backout=False".to_owned()),
            answered: false,
        };
        let text = questions(&[prompt("nodes/node-1"), prompt("nodes/node-2")]);
        assert_eq!(text, "  asks pause-before (up to 2 times): -e interactive_backout=False answers it\n");
    }
}
