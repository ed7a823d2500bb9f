//! Functions of behaviours' expressions.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Model, Scope, keys, version};
use crate::backend::simulated::kubernetes::patch::merge;
use crate::contract::Failure;
use crate::contract::files::FileKind;

/// All of them.
pub(crate) const NAMES: [&str; 33] = [
    "unit",
    "package",
    "version",
    "upstream",
    "minor",
    "compare",
    "file",
    "exists",
    "files",
    "sha256",
    "digest",
    "there",
    "component",
    "hosts",
    "host_at",
    "api",
    "object",
    "objects",
    "pod_at",
    "pods_on",
    "node_at",
    "host_of",
    "snapshot",
    "json",
    "pretty",
    "parse",
    "lines",
    "merge",
    "keys",
    "values",
    "number",
    "bytes_size",
    "default",
];

/// Calls a function.
pub(crate) fn call(model: &Model<'_>, scope: &Scope, name: &str, arguments: &[Value]) -> Result<Value, String> {
    let call = Call { model, scope, name, arguments };
    match call.pure()? {
        Some(value) => Ok(value),
        None => call.platform(),
    }
}

struct Call<'c, 'a> {
    model: &'c Model<'a>,
    scope: &'c Scope,
    name: &'c str,
    arguments: &'c [Value],
}

fn said(failure: Failure) -> String {
    failure.message
}

impl Call<'_, '_> {
    fn any(&self, index: usize) -> Result<&Value, String> {
        self.arguments.get(index).ok_or_else(|| format!("{}() needs {} arguments", self.name, index + 1))
    }

    fn text(&self, index: usize) -> Result<&str, String> {
        let value = self.any(index)?;
        value.as_str().ok_or_else(|| format!("argument {} of {}() is {value}, not a string", index + 1, self.name))
    }

    fn map(&self, index: usize) -> Result<&Map<String, Value>, String> {
        let value = self.any(index)?;
        value.as_object().ok_or_else(|| format!("argument {} of {}() is {value}, not a map", index + 1, self.name))
    }

    /// The host named at this index, else the scope's.
    fn host(&self, index: usize) -> Result<&str, String> {
        match self.arguments.get(index) {
            Some(_) => self.text(index),
            None => self
                .scope
                .host
                .as_deref()
                .ok_or_else(|| format!("{}() needs a host here: there is none of its own", self.name)),
        }
    }

    fn cluster(&self, index: usize) -> Result<String, String> {
        match self.arguments.get(index) {
            Some(_) => self.text(index).map(str::to_owned),
            None => self
                .model
                .cluster_of(self.scope)
                .map_err(said)?
                .ok_or_else(|| format!("{}() needs a cluster: there is not exactly one", self.name)),
        }
    }

    fn pure(&self) -> Result<Option<Value>, String> {
        Ok(Some(match self.name {
            "upstream" => version::upstream(self.text(0)?).into(),
            "minor" => version::minor(self.text(0)?).into(),
            "compare" => Value::from(version::compare(self.text(0)?, self.text(1)?) as i64),
            "sha256" => hex::encode(Sha256::digest(self.text(0)?.as_bytes())).into(),
            "json" => self.any(0)?.to_string().into(),
            "pretty" => serde_json::to_string_pretty(self.any(0)?).map_err(|error| error.to_string())?.into(),
            "parse" => serde_json::from_str(self.text(0)?).map_err(|error| format!("not JSON: {error}"))?,
            "lines" => self.text(0)?.lines().collect::<Vec<_>>().into(),
            "merge" => {
                let mut base = self.any(0)?.clone();
                merge(&mut base, self.any(1)?);
                base
            }
            "keys" => self.map(0)?.keys().cloned().collect::<Vec<_>>().into(),
            "values" => self.map(0)?.values().cloned().collect::<Vec<_>>().into(),
            "bytes_size" => Value::from(self.text(0)?.len()),
            "default" => match self.any(0)? {
                Value::Null => self.any(1)?.clone(),
                value => value.clone(),
            },
            "number" => {
                let text = self.any(0)?;
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                serde_json::from_str::<serde_json::Number>(text.trim())
                    .map(Value::Number)
                    .map_err(|_| format!("{text:?} is no number"))?
            }
            _ => return Ok(None),
        }))
    }

