//! Events for people and for `--output jsonl`. They are derived from the journal and from the run's progress.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Attempt, CallId, Decision, EffectClass, Finding, LogLevel, Operation, Place, Recap, Report, RunOutcome,
    StepOutcome, Target, TimeSpan, Timestamp,
};

/// Something that a reporter shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Event {
    /// Number of the event, from 0.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub what: EventKind,
}

/// What a reporter shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A run begins or is resumed; carries all steps, so that a viewer can draw them at once.
    RunBegun {
        /// Run.
        run: String,
        /// Workflow.
        workflow: String,
        /// Whether it goes on with an earlier one.
        resumed: bool,
        /// Whether the platform is a simulated one.
        simulated: bool,
        /// Its steps in order.
        steps: Vec<StepOutline>,
    },
    /// An attempt begins.
    StepBegun {
        /// Which.
        attempt: Attempt,
        /// Component.
        component: String,
        /// Operation.
        operation: Operation,
        /// Hosts it works on.
        hosts: Vec<String>,
    },
    /// An effect begins.
    EffectBegun {
        /// Call.
        call: CallId,
        /// `interface.function`.
        function: String,
        /// Class.
        class: EffectClass,
        /// One line an item: where and what.
        items: Vec<EffectItem>,
    },
    /// An effect ended.
    EffectEnded {
        /// Call.
        call: CallId,
        /// `interface.function`.
        function: String,
        /// Items that failed, with their message.
        failed: Vec<EffectItem>,
        /// Whether anything changed.
        changed: bool,
        /// Whether the answer came from the journal.
        replayed: bool,
    },
    /// How far an attempt is.
    Progress {
        /// Which.
        attempt: Attempt,
        /// What it is doing.
        message: String,
        /// Of `total`.
        done: Option<u32>,
        /// Altogether.
        total: Option<u32>,
    },
    /// A plugin's line.
    Log {
        /// Which attempt.
        attempt: Attempt,
        /// How much it matters.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// The executor decided something, or was told.
    Decided {
        /// Step; none: the whole run.
        step: Option<String>,
        /// Target.
        target: Option<Target>,
        /// What.
        what: Decision,
    },
    /// A rolling block waits after a batch.
    Soaking {
        /// Name of the block's step.
        step: String,
        /// Hosts of the batch.
        hosts: Vec<String>,
        /// How long it waits.
        time: TimeSpan,
    },
    /// A prompt waits.
    Waiting {
        /// Its key.
        prompt: String,
        /// What it asks.
        message: String,
    },
    /// An attempt ended.
    StepEnded {
        /// Which.
        attempt: Attempt,
        /// How.
        outcome: StepOutcome,
        /// Report.
        report: Option<Report>,
        /// Why it did not end well.
        findings: Vec<Finding>,
    },
    /// The run ended.
    RunEnded {
        /// How.
        outcome: RunOutcome,
        /// Counts per host.
        recap: Recap,
        /// Why it did not end well.
        message: Option<String>,
    },
}

/// A step as the outline of a run shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepOutline {
    /// Path of the step.
    pub step: String,
    /// Component; none for rolling blocks and sub-workflows.
    pub component: Option<String>,
    /// Operation.
    pub operation: Option<Operation>,
    /// Hosts.
    pub hosts: Vec<String>,
}

/// One item of an effect, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EffectItem {
    /// Where.
    pub place: Place,
    /// What: a unit, a path, an object, or why it failed.
    pub subject: String,
}
