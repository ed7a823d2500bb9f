//! Hosts, groups and variables as an inventory of Ansible lists them.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;
use std::collections::HashSet;

use super::ranges::{MAX_HOSTS, expand};
use crate::yaml::{Yaml, YamlKind};
use crate::{ALL, Needs, Unavailable, Variable};

pub(super) type Variables = IndexMap<String, Variable>;

/// Hosts that no group names are in this one.
pub(super) const UNGROUPED: &str = "ungrouped";

/// What the files say, before anything is merged.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) hosts: IndexMap<String, Variables>,
    pub(super) groups: IndexMap<String, TreeGroup>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct TreeGroup {
    pub(super) hosts: IndexSet<String>,
    pub(super) children: IndexSet<String>,
    pub(super) variables: Variables,
}

impl Tree {
    pub(super) fn group(&mut self, name: &str) -> &mut TreeGroup {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// The names that a name with ranges means, while there is room for them.
    pub(super) fn expand(&self, name: &str) -> Result<Vec<String>, String> {
        let names = expand(name)?;
        if self.hosts.len() + names.len() > MAX_HOSTS {
            return Err(format!("there are more than {MAX_HOSTS} hosts"));
        }
        Ok(names)
    }

    /// Declares a host, in a group when one is given.
    pub(super) fn host(&mut self, name: &str, group: Option<&str>) -> &mut Variables {
        if let Some(group) = group
            && group != ALL
        {
            self.group(group).hosts.insert(name.to_owned());
        }
        self.hosts.entry(name.to_owned()).or_default()
    }

    /// As Ansible, puts exactly those hosts that no other group names into `ungrouped`, which is there without any, too.
    pub(super) fn reconcile(&mut self) {
        let others = self.groups.iter().filter(|(name, _)| ![ALL, UNGROUPED].contains(&name.as_str()));
        let grouped: HashSet<&String> = others.flat_map(|(_, group)| &group.hosts).collect();
        let ungrouped: IndexSet<String> = self.hosts.keys().filter(|host| !grouped.contains(host)).cloned().collect();
        self.group(UNGROUPED).hosts = ungrouped;
    }

    /// Groups from outer to inner, as Ansible merges them: by depth, then priority, then name.
    pub(super) fn merge_order(&self) -> Vec<&str> {
        let mut order: Vec<(usize, i64, &str)> = self
            .groups
            .iter()
            .filter(|(name, _)| *name != ALL)
            .zip(self.depths())
            .map(|((name, group), depth)| (depth, group.priority(), name.as_str()))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, name)| name).collect()
    }

    /// How many groups there are around each but `all`, along the longest way.
    fn depths(&self) -> Vec<usize> {
        let groups: IndexMap<&str, &TreeGroup> =
            self.groups.iter().filter(|(name, _)| *name != ALL).map(|(name, group)| (name.as_str(), group)).collect();
        let mut depths = vec![1; groups.len()];
        // Each round goes one level deeper; a cycle, which is refused, ends with the rounds.
        for _ in 0..groups.len() {
            let mut moved = false;
            for (index, group) in groups.values().enumerate() {
                for child in &group.children {
                    if let Some(child) = groups.get_index_of(child.as_str())
                        && depths[child] <= depths[index]
                    {
                        depths[child] = depths[index] + 1;
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        depths
    }

    /// For each host the groups it is in, outer ones included, in merge order.
    pub(super) fn memberships(&self) -> IndexMap<&str, Vec<&str>> {
        let mut parents: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for (name, group) in &self.groups {
            for child in &group.children {
                parents.entry(child).or_default().push(name);
            }
        }
        let mut of_host: IndexMap<&str, IndexSet<&str>> =
            self.hosts.keys().map(|host| (host.as_str(), IndexSet::new())).collect();
        for (name, group) in &self.groups {
            let mut above: IndexSet<&str> = IndexSet::from([name.as_str()]);
            let mut next = 0;
            while let Some(group) = above.get_index(next).copied() {
                next += 1;
                above.extend(parents.get(group).into_iter().flatten());
            }
            for host in &group.hosts {
                of_host.entry(host).or_default().extend(&above);
            }
        }
        let order = self.merge_order();
        of_host
            .into_iter()
            .map(|(host, groups)| (host, order.iter().copied().filter(|group| groups.contains(group)).collect()))
            .collect()
    }
}

impl TreeGroup {
    /// Of groups at one depth the one with the greater priority wins.
    fn priority(&self) -> i64 {
        let priority = self.variables.get("ansible_group_priority").and_then(Variable::value);
        priority.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(1)
    }
}

/// A variable of a YAML file.
pub(super) fn variable_of_yaml(yaml: &Yaml, file: &str) -> Variable {
    let needs = needs_of_yaml(yaml);
    match (needs, yaml.to_json()) {
        (None, Some(value)) => Variable::Value(value),
        (needs, _) => unavailable(needs.unwrap_or(Needs::Vault), file),
    }
}

fn needs_of_yaml(yaml: &Yaml) -> Option<Needs> {
    match &yaml.kind {
        YamlKind::Plain(_) | YamlKind::Text { literal: true, .. } => None,
        YamlKind::Vault => Some(Needs::Vault),
        YamlKind::Text { text, .. } => needs_of_text(text),
        YamlKind::List(items) => items.iter().find_map(needs_of_yaml),
        YamlKind::Map(members) => members.iter().find_map(|(_, value)| needs_of_yaml(value)),
    }
}

/// A variable of a JSON file; `ansible-inventory` writes vaults and unsafe texts as objects.
pub(super) fn variable_of_json(value: Value, file: &str) -> Variable {
    match needs_of_json(&value) {
        Some(needs) => unavailable(needs, file),
        None => Variable::Value(without_marks(value)),
    }
}

const VAULT_MARK: &str = "__ansible_vault";
const UNSAFE_MARK: &str = "__ansible_unsafe";

fn needs_of_json(value: &Value) -> Option<Needs> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
        Value::String(text) => needs_of_text(text),
        Value::Array(items) => items.iter().find_map(needs_of_json),
        Value::Object(members) if members.contains_key(VAULT_MARK) => Some(Needs::Vault),
        Value::Object(members) if members.contains_key(UNSAFE_MARK) => None,
        Value::Object(members) => members.values().find_map(needs_of_json),
    }
}

fn without_marks(value: Value) -> Value {
    match value {
        Value::Object(mut members) => match members.shift_remove(UNSAFE_MARK) {
            Some(text) => text,
            None => Value::Object(members.into_iter().map(|(k, v)| (k, without_marks(v))).collect()),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(without_marks).collect()),
        other => other,
    }
}

fn needs_of_text(text: &str) -> Option<Needs> {
    if text.trim_start().starts_with("$ANSIBLE_VAULT") {
        Some(Needs::Vault)
    } else if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        Some(Needs::Template)
    } else {
        None
    }
}

fn unavailable(needs: Needs, file: &str) -> Variable {
    Variable::Unavailable(Unavailable { needs, file: file.to_owned() })
}
