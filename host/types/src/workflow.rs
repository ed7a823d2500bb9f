//! Workflow files.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Depth, Expr, Template, TimeSpan};

mod batch;
mod check;
mod input;
mod step;
mod targets;
mod texts;
mod values;

pub use batch::*;
pub use input::*;
pub use step::*;
pub use targets::*;
pub use texts::*;
pub use values::*;

pub(crate) use check::cycle;

/// A procedure of a platform: operations of components in an order, with its questions and its rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workflow {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the workflow, used in messages and in the names of its runs.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// What the operator may give with `-e name=value`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, InputSpec>,
    /// Values computed once at the start; strings may hold `${CEL}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub vars: IndexMap<String, Value>,
    /// Whether no other operation may run on the platform at the same time; also where a sub-workflow says so.
    #[serde(default = "yes")]
    pub lock: bool,
    /// Question before anything is changed; only `y` continues. A sub-workflow's is asked if its step says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Prompt>,
    /// Answers in advance to the plugins' prompts, by `component/key`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub answers: IndexMap<String, AnswerSource>,
    /// What must hold before anything is changed. A sub-workflow's are looked at when its step begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preconditions: Vec<Precondition>,
    /// What update steps rest on: the strictest of the whole and its sub-workflows holds for all.
    #[serde(default, skip_serializing_if = "Requirements::is_default")]
    pub requires: Requirements,
    /// What is done, in this order unless `needs` says otherwise.
    pub steps: Vec<Step>,
}

/// A question of the workflow to the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prompt {
    /// Line above the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<Template>,
    /// What is asked.
    pub message: Template,
    /// Input that makes the question unnecessary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_when: Option<SkipWhen>,
    /// Asked only when this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
}

/// An input with the value that makes a question unnecessary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SkipWhen {
    /// Name of an input of this workflow.
    pub input: String,
    /// Value it must have.
    pub equals: Value,
}

/// Where the answer to a plugin's prompt comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AnswerSource {
    /// Name of an input of this workflow; while its value is null, the operator is asked.
    pub input: String,
}

/// Something that must hold before anything is changed. At least one of `component` and `check` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Precondition {
    /// Name, unique among the preconditions.
    pub name: String,
    /// Component to verify first, or `*` for every component of the steps. What it finds is `components` in `check` and
    /// `message`. Without a `check` each of its checks must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// How much that verify looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Depth>,
    /// Parameters of that verify.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub with: IndexMap<String, Value>,
    /// What must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Expr>,
    /// Not looked at unless this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    /// What the operator reads when it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
}

/// What update steps rest on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Requirements {
    /// The backup set that each updated component must have.
    #[serde(default)]
    pub backup: BackupRequirement,
}

impl Requirements {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The backup set that an update rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackupRequirement {
    /// Greatest age of the set when the update begins.
    #[serde(default = "one_day")]
    pub max_age: TimeSpan,
}

impl Default for BackupRequirement {
    fn default() -> Self {
        Self { max_age: one_day() }
    }
}

const fn one_day() -> TimeSpan {
    TimeSpan::from_secs(86_400)
}

pub(crate) const fn yes() -> bool {
    true
}

impl Workflow {
    /// Every component step, those inside rolling blocks included; sub-workflows are not followed.
    #[must_use]
    pub fn component_steps(&self) -> Vec<&ComponentStep> {
        let mut found = Vec::new();
        for step in &self.steps {
            match &step.action {
                StepAction::Component(step) => found.push(step),
                StepAction::Rolling(rolling) => {
                    found.extend(rolling.steps.iter().filter_map(|step| match &step.action {
                        StepAction::Component(step) => Some(step),
                        StepAction::Rolling(_) | StepAction::Workflow(_) => None,
                    }));
                }
                StepAction::Workflow(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
