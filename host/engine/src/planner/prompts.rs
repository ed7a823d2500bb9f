//! Questions that a plan can lead to, and what answers them without a terminal.

use runner_types::{Operation, Prompt, SkipWhen};
use serde::Serialize;
use serde_json::{Map, Value};

use super::resolve::{host_value, known_text};
use super::{Plan, PlannedAction, PlannedComponent, PlannedRolling, World, parameters};
use crate::expression::Scope;

/// A question that a run of the plan may ask.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PossiblePrompt {
    /// Step that asks; none: the workflow.
    pub step: Option<String>,
    /// Component whose plugin asks.
    pub component: Option<String>,
    /// `confirm`, `pause-before`, `pause-after`, or the plugin's key.
    pub key: String,
    /// What is asked, as far as it is known.
    pub message: String,
    /// Whether data may be lost after a yes.
    pub destructive: bool,
    /// What answers it in advance, for example `-e no_interactive=True`; none: only a terminal.
    pub option: Option<String>,
    /// Whether it is answered in advance.
    pub answered: bool,
}

impl Plan {
    /// Every question that the workflow and the plugins' manifests can lead to.
    #[must_use]
    pub fn prompts(&self, world: &World) -> Vec<PossiblePrompt> {
        let mut prompts = Vec::new();
        self.collect(world, &mut prompts);
        prompts
    }

    fn collect(&self, world: &World, prompts: &mut Vec<PossiblePrompt>) {
        if let Some(confirm) = &self.confirm {
            self.own(None, "confirm", confirm, &self.scope, prompts);
        }
        for step in &self.steps {
            match &step.action {
                PlannedAction::Component(component) => self.of_component(world, &step.path, component, prompts),
                PlannedAction::Workflow(plan) => plan.collect(world, prompts),
                PlannedAction::Rolling(rolling) => self.of_rolling(world, &step.path, rolling, prompts),
            }
        }
    }

    fn of_rolling(&self, world: &World, path: &str, rolling: &PlannedRolling, prompts: &mut Vec<PossiblePrompt>) {
        for host in rolling.batches.iter().flatten() {
            let Some(host) = world.inventory.host(host) else {
                continue;
            };
            let scope = self.scope.with("host", &host_value(host, Some(&host.address)));
            let path = format!("{path}/{}", host.name);
            if let Some(pause) = &rolling.pause.before {
                self.own(Some(&path), "pause-before", pause, &scope, prompts);
            }
            if let Some(pause) = &rolling.pause.after {
                self.own(Some(&path), "pause-after", pause, &scope, prompts);
            }
        }
        for part in &rolling.maintenance {
            self.of_operation(world, path, &part.component, Operation::Maintenance, &part.with, prompts);
        }
        for step in &rolling.steps {
            if let PlannedAction::Component(component) = &step.action {
                self.of_component(world, &step.path, component, prompts);
            }
        }
    }

    fn of_component(&self, world: &World, path: &str, step: &PlannedComponent, prompts: &mut Vec<PossiblePrompt>) {
        self.of_operation(world, path, &step.component, step.operation, &step.with, prompts);
    }

    fn of_operation(
        &self,
        world: &World,
        path: &str,
        component: &str,
        operation: Operation,
        with: &indexmap::IndexMap<String, Value>,
        prompts: &mut Vec<PossiblePrompt>,
    ) {
        let Some((manifest, _)) = world.plugins.get(component) else {
            return;
        };
        // What is not known yet leaves its prompt possible.
        let known: Map<String, Value> =
            with.iter().filter_map(|(name, value)| Some((name.clone(), self.scope.resolve(value).ok()?))).collect();
        let values = parameters(manifest, operation, world.components.get(component), &known).ok();
        for prompt in manifest.prompts.iter().filter(|prompt| prompt.operations.contains(&operation)) {
            let enabled = match (&prompt.enabled_by, &values) {
                (Some(condition), Some(values)) => condition.holds(values),
                (Some(_), None) | (None, _) => true,
            };
            if !enabled {
                continue;
            }
            let answer = self.answers.get(&format!("{component}/{}", prompt.key));
            let turned_off = prompt.enabled_by.as_ref().filter(|condition| condition.0.starts_with('!'));
            prompts.push(PossiblePrompt {
                step: Some(path.to_owned()),
                component: Some(component.to_owned()),
                key: prompt.key.clone(),
                message: prompt.message.clone(),
                destructive: prompt.destructive,
                option: answer.map(|answer| format!("-e {}=yes", answer.input)).or_else(|| {
                    let condition = turned_off?;
                    self.input_behind(with.get(condition.parameter())?)
                }),
                answered: answer
                    .is_some_and(|answer| self.inputs.get(&answer.input).is_some_and(|value| !value.is_null())),
            });
        }
    }

    /// The input that a parameter's expression names, as an option for people.
    fn input_behind(&self, value: &Value) -> Option<String> {
        let text = value.as_str()?;
        let name = self.inputs.keys().find(|name| text.contains(&format!("inputs.{name}")))?;
        Some(format!("-e {name}=…"))
    }

    fn own(&self, step: Option<&str>, key: &str, prompt: &Prompt, scope: &Scope, prompts: &mut Vec<PossiblePrompt>) {
        // A condition that is not known beforehand leaves the question possible.
        if scope.holds(prompt.when.as_ref()).is_ok_and(|holds| !holds) {
            return;
        }
        prompts.push(PossiblePrompt {
            step: step.map(str::to_owned),
            component: None,
            key: key.to_owned(),
            message: known_text(scope, &prompt.message).unwrap_or_else(|| prompt.message.to_string()),
            destructive: false,
            option: prompt.skip_when.as_ref().map(option),
            answered: self.skips(prompt),
        });
    }

    /// Whether an input makes the question unnecessary.
    pub(crate) fn skips(&self, prompt: &Prompt) -> bool {
        prompt.skip_when.as_ref().is_some_and(|skip| self.inputs.get(&skip.input) == Some(&skip.equals))
    }
}

/// The option that makes a question unnecessary, as operators write it.
fn option(skip: &SkipWhen) -> String {
    let value = match &skip.equals {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("-e {}={value}", skip.input)
}
