//! The call gate: the one way from a plugin to the world.
//!
//! Every call takes the same path, whatever the function: authorise, journal Start (flushed before a write is
//! performed), perform, journal End, answer, event. A denial is an answer; a [`Stop`] is none.

mod attempt;
mod authorise;
mod call;
mod data;
mod moved;
mod runner;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use runner_types::{DecisionEntry, Digest, Entry, EventKind, Payload, Policy, ResolvedHost};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use attempt::{Attempt, AttemptSpec};
pub(crate) use call::MAX_CALLS;
pub(crate) use runner::ask;
pub use runner::{Answer, Ask, Asked, Nobody, Reply, Wanted};
pub use stop::Stop;

use crate::artifacts::Store;
use crate::backend::live::secrets::Secrets;
use crate::contract::{Backend, Failure, FailureKind, InDoubt, Place};
use crate::journal::{Durability, Journal, JournalError};

/// Answers and arguments larger than this go to the store, and the journal names them by digest.
const INLINE: usize = 16 << 10;

/// Sees what happens in a run, for people. Derived from the journal, never the reverse.
pub trait Observer: Send + Sync {
    /// Takes an event. Must not block.
    fn observe(&self, event: EventKind);
}

/// Hosts and clusters of the platform, each with the backend that reaches it.
pub struct Platform {
    /// Hosts by name, in inventory order.
    pub hosts: IndexMap<String, ResolvedHost>,
    /// Backend of each host.
    pub host_backends: BTreeMap<String, Arc<dyn Backend>>,
    /// Backend of each cluster.
    pub cluster_backends: BTreeMap<String, Arc<dyn Backend>>,
    /// Secrets that the inventory can bring; the gate knows their names, and has their values left out of answers.
    pub secrets: Arc<Secrets>,
    /// What stands for the machine on which runner runs: HTTP from here, data of the store.
    pub runner_backend: Arc<dyn Backend>,
}

impl Platform {
    /// The backend for a place, when the inventory knows the place.
    #[must_use]
    pub fn backend(&self, place: &Place) -> Option<&Arc<dyn Backend>> {
        match place {
            Place::Host(name) => self.host_backends.get(name),
            Place::Cluster(name) => self.cluster_backends.get(name),
            Place::Runner => Some(&self.runner_backend),
        }
    }
}

/// What all attempts of a run share.
pub struct Gate {
    pub(crate) journal: Arc<Journal>,
    pub(crate) platform: Arc<Platform>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) operator: Arc<dyn Ask>,
    /// Seed of the run's randomness, from its header.
    pub(crate) seed: u64,
    cancelled: watch::Sender<bool>,
    /// Effects under way. Dropping an instance cuts none of them.
    effects: TaskTracker,
    /// Attempts with a write in doubt. Also one that ends when nobody waits for it any more is heard of here.
    doubts: Mutex<Vec<(runner_types::Attempt, InDoubt)>>,
    /// What the run's attempts put into the store.
    stored: data::Stored,
}

impl Gate {
    /// A gate for one run.
    #[must_use]
    pub fn new(
        journal: Arc<Journal>,
        platform: Arc<Platform>,
        policy: Arc<Policy>,
        store: Arc<dyn Store>,
        observer: Arc<dyn Observer>,
        operator: Arc<dyn Ask>,
        seed: u64,
    ) -> Self {
        let (cancelled, _) = watch::channel(false);
        let (effects, doubts, stored) = (TaskTracker::new(), Mutex::default(), data::Stored::default());
        Self { journal, platform, policy, store, observer, operator, seed, cancelled, effects, doubts, stored }
    }

    /// Asks every attempt to stop at its next call. Effects under way go on to their end.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Waits until the run is asked to stop.
    pub async fn cancelled(&self) {
        let mut cancelled = self.cancelled.subscribe();
        // The sender lives as long as the gate: an error cannot mean a cancellation.
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for all effects under way.
    pub async fn settled(&self) {
        self.effects.close();
        self.effects.wait().await;
        self.effects.reopen();
    }

    /// Leaves word of a write in doubt.
    fn leave(&self, attempt: &runner_types::Attempt, doubt: &InDoubt) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.push((attempt.clone(), doubt.clone()));
    }

    /// The first write of the run that is in doubt, or of one attempt of it.
    pub(crate) fn doubt(&self, of: Option<&runner_types::Attempt>) -> Option<InDoubt> {
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = doubts.iter().filter(|(attempt, _)| of.is_none_or(|of| of == attempt));
        found.next().map(|(_, doubt)| doubt.clone())
    }

    /// Journals what the executor decided or was told, and shows it.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) async fn decide(&self, decision: DecisionEntry, durability: Durability) -> Result<(), JournalError> {
        let event = EventKind::Decided {
            step: decision.step.clone(),
            target: decision.target.clone(),
            what: decision.what.clone(),
        };
        self.journal.append(Entry::Decision(decision), durability).await?;
        self.observer.observe(event);
        Ok(())
    }

    /// A failure without the values of secrets.
    pub(crate) fn masked(&self, failure: Failure) -> Failure {
        let Ok(mut value) = serde_json::to_value(&failure) else { return failure };
        if !self.platform.secrets.mask_json(&mut value) {
            return failure;
        }
        serde_json::from_value(value).unwrap_or_else(|_| {
            let kind = FailureKind::Other("answer".to_owned());
            Failure { kind, subject: String::new(), message: "what it says holds a secret".to_owned(), ..failure }
        })
    }

    /// A value as the journal holds it: large ones are put into the store first, synced.
    pub(crate) async fn payload(&self, value: Value) -> Result<Payload, JournalError> {
        // A quick bound that needs no second serialisation for the many small ones.
        if weight(&value, INLINE) <= INLINE {
            return Ok(Payload::Inline(value));
        }
        let failed = |reason: String| JournalError::Append { path: "the store".to_owned(), reason };
        let text = serde_json::to_vec(&value).map_err(|error| failed(error.to_string()))?;
        let size = text.len() as u64;
        let digest = self.store.put_bytes(text).await.map_err(|error| failed(error.to_string()))?;
        let digest: Digest = digest.parse().map_err(|error: runner_types::DigestError| failed(error.to_string()))?;
        Ok(Payload::Stored { digest, size })
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

/// Bytes of text in a value, roughly; counting ends beyond `limit`.
fn weight(value: &Value, limit: usize) -> usize {
    let sum = |parts: &mut dyn Iterator<Item = usize>| {
        let mut total = 2;
        for part in parts {
            total += part;
            if total > limit {
                break;
            }
        }
        total
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => sum(&mut items.iter().map(|item| weight(item, limit) + 1)),
        Value::Object(fields) => sum(&mut fields.iter().map(|(key, value)| key.len() + 4 + weight(value, limit))),
    }
}
