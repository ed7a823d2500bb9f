//! How attempts and runs end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an attempt of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Well, and nothing had to change.
    Ok,
    /// Well, and something changed.
    Changed,
    /// Not begun, on purpose.
    Skipped,
    /// A check of the plugin or of the workflow said no.
    Refused,
    /// The operator said no to what the plugin asked.
    Declined,
    /// An effect was denied.
    Denied,
    /// A host or an API did not answer.
    Unreachable,
    /// An effect or the plugin failed.
    Failed,
    /// Its time was over.
    TimedOut,
    /// Asked to stop.
    Cancelled,
    /// An effect began and its outcome is unknown.
    InDoubt,
}

impl StepOutcome {
    /// Whether steps that need this one may begin.
    #[must_use]
    pub const fn is_success(self) -> bool {
        match self {
            Self::Ok | Self::Changed | Self::Skipped => true,
            Self::Refused
            | Self::Declined
            | Self::Denied
            | Self::Unreachable
            | Self::Failed
            | Self::TimedOut
            | Self::Cancelled
            | Self::InDoubt => false,
        }
    }

    /// Whether a further attempt may follow in the same run, after its cause was mended.
    #[must_use]
    pub const fn may_retry(self) -> bool {
        match self {
            Self::Refused
            | Self::Declined
            | Self::Denied
            | Self::Unreachable
            | Self::Failed
            | Self::TimedOut
            | Self::Cancelled => true,
            Self::Ok | Self::Changed | Self::Skipped | Self::InDoubt => false,
        }
    }

    /// Whether a new attempt by itself can help: the workflow's `retry`.
    #[must_use]
    pub const fn retries_by_itself(self) -> bool {
        match self {
            Self::Unreachable | Self::Failed => true,
            // A time-out leaves an effect under way; a refusal, a no and a denial need somebody to change something.
            Self::Ok
            | Self::Changed
            | Self::Skipped
            | Self::Refused
            | Self::Declined
            | Self::Denied
            | Self::TimedOut
            | Self::Cancelled
            | Self::InDoubt => false,
        }
    }

    /// The name that files use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Declined => "declined",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in-doubt",
        }
    }
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every step ended well.
    Succeeded,
    /// A check said no.
    Refused,
    /// An effect was denied.
    Denied,
    /// A host or an API did not answer.
    Unreachable,
    /// A step failed.
    Failed,
    /// The operator answered no.
    Declined,
    /// Nobody could answer a prompt.
    Unanswerable,
    /// Asked to stop.
    Cancelled,
    /// An effect began and its outcome is unknown.
    InDoubt,
    /// What failed was backed out.
    BackedOut,
    /// Backing out failed too.
    Stuck,
}

impl RunOutcome {
    /// Whether the run is over for good; the others can be resumed.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::BackedOut => true,
            // A plugin may ask when much has been done already.
            Self::Declined
            | Self::Refused
            | Self::Denied
            | Self::Unreachable
            | Self::Failed
            | Self::Unanswerable
            | Self::Cancelled
            | Self::InDoubt
            | Self::Stuck => false,
        }
    }

    /// The name that files use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Unanswerable => "unanswerable",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in-doubt",
            Self::BackedOut => "backed-out",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
