//! What an operation under way still owes a host, kept on the host itself: an operation begun again after a stop, even
//! by another run, restarts what was to be restarted and brings back the containers that ran before the first one.

use runner_plugin_sdk::api::files::{self as api, FileStatus, Precondition, RemovalOrder};
use runner_plugin_sdk::files::{Wanted, at, ensure, read};
use runner_plugin_sdk::{Answers, Presence, Problem, refused};
use serde::{Deserialize, Serialize};

use crate::containers::Container;

/// Units to restart and containers to bring back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub(crate) restart: Vec<String>,
    pub(crate) containers: Vec<Container>,
}

impl Owed {
    /// Nothing is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.restart.is_empty() && self.containers.is_empty()
    }

    /// With what another note holds besides.
    pub(crate) fn and(mut self, other: &Owed) -> Owed {
        for unit in &other.restart {
            if !self.restart.contains(unit) {
                self.restart.push(unit.clone());
            }
        }
        for container in &other.containers {
            if !self.containers.iter().any(|known| known.id == container.id) {
                self.containers.push(container.clone());
            }
        }
        self
    }
}

/// A note found on a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    pub(crate) owed: Owed,
    /// When it was written; none: there is none.
    written: Option<String>,
}

impl Note {
    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.written.is_some()
    }

    /// Since when a unit is owed a restart.
    pub(crate) fn since(&self, unit: &str) -> Option<&str> {
        let owes = self.owed.restart.iter().any(|owed| owed == unit);
        self.written.as_deref().filter(|_| owes)
    }
}

/// Reads the note of an interrupted operation.
pub(crate) fn look(host: &str, path: &str) -> Result<Note, Problem> {
    let Some(data) = read(&[at(host, path)])?.pop().flatten() else {
        return Ok(Note::default());
    };
    let owed = parse(&data).map_err(|why| refused("unreadable-note", host, format!("{path} on host {host} should say what an interrupted operation owes, and cannot be read ({why}); look at it, then remove it")))?;
    let status: Option<FileStatus> = api::stat(&[at(host, path)]).one().present()?;
    Ok(Note { owed, written: status.map(|status| status.modified) })
}

fn parse(data: &[u8]) -> Result<Owed, serde_json::Error> {
    serde_json::from_slice(data)
}

/// Writes the note, before anything is changed.
pub(crate) fn write(host: &str, path: &str, found: &Note, owed: &Owed) -> Result<(), Problem> {
    if owed.is_empty() || found.owed == *owed {
        return Ok(());
    }
    let content = serde_json::to_vec(owed)
        .map_err(|error| refused("unwritable-note", host, format!("what is owed cannot be written down: {error}")))?;
    ensure(&[Wanted { at: at(host, path), content, mode: Some(0o600) }])?;
    Ok(())
}

/// Removes the note: nothing is owed any more.
pub(crate) fn settle(host: &str, path: &str) -> Result<(), Problem> {
    let order = RemovalOrder {
        host: host.to_owned(),
        path: path.to_owned(),
        recursive: false,
        contents_only: false,
        precondition: Precondition::Anything,
    };
    api::remove(&[order]).one()?;
    Ok(())
}
