//! Ansible's YAML inventories.

use serde_json::Value;

use super::ranges::split_port;
use super::tree::{Tree, variable_of_yaml};
use crate::yaml::{Yaml, YamlKind, parse as parse_yaml};
use crate::{ALL, Diagnostic, Diagnostics, MAX_DEPTH};

/// Reads a YAML inventory.
pub(super) fn parse(text: &str, file: &str) -> Result<Tree, Diagnostics> {
    let root = parse_yaml(text, file)?;
    let mut reader = Reader { file, tree: Tree::default(), found: Vec::new() };
    match &root.kind {
        YamlKind::Map(groups) => {
            for (name, group) in groups {
                reader.group(name, group, 0);
            }
        }
        _ => reader.wrong(&root, "expected a mapping of groups, `all` first".to_owned(), ""),
    }
    Diagnostics::check(reader.found)?;
    Ok(reader.tree)
}

struct Reader<'a> {
    file: &'a str,
    tree: Tree,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: &Yaml, message: String, help: &str) {
        let diagnostic = Diagnostic { position: Some(at.position), ..Diagnostic::of_file(self.file, message) };
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    fn group(&mut self, name: &str, group: &Yaml, depth: usize) {
        self.tree.group(name);
        let members = match &group.kind {
            YamlKind::Map(members) if depth < MAX_DEPTH => members,
            _ if group.is_null() => return,
            _ => {
                let message = format!("group {name:?}: expected a mapping");
                return self.wrong(group, message, "of hosts, children and vars");
            }
        };
        for (key, value) in members {
            match key.as_str() {
                "vars" => {
                    for (key, value) in self.members(value, "vars") {
                        let variable = variable_of_yaml(&value, self.file);
                        self.tree.group(name).variables.insert(key, variable);
                    }
                }
                "hosts" => self.hosts(name, value),
                "children" => {
                    for (child, group) in self.members(value, "children") {
                        if name != ALL {
                            self.tree.group(name).children.insert(child.clone());
                        }
                        self.group(&child, &group, depth + 1);
                    }
                }
                other => {
                    let near = crate::did_you_mean(other, ["hosts", "children", "vars"]);
                    let message = format!("group {name:?} holds {other:?}, which Ansible leaves out too{near}");
                    let line = value.position.line;
                    self.tree.warnings.push(format!("{}:{line}: {message}", self.file));
                }
            }
        }
    }

    fn hosts(&mut self, group: &str, hosts: &Yaml) {
        for (pattern, variables) in self.members(hosts, "hosts") {
            let (name, port) = split_port(&pattern);
            let names = match self.tree.expand(name) {
                Ok(names) => names,
                Err(reason) => {
                    self.wrong(&variables, reason, "");
                    continue;
                }
            };
            let variables = self.members(&variables, &pattern);
            for name in names {
                let known = self.tree.host(&name, Some(group));
                if let Some(port) = port {
                    known.insert("ansible_port".to_owned(), Value::from(port).into());
                }
                for (key, value) in &variables {
                    known.insert(key.clone(), variable_of_yaml(value, self.file));
                }
            }
        }
    }

    /// Members of a mapping. As in Ansible nothing is an empty one, and a text one with only that name.
    fn members(&mut self, value: &Yaml, what: &str) -> Vec<(String, Yaml)> {
        match &value.kind {
            YamlKind::Map(members) => members.clone().into_iter().collect(),
            YamlKind::Text { text, .. } if ["hosts", "children"].contains(&what) => {
                vec![(text.clone(), Yaml { position: value.position, kind: YamlKind::Plain(Value::Null) })]
            }
            _ if value.is_null() => Vec::new(),
            _ => {
                let message = format!("{what:?}: expected a mapping");
                self.wrong(value, message, "each name with a colon after it, not a list");
                Vec::new()
            }
        }
    }
}
