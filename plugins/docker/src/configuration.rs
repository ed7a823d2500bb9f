//! Configuration files and drop-ins: what is there, what should be there, and the difference.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::files::{self as api, Attributes, FileRef, Precondition, RemovalOrder, WriteOrder};
use runner_plugin_sdk::api::systemd::{self, DropIn, DropInRef, UnitStatus};
use runner_plugin_sdk::api::types::Part;
use runner_plugin_sdk::files::{at, read};
use runner_plugin_sdk::{Answers, Failure, Presence, sha256};
use serde_json::{Map, Value};

use crate::engine::{CONTAINERD, DOCKER};

/// Where an administrator's drop-ins are; those of packages are the packages' own affair.
const DROP_INS: &str = "/etc/systemd/system";

/// A drop-in by unit and file name.
pub(crate) type DropInName = (String, String);

/// A file's content, and its permission bits where they are to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: Option<u32>,
}

/// Files and drop-ins, each with its content; none: absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) files: BTreeMap<String, Option<Content>>,
    pub(crate) drop_ins: BTreeMap<DropInName, Option<String>>,
}

/// Path of a drop-in.
pub(crate) fn drop_in_path(unit: &str, name: &str) -> String {
    format!("{DROP_INS}/{unit}.d/{name}")
}

/// Names of the administrator's drop-ins of a unit.
pub(crate) fn drop_in_names(status: &UnitStatus) -> Vec<DropInName> {
    let folder = format!("{DROP_INS}/{}.d/", status.unit);
    let names = status.drop_ins.iter().filter_map(|path| path.strip_prefix(&folder));
    names.map(|name| (status.unit.clone(), name.to_owned())).collect()
}

/// The unit that reads a file.
pub(crate) fn reader_of(path: &str) -> &'static str {
    if path.contains("containerd") { CONTAINERD } else { DOCKER }
}

/// What is on a host: the files, and drop-ins that are there or are asked for.
pub(crate) fn look(host: &str, files: &[String], drop_ins: Vec<DropInName>) -> Result<Configuration, Failure> {
    let paths = drop_ins.iter().map(|(unit, name)| drop_in_path(unit, name));
    let refs: Vec<FileRef> = files.iter().cloned().chain(paths).map(|path| at(host, &path)).collect();
    let mut found = read(&refs)?.into_iter();
    let files = files
        .iter()
        .map(|path| {
            let data = found.next().flatten();
            (path.clone(), data.map(|data| Content { data, mode: None }))
        })
        .collect();
    let drop_ins = drop_ins
        .into_iter()
        .map(|name| {
            let text = found.next().flatten();
            (name, text.map(|text| String::from_utf8_lossy(&text).into_owned()))
        })
        .collect();
    Ok(Configuration { files, drop_ins })
}

/// When the configuration of each unit was last changed on the host.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// By unit.
    pub(crate) at: BTreeMap<&'static str, String>,
    /// Files whose time is still to come: it says nothing of whether their unit has read them.
    pub(crate) dated_ahead: Vec<String>,
}

/// Looks at when that was; `now` is the runner's time.
pub(crate) fn changes(host: &str, configuration: &Configuration, now: &str) -> Result<Changes, Failure> {
    let files = configuration.files.keys().map(|path| (reader_of(path), path.clone()));
    let drop_ins = configuration.drop_ins.keys().map(|(unit, name)| (reader_of(unit), drop_in_path(unit, name)));
    let all: Vec<(&'static str, FileRef)> = files.chain(drop_ins).map(|(unit, path)| (unit, at(host, &path))).collect();
    let refs: Vec<FileRef> = all.iter().map(|(_, file)| file.clone()).collect();
    let found = api::stat(&refs).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
    let times = all.iter().zip(found).filter_map(|((unit, file), status)| Some((*unit, &*file.path, status?.modified)));
    Ok(newest(times, now))
}

fn newest<'a>(times: impl Iterator<Item = (&'static str, &'a str, String)>, now: &str) -> Changes {
    let mut changes = Changes::default();
    // Clocks differ by seconds.
    let minute = |moment: &str| moment.get(..16).unwrap_or(moment).to_owned();
    for (unit, path, modified) in times {
        if minute(&modified) > minute(now) {
            changes.dated_ahead.push(path.to_owned());
            continue;
        }
        let entry = changes.at.entry(unit).or_default();
        if *entry < modified {
            *entry = modified;
        }
    }
    changes
}

/// What of the wanted configuration is not so.
pub(crate) fn differing(now: &Configuration, wanted: &Configuration) -> Configuration {
    let data = |content: &Option<Content>| content.as_ref().map(|content| content.data.clone());
    let files = wanted
        .files
        .iter()
        .filter(|(path, content)| now.files.get(*path).and_then(data) != content.as_ref().map(|c| c.data.clone()))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect();
    let drop_ins = wanted
        .drop_ins
        .iter()
        .filter(|(name, text)| now.drop_ins.get(*name).cloned().flatten() != **text)
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    Configuration { files, drop_ins }
}