    fn platform(&self) -> Result<Value, String> {
        let model = self.model;
        match self.name {
            "unit" => self.unit(self.host(1)?),
            "package" => {
                let installed = model.installed(self.host(1)?, self.text(0)?).map_err(said)?;
                Ok(installed.unwrap_or_default().into())
            }
            "version" => {
                let installed = model.installed(self.host(1)?, self.text(0)?).map_err(said)?;
                Ok(version::upstream(&installed.unwrap_or_default()).into())
            }
            "file" => Ok(model.text(self.host(1)?, self.text(0)?).map_err(said)?.into()),
            "exists" => {
                let host = self.host(1)?;
                let path = model.resolve(host, self.text(0)?, true).map_err(said)?;
                Ok(model.entry(host, &path).map_err(said)?.is_some().into())
            }
            "files" => {
                let host = self.host(1)?;
                let path = model.resolve(host, self.text(0)?, true).map_err(said)?;
                let below = model.below(host, &path).map_err(said)?;
                let files = below.into_iter().filter(|(_, entry)| entry.kind == FileKind::Regular);
                Ok(files.map(|(path, _)| path).collect::<Vec<_>>().into())
            }
            "digest" => {
                let entry = model.regular(self.host(1)?, self.text(0)?).map_err(said)?;
                let content = entry.content.unwrap_or_default();
                Ok(model.blobs.sha256(&content).map_err(said)?.into())
            }
            "there" => self.state(&self.scope.component, Some(self.text(0)?)),
            "component" => {
                let host = self.arguments.get(1).map(|_| self.text(1)).transpose()?;
                self.state(self.text(0)?, host)
            }
            "hosts" => {
                let hosts = model.hosts().map_err(said)?;
                let values = hosts.iter().map(|host| model.host_value(host).map_err(said));
                Ok(Value::Array(values.collect::<Result<_, _>>()?))
            }
            "host_at" => match model.host_at(self.text(0)?).map_err(said)? {
                Some(host) => model.host_value(&host).map_err(said),
                None => Ok(Value::Null),
            },
            "snapshot" => self.snapshot(),
            _ => self.kubernetes(),
        }
    }

    fn kubernetes(&self) -> Result<Value, String> {
        let model = self.model;
        match self.name {
            "api" => {
                let cluster = self.cluster(0)?;
                let api = model.api(&cluster).map_err(said)?;
                let revision = model.revision(&cluster).map_err(said)?;
                Ok(json!({
                    "available": api.is_some(),
                    "version": api.unwrap_or_default(),
                    "revision": revision,
                }))
            }
            "object" => {
                let cluster = self.cluster(3)?;
                let found = model.object(&cluster, self.text(0)?, self.text(1)?, self.text(2)?);
                Ok(found.map_err(said)?.unwrap_or_default())
            }
            "objects" => {
                let cluster = self.cluster(2)?;
                let namespace = match self.arguments.get(1) {
                    Some(_) => self.text(1)?,
                    None => "",
                };
                let found = model.objects(&cluster, self.text(0)?, namespace).map_err(said)?;
                Ok(Value::Array(found))
            }
            "pod_at" => {
                let found = model.pod_at(&self.cluster(1)?, self.text(0)?);
                Ok(found.map_err(said)?.unwrap_or_default())
            }
            "host_of" => {
                let key = keys::node_host(&self.cluster(1)?, self.text(0)?);
                Ok(model.tx.get::<String>(&key).map_err(said)?.unwrap_or_default().into())
            }
            "node_at" => {
                let found = model.node_at(&self.cluster(1)?, self.text(0)?);
                Ok(found.map_err(said)?.unwrap_or_default())
            }
            "pods_on" => {
                let found = model.pods_on(&self.cluster(1)?, self.text(0)?).map_err(said)?;
                Ok(Value::Array(found))
            }
            name => Err(format!("{name}() is not known")),
        }
    }

    fn unit(&self, host: &str) -> Result<Value, String> {
        let name = self.text(0)?;
        let status = self.model.unit_status(host, name).map_err(said)?;
        let unit = self.model.unit(host, name).map_err(said)?;
        Ok(json!({
            "active": status.active_state,
            "sub": status.sub_state,
            "enabled": unit.as_ref().is_some_and(|unit| unit.enabled),
            "load": status.load_state,
            "file_state": status.file_state,
            "since": status.since,
            "invocation": unit.as_ref().map(|unit| unit.invocation(host, name)).unwrap_or_default(),
            "version": unit.map(|unit| unit.version).unwrap_or_default(),
        }))
    }

    fn state(&self, component: &str, host: Option<&str>) -> Result<Value, String> {
        let key = keys::component(component, host);
        let state = self.model.tx.get(&key).map_err(said)?;
        Ok(state.unwrap_or_else(|| Value::Object(Map::new())))
    }

    fn snapshot(&self) -> Result<Value, String> {
        let host = self.host(1)?;
        match self.model.read_snapshot(host, self.text(0)?) {
            Ok(snapshot) => Ok(json!({
                "note": snapshot.note,
                "objects": snapshot.objects.len(),
                "bytes": snapshot.bytes,
                "sha256": snapshot.sha256,
            })),
            Err(_) => Ok(Value::Null),
        }
    }
}
