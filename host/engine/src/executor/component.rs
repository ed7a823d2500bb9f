//! What the executor asks of a plugin. A WebAssembly plugin and a scripted one are equals here.

use std::sync::Arc;

use runner_types::{Depth, Digest, Manifest, Operation};

use crate::contract::operations::{Depth as ContractDepth, Verification};
use crate::contract::types::{Invocation, Problem, Report};
use crate::gate::Attempt;
use crate::plugin::{GuestError, Plugin};

/// What a plugin is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// `backup`.
    Backup,
    /// `update`.
    Update,
    /// `backout`.
    Backout,
    /// `verify` of this depth.
    Verify(Depth),
    /// `maintenance.enter`.
    Enter,
    /// `maintenance.leave`, with the outputs of the enter of this run.
    Leave(Option<String>),
}

impl Job {
    /// The operation that it belongs to.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Backup => Operation::Backup,
            Self::Update => Operation::Update,
            Self::Backout => Operation::Backout,
            Self::Verify(_) => Operation::Verify,
            Self::Enter | Self::Leave(_) => Operation::Maintenance,
        }
    }

    /// What tells jobs of one operation apart.
    #[must_use]
    pub fn mode(&self) -> Option<&'static str> {
        match self {
            Self::Backup | Self::Update | Self::Backout => None,
            Self::Verify(Depth::Versions) => Some("versions"),
            Self::Verify(Depth::Health) => Some("health"),
            Self::Enter => Some("enter"),
            Self::Leave(_) => Some("leave"),
        }
    }

    /// Whether writes are denied.
    #[must_use]
    pub fn reads_only(&self) -> bool {
        match self {
            Self::Verify(_) => true,
            Self::Backup | Self::Update | Self::Backout | Self::Enter | Self::Leave(_) => false,
        }
    }
}

/// What a plugin answered.
#[derive(Debug, Clone)]
pub enum Done {
    /// Of every job but verify.
    Report(Result<Report, Problem>),
    /// Of verify.
    Verification(Result<Verification, Problem>),
}

/// A plugin, as the executor sees it.
#[async_trait::async_trait]
pub trait Component: Send + Sync {
    /// What it says of itself.
    fn manifest(&self) -> &Arc<Manifest>;

    /// SHA-256 of its file.
    fn digest(&self) -> &Digest;

    /// Does a job in a fresh instance, all of whose effects go through the attempt.
    ///
    /// # Errors
    /// When the run stops or the plugin breaks down.
    async fn run(&self, attempt: Arc<Attempt>, job: &Job, invocation: &Invocation) -> Result<Done, GuestError>;
}

#[async_trait::async_trait]
impl Component for Plugin {
    fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn digest(&self) -> &Digest {
        &self.digest
    }

    async fn run(&self, attempt: Arc<Attempt>, job: &Job, invocation: &Invocation) -> Result<Done, GuestError> {
        let mut instance = self.instance(attempt).await?;
        Ok(match job {
            Job::Backup => Done::Report(instance.backup(invocation).await?),
            Job::Update => Done::Report(instance.update(invocation).await?),
            Job::Backout => Done::Report(instance.backout(invocation).await?),
            Job::Enter => Done::Report(instance.enter(invocation).await?),
            Job::Leave(entered) => Done::Report(instance.leave(invocation, entered.as_deref()).await?),
            Job::Verify(depth) => {
                let depth = match depth {
                    Depth::Versions => ContractDepth::Versions,
                    Depth::Health => ContractDepth::Health,
                };
                Done::Verification(instance.verify(invocation, depth).await?)
            }
        })
    }
}
