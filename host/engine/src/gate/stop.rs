//! Stops: what ends an instance without an answer.

use crate::contract::InDoubt;
use crate::journal::JournalError;

/// Why an instance is dropped in the middle of a call. Nothing is journalled as an answer: as one it would be replayed
/// for ever. A resume makes the call again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Stop {
    /// The run was asked to stop.
    #[error("the run was asked to stop")]
    Cancelled,
    /// A write began and nobody knows how it ended.
    #[error(transparent)]
    InDoubt(#[from] InDoubt),
    /// A prompt that nobody can answer.
    #[error("nobody can answer the prompt `{prompt}`")]
    Unanswerable {
        /// Key of the prompt.
        prompt: String,
        /// What answers it in advance, for example `-e stop_containers=true`.
        option: Option<String>,
    },
    /// The journal cannot be written: without it no effect may begin.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
