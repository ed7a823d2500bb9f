//! What the types of an inventory cannot say.

use std::collections::HashMap;

use super::{ALL, Become, Inventory};
use crate::{Document, JsonPath, MAX_DEPTH, Mistakes, did_you_mean};

impl Document for Inventory {
    const KIND: &'static str = "inventory";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        check_platform(self.name.as_deref(), mistakes);
        if self.hosts.is_empty() {
            mistakes.add(&root.key("hosts"), "there is no host");
        }
        for (name, host) in &self.hosts {
            let at = root.key("hosts").key(name);
            check_name(&at, name, "host", mistakes);
            if self.groups.contains_key(name) {
                mistakes.add_with_help(
                    &root.key("groups").key(name),
                    format!("{name:?} is a host too"),
                    "a host pattern could mean either: rename one of them",
                );
            }
            self.check_access(&at, host.port, host.jump.as_deref(), host.r#become.as_ref(), mistakes);
            if host.address.as_deref() == Some("") {
                mistakes.add(&at.key("address"), "an empty address");
            }
        }
        let access = &self.access;
        let at = root.key("access");
        self.check_access(&at, access.port, access.jump.as_deref(), access.r#become.as_ref(), mistakes);
        self.check_groups(&root.key("groups"), mistakes);
        for name in self.clusters.keys() {
            check_name(&root.key("clusters").key(name), name, "cluster", mistakes);
        }
    }
}

impl Inventory {
    fn check_groups(&self, root: &JsonPath, mistakes: &mut Mistakes) {
        let places: HashMap<&str, usize> =
            self.groups.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        let mut edges = Vec::with_capacity(self.groups.len());
        for (name, group) in &self.groups {
            if mistakes.is_full() {
                return;
            }
            let at = root.key(name);
            if name == ALL {
                mistakes.add_with_help(&at, "the group of all hosts is always there", "leave it out");
            } else {
                check_name(&at, name, "group", mistakes);
            }
            for (index, host) in group.hosts.iter().enumerate() {
                if self.hosts.contains_key(host) || mistakes.is_full() {
                    continue;
                }
                let at = at.key("hosts").index(index);
                if self.groups.contains_key(host) {
                    let message = format!("{host:?} is a group, not a host");
                    mistakes.add_with_help(&at, message, "move it to `groups`");
                } else {
                    let near = did_you_mean(host, self.hosts.keys());
                    mistakes.add_with_help(&at, format!("no host {host:?}{near}"), "declare it in `hosts`");
                }
            }
            let mut inner = Vec::with_capacity(group.groups.len());
            for (index, name) in group.groups.iter().enumerate() {
                match places.get(name.as_str()) {
                    Some(place) => inner.push(*place),
                    None => {
                        let near = did_you_mean(name, self.groups.keys());
                        let at = at.key("groups").index(index);
                        mistakes.add(&at, format!("no group {name:?}{near}"));
                    }
                }
            }
            edges.push(inner);
        }
        if let Some(cycle) = crate::workflow::cycle(&edges) {
            let names: Vec<&str> =
                cycle.iter().filter_map(|index| self.groups.get_index(*index)).map(|(name, _)| name.as_str()).collect();
            let first = names.first().copied().unwrap_or_default();
            mistakes.add(
                &root.key(first).key("groups"),
                format!("these groups contain each other: {}", names.join(" -> ")),
            );
        } else if let Some(index) = self.depths().iter().position(|depth| *depth >= MAX_DEPTH) {
            let name = self.groups.get_index(index).map_or("", |(name, _)| name.as_str());
            mistakes.add(&root.key(name), format!("groups nest deeper than {MAX_DEPTH}"));
        }
    }

    fn check_access(
        &self,
        at: &JsonPath,
        port: Option<u16>,
        jump: Option<&str>,
        r#become: Option<&Become>,
        mistakes: &mut Mistakes,
    ) {
        if port == Some(0) {
            mistakes.add(&at.key("port"), "no server listens on port 0");
        }
        if let Some(jump) = jump
            && !is_jump(jump)
        {
            let message = format!("{jump:?} is no jump host");
            mistakes.add_with_help(
                &at.key("jump"),
                message,
                "write [USER@]HOST[:PORT], several with a comma between them",
            );
        }
        if let Some(secret) = r#become.and_then(|wanted| wanted.password.as_ref())
            && !self.secrets.contains_key(secret)
        {
            let near = did_you_mean(secret, self.secrets.keys());
            mistakes.add_with_help(
                &at.key("become").key("password"),
                format!("no secret {secret:?}{near}"),
                "this names an entry of `secrets`; a password itself never stands in an inventory",
            );
        }
    }
}

fn is_jump(jumps: &str) -> bool {
    jumps.split(',').all(is_hop)
}

fn is_hop(jump: &str) -> bool {
    let (user, host) = jump.split_once('@').unwrap_or(("-", jump));
    let plain =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@');
    plain(user) && plain(host) && !host.starts_with('-') && (!user.starts_with('-') || user == "-")
}

/// Names stand in host patterns, in file names and on command lines.
fn check_name(at: &JsonPath, name: &str, what: &str, mistakes: &mut Mistakes) {
    if name == ALL || !is_file_name(name) {
        mistakes.add_with_help(
            at,
            format!("{name:?} cannot be the name of a {what}"),
            "letters, digits, `-`, `_` and `.`, beginning with a letter or digit; `all` means every host",
        );
    }
}

/// The platform's name is that of a folder and of files in the state directory: one with a `/` or of dots alone would be
/// that of somebody else's.
pub(super) fn check_platform(name: Option<&str>, mistakes: &mut Mistakes) {
    if let Some(name) = name.filter(|name| !is_file_name(name)) {
        mistakes.add_with_help(
            &JsonPath::root().key("name"),
            format!("{name:?} cannot be the name of a platform"),
            "letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
        );
    }
}

fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(allowed)
}
