//! What behaviours change.

use serde_json::{Map, Value};

use super::content::Content;
use super::files::{Entry, octal};
use super::scope::BEHAVIOUR;
use super::{Model, Scope, keys};
use crate::backend::failure;
use crate::backend::simulated::kubernetes::patch;
use crate::contract::Failure;
use runner_types::simulated::{Change, ObjectName};

impl Model<'_> {
    /// Makes changes in order.
    pub(crate) fn apply_changes(&mut self, scope: &Scope, changes: &[Change]) -> Result<(), Failure> {
        for change in changes {
            let Some(list) = &change.for_each else {
                self.apply_one(scope, change)?;
                continue;
            };
            let Value::Array(items) = self.evaluate(scope, list)? else {
                return Err(wrong(scope, format!("for-each `{list}` is no list")));
            };
            for item in items {
                let mut inner = scope.clone();
                inner.set("item", item);
                self.apply_one(&inner, change)?;
            }
        }
        Ok(())
    }

    fn apply_one(&mut self, scope: &Scope, change: &Change) -> Result<(), Failure> {
        if !self.when(scope, change.when.as_deref())? {
            return Ok(());
        }
        let moved;
        let scope = match &change.host {
            Some(host) => {
                let host = self.render(scope, host)?;
                let mut other = scope.clone();
                other.host = Some(host);
                moved = other;
                &moved
            }
            None => scope,
        };
        if let Some(fields) = &change.state {
            let key = keys::component(&scope.component, None);
            return self.merge_state(scope, &key, fields);
        }
        if let Some(fields) = &change.here {
            let key = keys::component(&scope.component, Some(host_of(scope)?));
            return self.merge_state(scope, &key, fields);
        }
        if let Some(line) = &change.journal {
            let unit = self.render(scope, change.unit.as_deref().unwrap_or("kernel"))?;
            let line = self.render(scope, line)?;
            return self.journal_line(host_of(scope)?, &unit, 6, &line);
        }
        match self.change_object(scope, change)?
            || self.change_unit(scope, change)?
            || self.change_file(scope, change)?
        {
            true => Ok(()),
            false => Err(wrong(scope, "a change without a verb".to_owned())),
        }
    }

    fn merge_state(&mut self, scope: &Scope, key: &str, fields: &Map<String, Value>) -> Result<(), Failure> {
        let fields = Value::Object(self.fill_map(scope, fields)?);
        let mut state = self.tx.get::<Value>(key)?.unwrap_or_else(|| Value::Object(Map::new()));
        patch::merge(&mut state, &fields);
        self.tx.set(key, &state)
    }

    fn change_unit(&mut self, scope: &Scope, change: &Change) -> Result<bool, Failure> {
        let host = scope.host.clone().unwrap_or_default();
        if let Some(unit) = &change.unit {
            let unit = self.render(scope, unit)?;
            let active = self.render(scope, change.active.as_deref().unwrap_or("active"))?;
            self.force_unit(&host, &unit, &active)?;
        } else if let Some(unit) = &change.start {
            let unit = self.render(scope, unit)?;
            self.nested(&unit, |model| model.start(&host, &unit))?;
        } else if let Some(unit) = &change.stop {
            let unit = self.render(scope, unit)?;
            self.nested(&unit, |model| model.stop(&host, &unit))?;
        } else if let Some(unit) = &change.restart {
            let unit = self.render(scope, unit)?;
            self.nested(&unit, |model| model.restart(&host, &unit))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn change_file(&mut self, scope: &Scope, change: &Change) -> Result<bool, Failure> {
        if let Some(path) = &change.file {
            self.behaviour_file(scope, change, path)?;
        } else if let Some(path) = &change.directory {
            let path = self.render(scope, path)?;
            let host = host_of(scope)?;
            if self.entry(host, &path)?.is_none() {
                let mut entry = Entry::directory(self.now);
                self.attributes(scope, change, &mut entry)?;
                self.put(host, &path, &entry)?;
            }
        } else if let Some(path) = &change.remove {
            let path = self.render(scope, path)?;
            let host = host_of(scope)?;
            if self.entry(host, &path)?.is_some() {
                self.delete(host, &path)?;
            }
        } else if let Some(from) = &change.copy {
            let from = self.render(scope, from)?;
            let to = change.to.as_deref().ok_or_else(|| wrong(scope, "`copy` without `to`".to_owned()))?;
            let to = self.render(scope, to)?;
            let host = host_of(scope)?;
            let (from, to) = (self.resolve(host, &from, true)?, self.resolve(host, &to, true)?);
            self.copy(host, &from, &to)?;
        } else if let Some(path) = &change.snapshot {
            let path = self.render(scope, path)?;
            let note = self.fill(scope, change.note.as_ref().unwrap_or(&Value::Null))?;
            let cluster = self.needed_cluster(scope)?;
            self.write_snapshot(&cluster, host_of(scope)?, &path, note)?;
        } else if let Some(path) = &change.restore {
            let path = self.render(scope, path)?;
            let cluster = self.needed_cluster(scope)?;
            self.restore_snapshot(&cluster, host_of(scope)?, &path)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn behaviour_file(&mut self, scope: &Scope, change: &Change, path: &str) -> Result<(), Failure> {
        let path = self.render(scope, path)?;
        let host = host_of(scope)?;
        let content = match (&change.content, change.size) {
            (Some(Value::String(text)), _) => self.blobs.keep(self.render(scope, text)?.into_bytes())?,
            (Some(value), _) => self.blobs.keep(self.fill(scope, value)?.to_string().into_bytes())?,
            (None, size) => Content::Made { name: path.clone(), size: size.map_or(0, |size| size.0) },
        };
        let resolved = self.resolve(host, &path, true)?;
        let mut entry = self
            .tx
            .get::<Entry>(&keys::file(host, &resolved))?
            .unwrap_or_else(|| Entry::file(content.clone(), self.now));
        entry.content = Some(content);
        entry.modified = self.now;
        self.attributes(scope, change, &mut entry)?;
        self.put(host, &resolved, &entry)
    }

    fn attributes(&self, scope: &Scope, change: &Change, entry: &mut Entry) -> Result<(), Failure> {
        if let Some(mode) = &change.mode {
            entry.mode = octal(mode).ok_or_else(|| wrong(scope, format!("mode {mode:?} is not octal")))?;
        }
        if let Some(owner) = &change.owner {
            entry.owner = self.render(scope, owner)?;
        }
        Ok(())
    }

    fn change_object(&mut self, scope: &Scope, change: &Change) -> Result<bool, Failure> {
        if let Some(name) = &change.object {
            let cluster = self.needed_cluster(scope)?;
            let (kind, namespace, name) = self.object_name(scope, name)?;
            let Some(mut object) = self.object(&cluster, &kind, &namespace, &name)? else {
                return Ok(true);
            };
            let before = object.clone();
            if let Some(fields) = &change.patch {
                let fields = Value::Object(self.fill_map(scope, fields)?);
                patch::strategic(&mut object, &fields, &kind);
            }
            if let Some(fields) = &change.merge {
                patch::merge(&mut object, &Value::Object(self.fill_map(scope, fields)?));
            }
            if object != before {
                self.store_object(&cluster, object)?;
            }
        } else if let Some(fields) = &change.create {
            let cluster = self.needed_cluster(scope)?;
            let object = Value::Object(self.fill_map(scope, fields)?);
            self.put_whole(&cluster, object)?;
        } else if let Some(name) = &change.delete {
            let cluster = self.needed_cluster(scope)?;
            let (kind, namespace, name) = self.object_name(scope, name)?;
            self.drop_object(&cluster, &kind, &namespace, &name)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn object_name(&self, scope: &Scope, name: &ObjectName) -> Result<(String, String, String), Failure> {
        let namespace = name.namespace.as_deref().unwrap_or_default();
        Ok((self.render(scope, &name.kind)?, self.render(scope, namespace)?, self.render(scope, &name.name)?))
    }

    fn needed_cluster(&self, scope: &Scope) -> Result<String, Failure> {
        self.cluster_of(scope)?
            .ok_or_else(|| wrong(scope, "there is not exactly one cluster that could be meant".to_owned()))
    }
}

fn host_of(scope: &Scope) -> Result<&str, Failure> {
    scope.host.as_deref().ok_or_else(|| wrong(scope, "a change of a host where there is none".to_owned()))
}

fn wrong(scope: &Scope, message: String) -> Failure {
    failure::other(BEHAVIOUR, format!("simulated.json of {}", scope.component), message)
}
