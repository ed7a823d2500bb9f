//! What an update or backout leaves on a host about itself: the configuration as it was when it ended, and which units
//! still have to be restarted when it did not end.

use std::collections::BTreeMap;

use sdk::Failure;
use sdk::files::{Wanted, at, ensure};
use serde::{Deserialize, Serialize};

use crate::configuration::Files;

const FORMAT: u32 = 1;

/// The record of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// Hash of each configuration file.
    pub(crate) files: BTreeMap<String, String>,
    /// For each unit, what it was last restarted for; none: an operation began and its restart is still to come.
    pub(crate) units: BTreeMap<String, Option<String>>,
}

/// Where it lies.
pub(crate) fn path(directory: &str) -> String {
    format!("{directory}/.runner.json")
}

impl Record {
    /// Reads a record. One that cannot be read counts as none, so that it is written anew.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|record| record.format == FORMAT)
    }

    /// The record of a host that has none.
    pub(crate) fn of(files: &Files) -> Self {
        let mut record = Self { format: FORMAT, ..Self::default() };
        record.note(files);
        record
    }

    /// Takes the configuration as it is.
    pub(crate) fn note(&mut self, files: &Files) {
        self.files = files.iter().map(|(path, file)| (path.clone(), file.hash.clone())).collect();
    }

    /// Whether an operation began and did not end.
    pub(crate) fn is_open(&self) -> bool {
        self.units.values().any(Option::is_none)
    }

    /// Units whose restart is still to come.
    pub(crate) fn awaited(&self) -> Vec<&str> {
        self.units.iter().filter(|(_, key)| key.is_none()).map(|(unit, _)| unit.as_str()).collect()
    }

    /// Notes that an operation on these units ended: what it did not restart does not run there.
    pub(crate) fn close(&mut self, units: impl Iterator<Item = String>) {
        for unit in units {
            if self.awaits(&unit) {
                self.units.remove(&unit);
            }
        }
    }

    /// Whether the restart of that unit is still to come.
    pub(crate) fn awaits(&self, unit: &str) -> bool {
        matches!(self.units.get(unit), Some(None))
    }

    /// Whether that unit was restarted by an operation that ended.
    pub(crate) fn has(&self, unit: &str) -> bool {
        matches!(self.units.get(unit), Some(Some(_)))
    }

    /// Files that somebody else wrote, made or removed since, sorted.
    pub(crate) fn edited<'a>(&'a self, files: &'a Files) -> Vec<&'a str> {
        if self.is_open() {
            return Vec::new();
        }
        let gone = self.files.keys().filter(|path| !files.contains_key(*path));
        let other = files.iter().filter(|(path, file)| self.files.get(*path) != Some(&file.hash)).map(|(path, _)| path);
        let mut edited: Vec<&str> = gone.chain(other).map(String::as_str).collect();
        edited.sort_unstable();
        edited
    }

    /// Writes it where it differs.
    pub(crate) fn write(&self, host: &str, directory: &str) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        ensure(&[Wanted { at: at(host, &path(directory)), content: text.into_bytes(), mode: Some(0o600) }]).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::files;

    #[test]
    fn what_changed_since_is_named() {
        let record = Record::of(&files(&[("/a", "1"), ("/b", "1"), ("/c", "1")]));
        let now = files(&[("/a", "1"), ("/b", "2"), ("/d", "1")]);
        assert_eq!(record.edited(&now), ["/b", "/c", "/d"]);
        assert!(record.edited(&files(&[("/a", "1"), ("/b", "1"), ("/c", "1")])).is_empty());
    }

    #[test]
    fn an_open_operation_blames_nobody() {
        let mut record = Record::of(&files(&[("/a", "1")]));
        record.units.insert("kubelet.service".into(), None);
        assert!(record.is_open() && record.awaits("kubelet.service") && !record.has("kubelet.service"));
        assert!(record.edited(&files(&[("/a", "2")])).is_empty());
        record.units.insert("kubelet.service".into(), Some("k".into()));
        assert!(!record.is_open() && !record.awaits("kubelet.service") && record.has("kubelet.service"));
        assert!(!record.awaits("kube-proxy.service") && !record.has("kube-proxy.service"));
        record.units.insert("kube-proxy.service".into(), None);
        assert_eq!(record.awaited(), ["kube-proxy.service"]);
        record.close(["kube-proxy.service".to_owned(), "kubelet.service".to_owned()].into_iter());
        assert!(!record.is_open() && record.has("kubelet.service"));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut record = Record::of(&files(&[("/a", "1")]));
        record.units.insert("kubelet.service".into(), None);
        let text = serde_json::to_string(&record).unwrap_or_default();
        assert_eq!(Record::read(&text), Some(record));
        for text in ["", "{}", "{\"format\":2,\"files\":{},\"units\":{}}", "[]"] {
            assert_eq!(Record::read(text), None, "{text}");
        }
    }
}
