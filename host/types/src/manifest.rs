//! Plugin manifests.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

use crate::{ApiVersion, InputType, Operation, Request, Scope};

mod check;

/// What a plugin says of itself: the JSON in its custom section `runner:manifest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Component that the plugin knows.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// Version of the contract it was made for.
    pub api: ApiVersion,
    /// One line for people.
    pub description: String,
    /// Operations it offers.
    pub operations: IndexMap<Operation, OperationSpec>,
    /// Whether it exports `resolve`, which decides what became of an effect in doubt. This runner does not call it.
    #[serde(default)]
    pub resolve: bool,
    /// Questions it may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptSpec>,
    /// Capabilities it asks for; one entry is one future line of a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Request>,
    /// What it may use of the machine.
    #[serde(default)]
    pub limits: Limits,
}

/// One operation of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OperationSpec {
    /// On what one invocation works.
    pub scope: Scope,
    /// Verify only: it judges any part of its component's hosts, and what belongs to no host by what the cluster says of
    /// itself. Health gates between the batches of a rolling block then ask about the hosts of the batch only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_hosts: bool,
    /// JSON Schema of its parameters.
    #[serde(default = "no_parameters")]
    pub parameters: Value,
}

fn no_parameters() -> Value {
    serde_json::json!({ "type": "object", "additionalProperties": false })
}

/// A question that a plugin may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PromptSpec {
    /// Stable name, by which a workflow answers it in advance.
    pub key: String,
    /// Operations in which it may be asked.
    pub operations: Vec<Operation>,
    /// What kind of answer it wants.
    #[serde(default, skip_serializing_if = "PromptKind::is_default")]
    pub kind: PromptKind,
    /// Options of a choice that a workflow can choose in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Boolean parameter without which it is never asked; a leading `!` turns that round. Left out: always possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_by: Option<Condition>,
    /// Whether a yes destroys something.
    #[serde(default)]
    pub destructive: bool,
    /// What it asks, shortly.
    pub message: String,
}

/// What kind of answer a prompt wants: which function of `operator` asks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromptKind {
    /// Yes or no. In advance: true or false.
    #[default]
    Confirm,
    /// The Enter key. In advance: true; false leaves it to the operator.
    Pause,
    /// One of several. In advance: one of `options`.
    Choose,
}

impl fmt::Display for PromptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirm => "confirm",
            Self::Pause => "pause",
            Self::Choose => "choose",
        })
    }
}

impl PromptKind {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl PromptSpec {
    /// Type of the input that answers it in advance.
    #[must_use]
    pub const fn answered_by(&self) -> InputType {
        match self.kind {
            PromptKind::Confirm | PromptKind::Pause => InputType::Boolean,
            PromptKind::Choose => InputType::String,
        }
    }

    /// Whether a value answers it in advance.
    #[must_use]
    pub fn is_answered(&self, value: &Value) -> bool {
        match self.kind {
            PromptKind::Confirm => value.is_boolean(),
            PromptKind::Pause => *value == Value::Bool(true),
            PromptKind::Choose => self.options.iter().any(|option| value == option.as_str()),
        }
    }
}

/// A boolean parameter, or `!` and a boolean parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Condition(pub String);

impl Condition {
    /// Name of the parameter.
    #[must_use]
    pub fn parameter(&self) -> &str {
        self.0.strip_prefix('!').unwrap_or(&self.0)
    }

    /// Whether it holds for these parameters; a parameter that is absent counts as false.
    #[must_use]
    pub fn holds(&self, parameters: &Value) -> bool {
        let value = parameters.get(self.parameter()).and_then(Value::as_bool).unwrap_or(false);
        value != self.0.starts_with('!')
    }
}

/// What a plugin may use of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// Memory of one instance, in MiB.
    #[serde(default = "default_memory")]
    #[schemars(range(min = 1, max = 1024))]
    pub memory_mib: u32,
}

const fn default_memory() -> u32 {
    64
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mib: default_memory() }
    }
}

impl Manifest {
    /// Prompts that an operation with these parameters may ask.
    pub fn prompts_of<'a>(
        &'a self,
        operation: Operation,
        parameters: &'a Value,
    ) -> impl Iterator<Item = &'a PromptSpec> {
        self.prompts.iter().filter(move |prompt| {
            prompt.operations.contains(&operation)
                && prompt.enabled_by.as_ref().is_none_or(|condition| condition.holds(parameters))
        })
    }
}
