//! All objects of a cluster in a file, and back: what a backup of its data store is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::controllers::Work;
use super::objects::kind_of;
use crate::backend::failure;
use crate::backend::simulated::facts::{Fact, Key};
use crate::backend::simulated::model::files::Entry;
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;

/// First word of such a file.
const MAGIC: &str = "runner-simulated-snapshot";
/// Revisions that a restore leaves out, so that nobody takes a new object for an old one.
const BUMP: u64 = 1000;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    note: Value,
    revision: u64,
    objects: usize,
}

/// What a snapshot's file holds.
pub(crate) struct Snapshot {
    pub(crate) note: Value,
    pub(crate) revision: u64,
    /// Rest of each key, and the object.
    pub(crate) objects: Vec<(String, Fact)>,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Model<'_> {
    /// Writes all objects of a cluster into a file on a host.
    pub(crate) fn write_snapshot(&mut self, cluster: &str, host: &str, path: &str, note: Value) -> Result<(), Failure> {
        let prefix = keys::objects(cluster);
        let objects = self.tx.below(&prefix);
        let header =
            Header { format: MAGIC.to_owned(), note, revision: self.revision(cluster)?, objects: objects.len() };
        let mut text =
            serde_json::to_string(&header).map_err(|error| failure::other("simulator", path, error.to_string()))?;
        text.push('\n');
        for (key, object) in objects {
            text.push_str(&Value::from(&key[prefix.len()..]).to_string());
            text.push(' ');
            text.push_str(&object);
            text.push('\n');
        }
        let content = self.blobs.keep(text.into_bytes())?;
        let path = self.resolve(host, path, true)?;
        let entry = Entry { mode: 0o600, ..Entry::file(content, self.now) };
        self.put(host, &path, &entry)
    }

    /// Reads a snapshot's file.
    pub(crate) fn read_snapshot(&self, host: &str, path: &str) -> Result<Snapshot, Failure> {
        let content = self.regular(host, path)?.content.unwrap_or_default();
        let wrong = |reason: String| {
            failure::failed(path, format!("{path} on {host} is no snapshot: {reason}"), Some(1), &reason)
        };
        let mut lines = BufReader::new(self.blobs.reader(&content, 0)?).lines();
        let first = lines.next().transpose().map_err(|error| wrong(error.to_string()))?.unwrap_or_default();
        let header: Header = serde_json::from_str(&first).map_err(|error| wrong(error.to_string()))?;
        if header.format != MAGIC {
            return Err(wrong(format!("format {:?}", header.format)));
        }
        let mut objects = Vec::with_capacity(header.objects.min(1 << 20));
        for line in lines {
            let line = line.map_err(|error| wrong(error.to_string()))?;
            let mut parts = serde_json::Deserializer::from_str(&line).into_iter::<String>();
            let key = parts.next().and_then(Result::ok).ok_or_else(|| wrong("a line without a key".to_owned()))?;
            let object = line.get(parts.byte_offset()..).unwrap_or_default().trim();
            serde_json::from_str::<serde::de::IgnoredAny>(object).map_err(|error| wrong(error.to_string()))?;
            objects.push((key, object.into()));
        }
        if objects.len() != header.objects {
            return Err(wrong(format!("{} objects instead of {}", objects.len(), header.objects)));
        }
        Ok(Snapshot {
            note: header.note,
            revision: header.revision,
            objects,
            bytes: content.size(),
            sha256: self.blobs.sha256(&content)?,
        })
    }

    /// Replaces all objects of a cluster by those of a snapshot.
    pub(crate) fn restore_snapshot(&mut self, cluster: &str, host: &str, path: &str) -> Result<(), Failure> {
        let snapshot = self.read_snapshot(host, path)?;
        let prefix = keys::objects(cluster);
        let kept: BTreeSet<&str> = snapshot.objects.iter().map(|(key, _)| key.as_str()).collect();
        for (key, _) in self.tx.below(&prefix) {
            if !kept.contains(&key[prefix.len()..]) {
                self.swap(cluster, &key, None)?;
            }
        }
        // Nodes first: Pods are counted on them.
        let (nodes, others): (Vec<_>, Vec<_>) = snapshot.objects.iter().partition(|(key, _)| key.starts_with("Node/"));
        for (key, object) in nodes.into_iter().chain(others) {
            self.swap(cluster, &format!("{prefix}{key}"), Some(Fact::clone(object)))?;
        }
        let now = self.revision(cluster)?;
        self.raise_revision(cluster, snapshot.revision.saturating_sub(now) + BUMP)?;
        self.work.insert(Work::All { cluster: cluster.to_owned() });
        Ok(())
    }

    /// Puts an object in place without asking any controller.
    fn swap(&mut self, cluster: &str, key: &str, fact: Option<Fact>) -> Result<(), Failure> {
        let before = self.object_at(key)?;
        match fact {
            Some(fact) => self.tx.set_text(Key::from(key), fact),
            None => self.tx.remove(key),
        }
        let after = self.object_at(key)?;
        let Some(object) = after.as_ref().or(before.as_ref()) else {
            return Ok(());
        };
        match kind_of(object).as_str() {
            "Pod" => self.account(cluster, before.as_ref(), after.as_ref()),
            "Node" => self.note_node(cluster, before.as_ref(), after.as_ref()),
            _ => Ok(()),
        }
    }
}
