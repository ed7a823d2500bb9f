//! Steps of a workflow.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Batch, Prompt, Share, Targets};
use crate::{Depth, Expr, Operation, TimeSpan};

/// One step: an operation of a component, a rolling block, or another workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StepFile", into = "StepFile")]
pub struct Step {
    /// Name, unique within its list.
    pub name: String,
    /// Steps that must have succeeded before; none: the step before it in the list. Not for a step within a rolling block:
    /// there the steps follow each other.
    pub needs: Option<Vec<String>>,
    /// Skipped unless this is true.
    pub when: Option<Expr>,
    /// What follows when it fails. Not for a step within a rolling block: the block's own holds.
    pub on_failure: OnFailure,
    /// What it does.
    pub action: StepAction,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepAction {
    /// One operation of one component.
    Component(ComponentStep),
    /// Steps done host by host or batch by batch.
    Rolling(Box<Rolling>),
    /// Another workflow file.
    Workflow(SubWorkflow),
}

/// One operation of one component over its targets.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentStep {
    /// Component, the name of a plugin.
    pub component: String,
    /// What is done.
    pub operation: Operation,
    /// Parameters; strings may hold `${CEL}`.
    pub with: IndexMap<String, Value>,
    /// Hosts; none: the component's group, else all.
    pub targets: Option<Targets>,
    /// Cluster; none: the only one.
    pub cluster: Option<String>,
    /// How much verify looks at; only with `verify`.
    pub depth: Option<Depth>,
    /// New attempts after a failure.
    pub retry: Option<Retry>,
    /// Longest time of one attempt.
    pub timeout: Option<TimeSpan>,
    /// Targets worked on at the same time.
    pub forks: Option<u32>,
}

/// Steps done over a group, a batch of hosts at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rolling {
    /// Hosts to go over.
    pub over: Targets,
    /// Hosts at a time.
    #[serde(default)]
    pub batch: Batch,
    /// Hosts done alone before the batches begin.
    #[serde(default)]
    pub canaries: u32,
    /// Failed hosts that are tolerated; one more stops the block.
    #[serde(default = "no_failures")]
    pub max_failures: Share,
    /// Time to wait after each batch that changed something, before its health gate. Not waited for on simulated hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<TimeSpan>,
    /// Components that take a host out of service, in this order, and bring it back in reverse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<ComponentUse>,
    /// Waits for the operator around each host.
    #[serde(default)]
    pub pause: Pauses,
    /// Gates before the first batch and after each. Before the first batch and after the last one they ask about all
    /// hosts of their component, between about the hosts of the batch that was done, where the component's plugin can
    /// judge these alone (`any-hosts` of its verify); where those do not pass, all hosts are asked about. A verify of host
    /// scope is asked about each host by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthGate>,
    /// Values computed anew for each host; strings may hold `${CEL}` and see `host`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub vars: IndexMap<String, Value>,
    /// Component steps, done in order for each host.
    pub steps: Vec<Step>,
}

const fn no_failures() -> Share {
    Share::Count(0)
}

/// Waits for the operator around each host of a rolling block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pauses {
    /// Before a host is taken out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Prompt>,
    /// After it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Prompt>,
}

/// A component with parameters: a name, or an object with `component` and `with`.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(with = "ComponentUseShape")]
pub struct ComponentUse {
    /// Component, the name of a plugin.
    pub component: String,
    /// Parameters; strings may hold `${CEL}`.
    pub with: IndexMap<String, Value>,
}

/// A health check before, between and after batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HealthGate {
    /// Component, the name of a plugin.
    pub component: String,
    /// How much it looks at.
    #[serde(default)]
    pub depth: Depth,
    /// Parameters; strings may hold `${CEL}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub with: IndexMap<String, Value>,
    /// Looked at only when this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    /// New attempts until it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Longest time of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
}

/// Another workflow file as a step.
#[derive(Debug, Clone, PartialEq)]
pub struct SubWorkflow {
    /// Path, relative to this file.
    pub workflow: String,
    /// Its inputs; strings may hold `${CEL}`.
    pub inputs: IndexMap<String, Value>,
    /// Whether its own confirmation is asked when the step begins.
    pub confirm: bool,
}

/// New attempts after a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retry {
    /// Attempts altogether, the first included; at least 1.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Pause before the second attempt.
    #[serde(default = "five_seconds")]
    pub delay: TimeSpan,
    /// Factor by which each further pause grows; at least 1.
    #[serde(default = "double")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub backoff: f64,
    /// Longest pause.
    #[serde(default = "one_minute")]
    pub max_delay: TimeSpan,
}

const fn five_seconds() -> TimeSpan {
    TimeSpan::from_secs(5)
}

const fn one_minute() -> TimeSpan {
    TimeSpan::from_secs(60)
}

const fn double() -> f64 {
    2.0
}

impl Retry {
    /// Pause after that attempt failed (1 = the first); none: there is no further one.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Option<TimeSpan> {
        if attempt >= self.attempts {
            return None;
        }
        let longest = self.max_delay.get().as_secs_f64();
        let factor = self.backoff.max(1.0).powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
        let seconds = (self.delay.get().as_secs_f64() * factor).min(longest);
        // The product is a finite number below 100 years, or the limit itself.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by max_delay and positive"
        )]
        Some(TimeSpan::from_millis((seconds * 1000.0).round() as u64))
    }
}

/// What follows when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// No further step begins.
    #[default]
    Stop,
    /// Steps that do not need it go on.
    Continue,
    /// What the run changed is backed out, last first.
    BackOut,
}

mod file;
use file::{ComponentUseShape, StepFile};
