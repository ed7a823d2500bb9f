//! Stops: what ends an instance without an answer.

use crate::contract::InDoubt;
use crate::journal::JournalError;

/// Why an instance is dropped in the middle of a call. It is not journalled as an answer: as one it would be replayed for
/// ever. A resume makes the call again, but for the items that ended before it.
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

impl Stop {
    /// The one of two that must be heard, the first of equals: whatever else stopped a run, an effect in doubt has to be
    /// looked at.
    #[must_use]
    pub fn graver(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let rank = |stop: &Option<Self>| match stop {
            None => 0,
            Some(Self::Cancelled) => 1,
            Some(Self::Unanswerable { .. }) => 2,
            Some(Self::Journal(_)) => 3,
            Some(Self::InDoubt(_)) => 4,
        };
        if rank(&other) > rank(&one) { other } else { one }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_heard_whatever_else_stopped_the_run() {
        let unwritable = JournalError::Append { path: "j".to_owned(), reason: "full".to_owned() };
        let doubt = |message: &str| InDoubt { item: 0, message: message.to_owned() };
        let ranked = [
            None,
            Some(Stop::Cancelled),
            Some(Stop::Unanswerable { prompt: "p".to_owned(), option: None }),
            Some(unwritable.into()),
            Some(doubt("first").into()),
        ];
        let told = |stop: &Option<Stop>| stop.as_ref().map(ToString::to_string);
        for (index, lesser) in ranked.iter().enumerate() {
            for graver in &ranked[index..] {
                assert_eq!(told(&Stop::graver(lesser.clone(), graver.clone())), told(graver));
                assert_eq!(told(&Stop::graver(graver.clone(), lesser.clone())), told(graver));
            }
        }
        let [.., first] = ranked;
        assert_eq!(told(&Stop::graver(first.clone(), Some(doubt("second").into()))), told(&first));
    }
}
