//! Steps as they stand in a file: one flat object whose fields tell its kind.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

use super::{ComponentStep, ComponentUse, OnFailure, Retry, Rolling, Step, StepAction, SubWorkflow};
use crate::{Depth, Expr, Operation, Targets, TimeSpan};

/// A step: `component` with `operation`, or `rolling`, or `workflow`.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "Step", extend("oneOf" = [
    { "required": ["component", "operation"] }, { "required": ["rolling"] }, { "required": ["workflow"] }
]))]
pub(super) struct StepFile {
    /// Name, unique within its list.
    name: String,
    /// Component, the name of a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    /// What is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    /// Parameters; strings may hold `${CEL}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<IndexMap<String, Value>>,
    /// Hosts; left out: the component's group, else all. Not for a step within a rolling block: that works on the
    /// block's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    targets: Option<Targets>,
    /// Cluster; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// How much verify looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<Depth>,
    /// New attempts after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    /// Longest time of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<TimeSpan>,
    /// Targets worked on at the same time. Not for a step within a rolling block: the block's `batch` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    forks: Option<u32>,
    /// Steps done over a group, a batch of hosts at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rolling: Option<Box<Rolling>>,
    /// Another workflow file, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    /// Inputs of that workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<IndexMap<String, Value>>,
    /// Whether that workflow's own confirmation is asked when the step begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm: Option<bool>,
    /// Steps that must have succeeded before; left out: the step before it. Not for a step within a rolling block: there
    /// the steps follow each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<Vec<String>>,
    /// Skipped unless this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<Expr>,
    /// What follows when it fails. Not for a step within a rolling block: the block's own holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<OnFailure>,
}

impl StepFile {
    /// Fields that are given and belong to one kind of step only, with that kind.
    fn kinds_of_fields(&self) -> [(&'static str, &'static str, bool); 12] {
        [
            ("component", "component", self.component.is_some()),
            ("operation", "component", self.operation.is_some()),
            ("with", "component", self.with.is_some()),
            ("targets", "component", self.targets.is_some()),
            ("cluster", "component", self.cluster.is_some()),
            ("depth", "component", self.depth.is_some()),
            ("retry", "component", self.retry.is_some()),
            ("timeout", "component", self.timeout.is_some()),
            ("forks", "component", self.forks.is_some()),
            ("rolling", "rolling", self.rolling.is_some()),
            ("inputs", "workflow", self.inputs.is_some()),
            ("confirm", "workflow", self.confirm.is_some()),
        ]
    }
}

impl TryFrom<StepFile> for Step {
    type Error = String;

    fn try_from(file: StepFile) -> Result<Self, String> {
        let name = file.name.clone();
        let kind = match (&file.component, &file.rolling, &file.workflow) {
            (Some(_), None, None) => "component",
            (None, Some(_), None) => "rolling",
            (None, None, Some(_)) => "workflow",
            _ => {
                return Err(format!(
                    "step {name:?} must have exactly one of `component` (with `operation`), `rolling` and `workflow`"
                ));
            }
        };
        for (field, of, given) in file.kinds_of_fields() {
            if given && of != kind {
                return Err(format!("step {name:?}: `{field}` belongs to a `{of}` step, and this is a `{kind}` step"));
            }
        }
        let action = match (file.component, file.rolling, file.workflow) {
            (Some(component), ..) => {
                let operation = file.operation.ok_or_else(|| {
                    format!("step {name:?} has `component` and needs `operation`: backup, update, backout or verify")
                })?;
                if operation == Operation::Maintenance {
                    return Err(format!(
                        "step {name:?}: maintenance is no step of its own; name the component in the `maintenance` list \
                         of a rolling block"
                    ));
                }
                if file.depth.is_some() && operation != Operation::Verify {
                    return Err(format!("step {name:?}: `depth` belongs to the operation verify, not to {operation}"));
                }
                StepAction::Component(ComponentStep {
                    component,
                    operation,
                    with: file.with.unwrap_or_default(),
                    targets: file.targets,
                    cluster: file.cluster,
                    depth: file.depth,
                    retry: file.retry,
                    timeout: file.timeout,
                    forks: file.forks,
                })
            }
            (None, Some(rolling), _) => StepAction::Rolling(rolling),
            (None, None, workflow) => StepAction::Workflow(SubWorkflow {
                workflow: workflow.unwrap_or_default(),
                inputs: file.inputs.unwrap_or_default(),
                confirm: file.confirm.unwrap_or_default(),
            }),
        };
        Ok(Self { name, needs: file.needs, when: file.when, on_failure: file.on_failure.unwrap_or_default(), action })
    }
}

impl From<Step> for StepFile {
    fn from(step: Step) -> Self {
        let mut file = Self {
            name: step.name,
            needs: step.needs,
            when: step.when,
            on_failure: Some(step.on_failure).filter(|wanted| *wanted != OnFailure::default()),
            ..Self::default()
        };
        match step.action {
            StepAction::Component(of) => {
                file.component = Some(of.component);
                file.operation = Some(of.operation);
                file.with = Some(of.with).filter(|with| !with.is_empty());
                file.targets = of.targets;
                file.cluster = of.cluster;
                file.depth = of.depth;
                file.retry = of.retry;
                file.timeout = of.timeout;
                file.forks = of.forks;
            }
            StepAction::Rolling(rolling) => file.rolling = Some(rolling),
            StepAction::Workflow(of) => {
                file.workflow = Some(of.workflow);
                file.inputs = Some(of.inputs).filter(|inputs| !inputs.is_empty());
                file.confirm = Some(of.confirm).filter(|confirm| *confirm);
            }
        }
        file
    }
}

impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        StepFile::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        StepFile::json_schema(generator)
    }
}

/// Shape of a component with parameters in a file, for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum ComponentUseShape {
    /// The component's name.
    Name(String),
    /// The component with parameters.
    Full(ComponentUseFile),
}

/// A component with parameters.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ComponentUseFile {
    /// Component, the name of a plugin.
    component: String,
    /// Parameters; strings may hold `${CEL}`.
    #[serde(default)]
    with: IndexMap<String, Value>,
}

impl Serialize for ComponentUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.with.is_empty() {
            return serializer.serialize_str(&self.component);
        }
        ComponentUseFile { component: self.component.clone(), with: self.with.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ComponentUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ComponentUse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a component's name or an object with `component` and `with`")
            }

            fn visit_str<E: de::Error>(self, component: &str) -> Result<ComponentUse, E> {
                Ok(ComponentUse { component: component.to_owned(), with: IndexMap::new() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ComponentUse, A::Error> {
                let file = ComponentUseFile::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ComponentUse { component: file.component, with: file.with })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
