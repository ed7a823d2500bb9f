//! Ansible's INI inventories.

use serde_json::Value;
use std::collections::HashSet;

use super::literal;
use super::ranges::split_port;
use super::tree::{Tree, UNGROUPED, variable_of_json};
use crate::{ALL, Diagnostic, Diagnostics, Position, did_you_mean};

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hosts,
    Children,
    Variables,
}

/// Reads an INI inventory.
pub(super) fn parse(text: &str, file: &str) -> Result<Tree, Diagnostics> {
    let mut reader = Reader {
        file,
        tree: Tree::default(),
        found: Vec::new(),
        named: Vec::new(),
        declared: HashSet::from([ALL.to_owned(), UNGROUPED.to_owned()]),
    };
    let mut section = (UNGROUPED.to_owned(), Kind::Hosts);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if is_section(line) {
            if let Some(next) = reader.section(number, line) {
                section = next;
            }
            continue;
        }
        let (group, kind) = &section;
        match kind {
            Kind::Hosts => reader.host(number, group, line),
            Kind::Children => reader.child(number, group, line),
            Kind::Variables => reader.variable(number, group, line),
        }
    }
    reader.finish()
}

struct Reader<'a> {
    file: &'a str,
    tree: Tree,
    found: Vec<Diagnostic>,
    /// Groups that `:children` and `:vars` name, which some section must declare.
    named: Vec<(usize, String)>,
    declared: HashSet<String>,
}

impl Reader<'_> {
    fn wrong(&mut self, line: usize, message: String, help: &str) {
        let diagnostic =
            Diagnostic { position: Some(Position { line, column: 1 }), ..Diagnostic::of_file(self.file, message) };
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    fn section(&mut self, number: usize, line: &str) -> Option<(String, Kind)> {
        let Some((head, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            self.wrong(number, format!("{line:?} is no section"), "write [GROUP], [GROUP:children] or [GROUP:vars]");
            return None;
        };
        let (name, kind) = match head.split_once(':') {
            None => (head, Kind::Hosts),
            Some((name, "children")) => (name, Kind::Children),
            Some((name, "vars")) => (name, Kind::Variables),
            Some((_, kind)) => {
                let near = did_you_mean(kind, ["children", "vars"]);
                self.wrong(number, format!("no kind of section {kind:?}{near}"), "[GROUP:children] or [GROUP:vars]");
                return None;
            }
        };
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            self.wrong(number, format!("{name:?} cannot be the name of a group"), "");
            return None;
        }
        match kind {
            Kind::Hosts | Kind::Children => {
                self.tree.group(name);
                self.declared.insert(name.to_owned());
            }
            Kind::Variables => self.named.push((number, name.to_owned())),
        }
        Some((name.to_owned(), kind))
    }

    fn host(&mut self, number: usize, group: &str, line: &str) {
        let words = match shell_words(line) {
            Ok(words) => words,
            Err(reason) => return self.wrong(number, reason, "close the quote"),
        };
        let Some((name, pairs)) = words.split_first() else {
            return;
        };
        let (name, port) = split_port(name);
        if name.contains('=') {
            let help = format!("variables of the group stand in a section [{group}:vars]");
            return self.wrong(number, format!("{name:?} is a variable and no host"), &help);
        }
        let mut variables = Vec::new();
        for pair in pairs {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => variables.push((key, value)),
                _ => self.wrong(
                    number,
                    format!("{pair:?} is not of the form NAME=VALUE"),
                    "quote values that hold blanks",
                ),
            }
        }
        let names = match self.tree.expand(name) {
            Ok(names) => names,
            Err(reason) => return self.wrong(number, reason, ""),
        };
        for name in names {
            let known = self.tree.host(&name, Some(group));
            if let Some(port) = port {
                known.insert("ansible_port".to_owned(), Value::from(port).into());
            }
            for (key, value) in &variables {
                known.insert((*key).to_owned(), variable_of_json(value_of(value), self.file));
            }
        }
    }

    fn child(&mut self, number: usize, group: &str, line: &str) {
        let name = line.split(['#', ' ', '\t']).next().unwrap_or_default();
        if name.is_empty() || line.contains('=') {
            self.wrong(number, format!("{line:?} is no group"), "one name of a group a line");
            return;
        }
        self.named.push((number, name.to_owned()));
        self.tree.group(group).children.insert(name.to_owned());
    }

    fn variable(&mut self, number: usize, group: &str, line: &str) {
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            self.wrong(number, format!("{line:?} is not of the form NAME=VALUE"), "");
            return;
        };
        let variable = variable_of_json(value_of(value.trim()), self.file);
        self.tree.group(group).variables.insert(key.trim().to_owned(), variable);
    }

    fn finish(mut self) -> Result<Tree, Diagnostics> {
        for (number, name) in std::mem::take(&mut self.named) {
            if !self.declared.contains(&name) {
                let near = did_you_mean(&name, &self.declared);
                self.wrong(number, format!("no section declares group {name:?}{near}"), "add a section [GROUP]");
            }
        }
        Diagnostics::check(self.found)?;
        Ok(self.tree)
    }
}

/// Whether a line begins a section, or would if its bracket were closed. With more after the bracket than a comment it is
/// a host's, whose name begins with a range.
fn is_section(line: &str) -> bool {
    line.strip_prefix('[').is_some_and(|rest| {
        let after = rest.split_once(']').map_or("", |(_, after)| after.trim_start());
        after.is_empty() || after.starts_with(['#', ';'])
    })
}

fn value_of(text: &str) -> Value {
    literal::parse(text).unwrap_or_else(|| Value::from(text))
}

/// Splits as a shell would, with comments.
fn shell_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => word.get_or_insert_default().push(c),
                Some(c) => word.get_or_insert_default().extend(['\\', c]),
                None => break,
            },
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            // Ansible's splitter ends even a word at it.
            (None, '#') => break,
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote in {line:?} is never closed"));
    }
    words.extend(word);
    Ok(words)
}
