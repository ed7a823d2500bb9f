//! Whose data of the store is: a plugin has what it put there in this run, and the backup set that it was given.
//!
//! The store holds everything of every run, payloads of journals among it, and a digest can be had elsewhere: it is a name
//! and no permission.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use runner_types::Artifact;

use super::Attempt;
use super::authorise::failure;
use crate::capability::Subject;
use crate::contract::types::Denial;
use crate::contract::{Class, Failure, FailureKind, Function as _, Place, artifacts, files};

/// What the attempts of a run put into the store, by plugin and digest.
#[derive(Debug, Default)]
pub(super) struct Stored(Mutex<HashMap<(String, String), Vec<Artifact>>>);

impl Stored {
    pub(super) fn add(&self, plugin: &str, artifact: Artifact) {
        let key = (plugin.to_owned(), artifact.digest.to_string());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(key).or_default();
        // Whose it is, and of which file: under which name does not matter here.
        if !known.iter().any(|known| known.origin == artifact.origin && known.file == artifact.file) {
            known.push(artifact);
        }
    }

    fn of(&self, plugin: &str, digest: &str) -> Vec<Artifact> {
        let key = (plugin.to_owned(), digest.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default()
    }
}

impl Attempt {
    /// Judges data that goes to a host: it must be the plugin's own.
    pub(super) fn authorise_taking(&self, digest: &str) -> Result<(), Failure> {
        self.own(digest).map(|_| ())
    }

    /// Judges data that comes to the plugin: of its own, what it made itself, and what a file held that it may read.
    pub(super) fn authorise_data(&self, digest: &str) -> Result<(), Failure> {
        let mut refusal = None;
        for artifact in self.own(digest)? {
            match self.may_see(&artifact) {
                Ok(()) => return Ok(()),
                Err(failure) => refusal = Some(failure),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Whether the data that the digest names came from files of hosts alone.
    pub(super) fn is_of_a_file(&self, digest: &str) -> bool {
        self.own(digest).is_ok_and(|own| own.iter().all(|artifact| artifact.file.is_some()))
    }

    /// What the data is that the digest names; at least one thing.
    fn own(&self, digest: &str) -> Result<Vec<Artifact>, Failure> {
        let mut own = self.gate.stored.of(&self.spec.plugin, digest);
        own.extend(self.spec.saved.iter().filter(|artifact| artifact.digest.as_str() == digest).cloned());
        if own.is_empty() {
            let message = format!(
                "{} neither put {digest} into the store in this run nor was given it in a backup set; no grant would help",
                self.spec.plugin
            );
            return Err(denied(digest, message));
        }
        Ok(own)
    }

    fn may_see(&self, artifact: &Artifact) -> Result<(), Failure> {
        let place = match &artifact.origin {
            runner_types::Place::Host(host) => Place::Host(host.clone()),
            // Nothing but the plugin's own data comes from there.
            runner_types::Place::Cluster(_) | runner_types::Place::Runner => return Ok(()),
        };
        let Some(path) = &artifact.file else {
            let message = format!(
                "{} was not stored as one file or as data of {}'s own, and comes back by artifacts.restore only; no grant \
                 would help",
                artifact.name, self.spec.plugin
            );
            return Err(denied(artifact.digest.as_str(), message));
        };
        let paths = Subject::Paths(vec![Cow::from(path.as_str())]);
        self.judge(&self.usage::<files::Read>(&place, Class::Read, &paths), path)
    }
}

fn denied(digest: &str, message: String) -> Failure {
    let denial = Denial { capability: artifacts::GetData::NAME.to_owned(), grant: String::new(), requested: false };
    failure(FailureKind::Denied(denial), digest.to_owned(), message)
}
