//! The journal of a run: JSON Lines, each bound to the one before by its hash.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::fmt;

use crate::{Digest, EffectClass, Operation, Operator, Recap, Report, Target, Timestamp};

mod fold;
mod outcome;

pub use fold::*;
pub use outcome::*;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Number of the line, from 0.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The `hash` of the line before; SHA-256 of `run.json` for the first.
    pub prev: Digest,
    /// What happened.
    pub entry: Entry,
    /// SHA-256 of this line's text before the comma of this field, so that a change of the last line is found, too.
    pub hash: Digest,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// An attempt of a step over one target begins.
    StepBegun(StepBegun),
    /// A call of a plugin begins. On disk before the effect, when it is a write.
    Start(Start),
    /// Items of a call ended. A call is over when all its items have.
    End(End),
    /// The executor decided something, or was told.
    Decision(DecisionEntry),
    /// A plugin wrote a line for people.
    Log(LogLine),
    /// An attempt of a step over one target ended.
    StepEnded(StepEnded),
    /// The run ended, or was left in a state from which it can be resumed.
    RunEnded(RunEnded),
}

/// An attempt: of which step, over which target, the how manieth.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attempt {
    /// Step, by its path through rolling blocks and sub-workflows: `nodes/node-1/kubernetes`.
    pub step: String,
    /// Target.
    pub target: Target,
    /// 1 for the first.
    pub attempt: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @ {} #{}", self.step, self.target, self.attempt)
    }
}

/// A call: the how manieth of its attempt. Calls match by this, never by their place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CallId {
    /// Step, as in its `Attempt`.
    pub step: String,
    /// Target.
    pub target: Target,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// 0 for the first call of the attempt.
    pub index: u32,
}

impl CallId {
    /// The attempt it belongs to.
    #[must_use]
    pub fn of(&self) -> Attempt {
        Attempt { step: self.step.clone(), target: self.target.clone(), attempt: self.attempt }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @ {} #{}.{}", self.step, self.target, self.attempt, self.index)
    }
}

/// An attempt of a step over one target begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepBegun {
    /// Which.
    pub attempt: Attempt,
    /// Component.
    pub component: String,
    /// Operation.
    pub operation: Operation,
    /// `enter` or `leave` of maintenance, `versions` or `health` of verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Digest of the plugin.
    pub plugin: Digest,
    /// Parameters, defaults filled in.
    pub parameters: Value,
    /// Hosts that the plugin is given.
    pub hosts: Vec<String>,
    /// Backup set that the plugin is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// A call of a plugin begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Start {
    /// Which.
    pub call: CallId,
    /// `interface.function`.
    pub function: String,
    /// The strongest class of its items.
    pub class: EffectClass,
    /// Whether data may be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// How many items it has.
    pub count: u32,
    /// What was asked, a list.
    pub items: Payload,
    /// For a write: what was there before, item by item; `null` where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Value>,
}

/// Items of a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct End {
    /// Which call.
    pub call: CallId,
    /// Items that ended.
    pub items: Vec<ItemEnd>,
}

/// How one item of a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ItemEnd {
    /// Its place in the call's list.
    pub item: u32,
    /// How it ended.
    pub outcome: ItemOutcome,
    /// Whether the host saw something change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

/// How one item of a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ItemOutcome {
    /// The answer.
    Ok(Payload),
    /// The failure.
    Failed(Value),
}

impl ItemOutcome {
    /// Whether it succeeded.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        match self {
            Self::Ok(_) => true,
            Self::Failed(_) => false,
        }
    }
}

/// JSON in the journal, or in the store when it is large: then `{"$stored": DIGEST, "size": BYTES}`.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(with = "Value")]
pub enum Payload {
    /// The value itself.
    Inline(Value),
    /// Its JSON text in the store.
    Stored {
        /// SHA-256 of the text.
        digest: Digest,
        /// Size of the text in bytes.
        size: u64,
    },
}

impl Payload {
    /// The value, when it stands in the journal itself.
    #[must_use]
    pub const fn inline(&self) -> Option<&Value> {
        match self {
            Self::Inline(value) => Some(value),
            Self::Stored { .. } => None,
        }
    }
}

const STORED: &str = "$stored";

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(value) => value.serialize(serializer),
            Self::Stored { digest, size } => {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry(STORED, digest)?;
                map.serialize_entry("size", size)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Some(digest) = value.get(STORED) else {
            return Ok(Self::Inline(value));
        };
        let digest = digest.as_str().unwrap_or_default().parse().map_err(de::Error::custom)?;
        let size = value.get("size").and_then(Value::as_u64);
        Ok(Self::Stored { digest, size: size.ok_or_else(|| de::Error::missing_field("size"))? })
    }
}

/// The executor decided something, or was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecisionEntry {
    /// Step it is about; none: the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Target it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What.
    pub what: Decision,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Values of inputs, vars and expressions that were fixed for the run.
    Fixed {
        /// By name.
        values: serde_json::Map<String, Value>,
    },
    /// A precondition or gate held, or did not.
    Gate {
        /// Its name.
        name: String,
        /// Whether it held.
        held: bool,
        /// What was said when it did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Hosts of the next batch of a rolling block.
    Batch {
        /// 0 for the first batch; canaries come first.
        number: u32,
        /// Its hosts.
        hosts: Vec<String>,
    },
    /// A step was left out.
    Skipped {
        /// Why.
        reason: String,
    },
    /// So many hosts of a rolling block failed that it stops.
    Threshold {
        /// Failed hosts.
        failures: u32,
        /// Tolerated ones.
        limit: u32,
    },
    /// A new attempt follows.
    Retry {
        /// Its number.
        attempt: u32,
        /// After this pause.
        delay: crate::TimeSpan,
    },
    /// A time-out ended the waiting.
    TimedOut {
        /// After this time.
        after: crate::TimeSpan,
    },
    /// A prompt was answered.
    Answered {
        /// Its key: `confirm`, `pause-before`, `pause-after`, or the plugin's.
        prompt: String,
        /// What was asked.
        message: String,
        /// The answer.
        answer: Value,
        /// How it came.
        by: AnsweredBy,
    },
    /// The update's backup set was chosen, or bound.
    BackupSet {
        /// Component.
        component: String,
        /// Set.
        set: String,
    },
    /// Asked to stop at the next safe place.
    Cancelled {
        /// By whom; none: a signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Operator>,
    },
    /// Somebody went on with the run.
    Resumed {
        /// Who.
        by: Operator,
        /// Version of the runner.
        runner: String,
    },
    /// What the run changed is being backed out.
    Unwinding {
        /// Steps, in the order in which they are backed out.
        steps: Vec<String>,
    },
}

/// How the answer to a prompt came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnsweredBy {
    /// A person.
    Operator {
        /// Who.
        who: Operator,
        /// At which terminal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<String>,
    },
    /// An input of the workflow.
    Input {
        /// Its name.
        name: String,
    },
}

/// A plugin wrote a line for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogLine {
    /// Which attempt.
    pub attempt: Attempt,
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub message: String,
    /// Its fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<crate::Label>,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For those who look for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// To be looked at.
    Warn,
    /// Something went wrong.
    Error,
}

/// An attempt of a step over one target ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepEnded {
    /// Which.
    pub attempt: Attempt,
    /// How.
    pub outcome: StepOutcome,
    /// What the plugin reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Why it did not end well; one finding at least, then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<crate::Finding>,
    /// The failure that the plugin passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Value>,
}

/// The run ended, or was left in a state from which it can be resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunEnded {
    /// How.
    pub outcome: RunOutcome,
    /// Counts per host.
    pub recap: Recap,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