impl Configuration {
    /// Whether it holds anything that a unit reads.
    pub(crate) fn touches(&self, unit: &str) -> bool {
        self.files.keys().any(|path| reader_of(path) == unit) || self.drop_ins.keys().any(|(of, _)| of == unit)
    }

    /// Hash of it, which names what makes a restart necessary.
    pub(crate) fn hash(&self) -> String {
        sha256(format!("{self:?}"))
    }
}

/// Brings about the difference, on condition that everything is still as it was seen.
pub(crate) fn apply(host: &str, now: &Configuration, difference: &Configuration) -> Result<(), Failure> {
    let mut writes = Vec::new();
    let mut removals = Vec::new();
    for (path, content) in &difference.files {
        let seen = now.files.get(path).and_then(Option::as_ref);
        let precondition = seen.map_or(Precondition::Absent, |seen| Precondition::Hash(sha256(&seen.data)));
        match content {
            Some(content) => writes.push(write_order(host, path, content, precondition)),
            None => removals.push(RemovalOrder {
                host: host.to_owned(),
                path: path.clone(),
                recursive: false,
                contents_only: false,
                precondition,
            }),
        }
    }
    if !writes.is_empty() {
        api::write(&writes).all()?;
    }
    if !removals.is_empty() {
        api::remove(&removals).all()?;
    }
    apply_drop_ins(host, &difference.drop_ins)
}

fn write_order(host: &str, path: &str, content: &Content, precondition: Precondition) -> WriteOrder {
    let part = match String::from_utf8(content.data.clone()) {
        Ok(text) => Part::Text(text),
        Err(error) => Part::Bytes(error.into_bytes()),
    };
    let attributes = content.mode.map(|mode| Attributes { mode: Some(mode), owner: None, group: None, context: None });
    WriteOrder {
        host: host.to_owned(),
        path: path.to_owned(),
        content: vec![part],
        precondition,
        attributes,
        sensitive: false,
    }
}

fn apply_drop_ins(host: &str, drop_ins: &BTreeMap<DropInName, Option<String>>) -> Result<(), Failure> {
    let mut writes = Vec::new();
    let mut removals = Vec::new();
    for ((unit, name), text) in drop_ins {
        let at = DropInRef { host: host.to_owned(), unit: unit.clone(), name: name.clone() };
        match text {
            Some(text) => writes.push(DropIn { at, text: text.clone() }),
            None => removals.push(at),
        }
    }
    if !writes.is_empty() {
        systemd::write_drop_in(&writes).all()?;
    }
    if !removals.is_empty() {
        systemd::remove_drop_in(&removals).all()?;
    }
    Ok(())
}

/// Docker's configuration with settings merged in, as a merge patch; none: they are all there already. Whatever else the
/// host's administrator wrote stays.
pub(crate) fn merged(now: Option<&[u8]>, settings: &Map<String, Value>) -> Result<Option<String>, serde_json::Error> {
    let before: Value = match now {
        Some(text) if !text.trim_ascii().is_empty() => serde_json::from_slice(text)?,
        _ => Value::Object(Map::new()),
    };
    let mut after = before.clone();
    merge(&mut after, settings);
    if after == before {
        return Ok(None);
    }
    let mut text = serde_json::to_string_pretty(&after)?;
    text.push('\n');
    Ok(Some(text))
}

fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        match value {
            Value::Null => {
                fields.shift_remove(name);
            }
            Value::Object(inner) => merge(fields.entry(name.clone()).or_insert(Value::Null), inner),
            other => {
                fields.insert(name.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_still_to_come_says_nothing() {
        let times = [
            (DOCKER, "/etc/docker/daemon.json", "2026-11-21T17:00:00.000Z"),
            (DOCKER, "/etc/default/docker", "2026-11-21T08:00:30.000Z"),
            (DOCKER, "/etc/docker/key.json", "2026-11-20T08:00:00.000Z"),
            (CONTAINERD, "/etc/containerd/config.toml", "2026-11-21T08:01:00.000Z"),
        ];
        let times = times.into_iter().map(|(unit, path, time)| (unit, path, time.to_owned()));
        let changes = newest(times, "2026-11-21T08:00:00.000Z");
        assert_eq!(changes.at, BTreeMap::from([(DOCKER, "2026-11-21T08:00:30.000Z".to_owned())]));
        assert_eq!(changes.dated_ahead, ["/etc/docker/daemon.json", "/etc/containerd/config.toml"]);
    }
}
