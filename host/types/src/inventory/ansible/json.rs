//! The output of `ansible-inventory --list`, and of inventory scripts.

use serde_json::Value;

use super::tree::{Tree, UNGROUPED, variable_of_json};
use crate::{ALL, Diagnostic, Diagnostics, JsonPath, Source};

const META: &str = "_meta";
const HOSTVARS: &str = "hostvars";

/// Whether a JSON file is such an output rather than an inventory in native form.
pub(super) fn is_list(value: &Value) -> bool {
    let is_group = |group: &Value| group.is_array() || ["children", "vars"].iter().any(|key| group.get(key).is_some());
    value.get(META).is_some() || value.get(ALL).is_some_and(is_group) || value.get(UNGROUPED).is_some_and(is_group)
}

/// Reads such an output.
pub(super) fn parse(source: &Source) -> Result<Tree, Diagnostics> {
    let mut reader = Reader { source, tree: Tree::default(), found: Vec::new() };
    let root = JsonPath::root();
    let value = source.value();
    for (name, group) in value.as_object().into_iter().flatten() {
        if name == META {
            reader.meta(&root.key(META), group);
        } else {
            reader.group(&root.key(name), name, group);
        }
    }
    Diagnostics::check(reader.found)?;
    Ok(reader.tree)
}

struct Reader<'a> {
    source: &'a Source,
    tree: Tree,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: &JsonPath, message: &str) {
        self.found.push(self.source.at(at, message));
    }

    fn meta(&mut self, at: &JsonPath, meta: &Value) {
        let at = at.key(HOSTVARS);
        let Some(hosts) = meta.get(HOSTVARS) else {
            return;
        };
        let Some(hosts) = hosts.as_object() else {
            return self.wrong(&at, "expected an object of hosts");
        };
        for (name, variables) in hosts {
            let Some(variables) = variables.as_object() else {
                self.wrong(&at.key(name), "expected an object of variables");
                continue;
            };
            let known = self.tree.host(name, None);
            for (key, value) in variables {
                known.insert(key.clone(), variable_of_json(value.clone(), self.source.name()));
            }
        }
    }

    fn group(&mut self, at: &JsonPath, name: &str, group: &Value) {
        self.tree.group(name);
        if group.is_array() {
            return self.hosts(at, name, group);
        }
        let Some(members) = group.as_object() else {
            return self.wrong(at, "expected a group: an object of hosts, children and vars");
        };
        for (key, value) in members {
            let at = at.key(key);
            match key.as_str() {
                "hosts" => self.hosts(&at, name, value),
                "children" => {
                    for child in self.names(&at, value) {
                        self.tree.group(&child);
                        if name != ALL {
                            self.tree.group(name).children.insert(child);
                        }
                    }
                }
                "vars" => match value.as_object() {
                    Some(variables) => {
                        for (key, value) in variables {
                            let variable = variable_of_json(value.clone(), self.source.name());
                            self.tree.group(name).variables.insert(key.clone(), variable);
                        }
                    }
                    None => self.wrong(&at, "expected an object of variables"),
                },
                _ => self.wrong(&at, "a group holds hosts, children and vars"),
            }
        }
    }

    fn hosts(&mut self, at: &JsonPath, group: &str, hosts: &Value) {
        for host in self.names(at, hosts) {
            self.tree.host(&host, Some(group));
        }
    }

    fn names(&mut self, at: &JsonPath, list: &Value) -> Vec<String> {
        let Some(list) = list.as_array() else {
            self.wrong(at, "expected a list of names");
            return Vec::new();
        };
        let mut names = Vec::with_capacity(list.len());
        for (index, name) in list.iter().enumerate() {
            match name.as_str() {
                Some(name) => names.push(name.to_owned()),
                None => self.wrong(&at.index(index), "expected a name"),
            }
        }
        names
    }
}
