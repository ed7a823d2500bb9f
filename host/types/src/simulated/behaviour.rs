//! What a component's commands, units, packages, Pods and HTTP endpoints do on a simulated platform:
//! `plugins/<component>/simulated.json`. The engine's documentation of the simulated backend explains it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Size;
use crate::{Document, JsonPath, Mistakes, segments};

/// Behaviours of one component.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Behaviours {
    /// Where the schema of this file is.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the component; its `state` and `here` belong to it.
    pub component: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Commands; the first that matches answers.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// What follows when units start and stop; all that match happen.
    #[serde(default)]
    pub units: Vec<UnitEvent>,
    /// What follows when packages are installed and removed; all that match happen.
    #[serde(default)]
    pub packages: Vec<PackageEvent>,
    /// HTTP endpoints; the first that matches answers.
    #[serde(default)]
    pub http: Vec<Endpoint>,
    /// What follows when Pods start and stop; all that match happen.
    #[serde(default)]
    pub pods: Vec<PodEvent>,
}

/// What a command does.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command {
    /// Template of the arguments: `{name}` captures, `*` stands for anything in an argument, `**` for any arguments,
    /// `{name...}` captures any arguments.
    pub argv: Vec<String>,
    /// The package that brings the program; where it is not installed the command is not found.
    #[serde(default)]
    pub package: Option<String>,
    /// CEL; the entry counts only when it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// Standard output: text as it is, anything else as JSON and a line end.
    #[serde(default)]
    pub stdout: Value,
    /// Standard error.
    #[serde(default)]
    pub stderr: String,
    /// Exit code: a number or `${CEL}`.
    #[serde(default)]
    pub exit: Value,
    /// What it changes.
    #[serde(default)]
    pub sets: Vec<Change>,
    /// Change even when the exit code is not 0.
    #[serde(default)]
    pub sets_always: bool,
    /// When the output is made.
    #[serde(default)]
    pub order: Order,
}

/// When an output is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Before the changes.
    #[default]
    OutputFirst,
    /// After them.
    SetsFirst,
}

/// What happens to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitMoment {
    /// It became active.
    Start,
    /// It ceased to be active.
    Stop,
    /// It was asked to read its configuration again.
    Reload,
    /// It was restarted; its stop and start came before.
    Restart,
}

/// What follows from a unit's change.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UnitEvent {
    /// The unit; `*` stands for anything.
    pub unit: String,
    /// When.
    pub on: Vec<UnitMoment>,
    /// CEL; the entry counts only when it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// The unit's job fails with this message.
    #[serde(default)]
    pub fails: Option<String>,
    /// Exit code of the failing unit.
    #[serde(default = "one")]
    pub exit: i32,
    /// What it changes.
    #[serde(default)]
    pub sets: Vec<Change>,
}

/// What happens to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageMoment {
    /// A version was configured that was not there before.
    Install,
    /// It was removed.
    Remove,
}

/// What follows from a package's change.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageEvent {
    /// The package; `*` stands for anything.
    pub package: String,
    /// When.
    pub on: Vec<PackageMoment>,
    /// CEL; the entry counts only when it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// The package's script fails with this message: it stays half configured.
    #[serde(default)]
    pub fails: Option<String>,
    /// Exit code of the failing script.
    #[serde(default = "one")]
    pub exit: i32,
    /// What it changes.
    #[serde(default)]
    pub sets: Vec<Change>,
}

/// What happens to a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodMoment {
    /// Its containers were started on its node.
    Start,
    /// They are gone.
    Stop,
}

/// What follows from a Pod's change, and whether it is ready.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodEvent {
    /// Namespace of the Pods; `*` stands for anything.
    pub namespace: String,
    /// Labels that they have.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// When.
    #[serde(default)]
    pub on: Vec<PodMoment>,
    /// CEL; the entry counts only when it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// The Pod's container ends at once, again and again.
    #[serde(default)]
    pub fails: Option<String>,
    /// What it changes.
    #[serde(default)]
    pub sets: Vec<Change>,
    /// CEL; while it is false the Pod is not Ready. Asked whenever the Pod is looked at by the kubelet.
    #[serde(default)]
    pub ready: Option<String>,
    /// Why it is not ready.
    #[serde(default)]
    pub message: String,
}

/// An HTTP endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Endpoint {
    /// Template of the URL: `{name}` captures up to the next of `/?&#:`, `*` stands for anything but `/`, `**` for
    /// anything.
    pub url: String,
    /// `GET`, `POST`, ….
    #[serde(default = "get")]
    pub method: String,
    /// CEL; the entry counts only when it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// Status code: a number or `${CEL}`.
    #[serde(default = "ok")]
    pub status: Value,
    /// Header fields of the answer.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// Body: text as it is, anything else as JSON.
    #[serde(default)]
    pub body: Value,
    /// There is no answer, for this reason.
    #[serde(default)]
    pub refused: Option<String>,
    /// What it changes.
    #[serde(default)]
    pub sets: Vec<Change>,
    /// When the body is made.
    #[serde(default)]
    pub order: Order,
}

/// A change of the platform: exactly one of its verbs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Change {
    /// CEL; nothing happens unless it is true.
    pub when: Option<String>,
    /// CEL list; the change happens for each, as `item`.
    pub for_each: Option<String>,
    /// Another host than the one in question.
    pub host: Option<String>,

    /// Verb: merge patch of the component's state.
    pub state: Option<Map<String, Value>>,
    /// Verb: merge patch of the component's state on the host.
    pub here: Option<Map<String, Value>>,
    /// Verb: write this file, with `content` or `size`.
    pub file: Option<String>,
    /// Text of the file; anything but text as JSON.
    pub content: Option<Value>,
    /// Size of the file, when its content does not matter.
    pub size: Option<Size>,
    /// Mode of the file in octal.
    pub mode: Option<String>,
    /// Owner of the file.
    pub owner: Option<String>,
    /// Verb: make this directory.
    pub directory: Option<String>,
    /// Verb: remove this path and all below.
    pub remove: Option<String>,
    /// Verb: copy this file to `to`.
    pub copy: Option<String>,
    /// Where `copy` copies to.
    pub to: Option<String>,
    /// Verb with `active`: this unit's state. With `journal`: whose line it is.
    pub unit: Option<String>,
    /// New active-state of `unit`.
    pub active: Option<String>,
    /// Verb: start this unit.
    pub start: Option<String>,
    /// Verb: stop this unit.
    pub stop: Option<String>,
    /// Verb: restart this unit.
    pub restart: Option<String>,
    /// Verb: a Kubernetes object, with `patch` or `merge`.
    pub object: Option<ObjectName>,
    /// Strategic merge patch of `object`.
    pub patch: Option<Map<String, Value>>,
    /// Merge patch of `object`.
    pub merge: Option<Map<String, Value>>,
    /// Verb: create or replace this Kubernetes object.
    pub create: Option<Map<String, Value>>,
    /// Verb: delete this Kubernetes object.
    pub delete: Option<ObjectName>,
    /// Verb: write all Kubernetes objects into this file.
    pub snapshot: Option<String>,
    /// What the snapshot says of itself.
    pub note: Option<Value>,
    /// Verb: replace all Kubernetes objects by those of this file.
    pub restore: Option<String>,
    /// Verb: a line of the system journal.
    pub journal: Option<String>,
}

impl Change {
    /// The verbs it has.
    #[must_use]
    pub fn verbs(&self) -> Vec<&'static str> {
        [
            ("state", self.state.is_some()),
            ("here", self.here.is_some()),
            ("file", self.file.is_some()),
            ("directory", self.directory.is_some()),
            ("remove", self.remove.is_some()),
            ("copy", self.copy.is_some()),
            ("unit", self.unit.is_some() && self.journal.is_none()),
            ("start", self.start.is_some()),
            ("stop", self.stop.is_some()),
            ("restart", self.restart.is_some()),
            ("object", self.object.is_some()),
            ("create", self.create.is_some()),
            ("delete", self.delete.is_some()),
            ("snapshot", self.snapshot.is_some()),
            ("restore", self.restore.is_some()),
            ("journal", self.journal.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
    }
}

/// A Kubernetes object by name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObjectName {
    /// `Kind` for the core group, else `Kind.group`.
    pub kind: String,
    /// None: not namespaced.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

fn one() -> i32 {
    1
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> Value {
    Value::from(200)
}

impl Document for Behaviours {
    const KIND: &'static str = "simulated behaviours";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        for (number, entry) in self.commands.iter().enumerate() {
            if entry.argv.is_empty() {
                let at = root.key("commands").index(number).key("argv");
                mistakes.add(&at, "a command has at least its program");
            }
        }
        for (at, change) in self.changes() {
            change.check(&at, mistakes);
        }
        for (at, text) in self.texts() {
            if let Err(error) = segments(text) {
                mistakes.add(&at, error.to_string());
            }
        }
    }
}

impl Behaviours {
    /// Every expression that stands alone, with its place.
    #[must_use]
    pub fn guards(&self) -> Vec<(JsonPath, &str)> {
        let entries = self.each().into_iter();
        let mut found: Vec<(JsonPath, &str)> =
            entries.filter_map(|(at, when, _)| Some((at.key("when"), when.as_deref()?))).collect();
        for (number, entry) in self.pods.iter().enumerate() {
            let at = JsonPath::root().key("pods").index(number).key("ready");
            found.extend(entry.ready.as_deref().map(|ready| (at, ready)));
        }
        for (at, change) in self.changes() {
            found.extend(change.when.as_deref().map(|when| (at.key("when"), when)));
            let list = change.for_each.as_deref();
            found.extend(list.map(|list| (at.key("for-each"), list)));
        }
        found
    }

    /// Every text that may hold expressions, with its place.
    #[must_use]
    pub fn texts(&self) -> Vec<(JsonPath, &str)> {
        let root = JsonPath::root();
        let mut found = Vec::new();
        for (number, entry) in self.commands.iter().enumerate() {
            let at = root.key("commands").index(number);
            within(&entry.stdout, &at.key("stdout"), &mut found);
            within(&entry.exit, &at.key("exit"), &mut found);
            found.push((at.key("stderr"), entry.stderr.as_str()));
        }
        for (number, entry) in self.http.iter().enumerate() {
            let at = root.key("http").index(number);
            within(&entry.body, &at.key("body"), &mut found);
            within(&entry.status, &at.key("status"), &mut found);
            found.extend(entry.refused.as_deref().map(|text| (at.key("refused"), text)));
            let headers = entry.headers.iter();
            found.extend(headers.map(|(name, text)| (at.key("headers").key(name), text.as_str())));
        }
        let failing = (self.units.iter().map(|entry| &entry.fails).enumerate())
            .map(|(number, fails)| ("units", number, fails))
            .chain((self.packages.iter().enumerate()).map(|(n, entry)| ("packages", n, &entry.fails)))
            .chain((self.pods.iter().enumerate()).map(|(n, entry)| ("pods", n, &entry.fails)));
        for (list, number, fails) in failing {
            let at = root.key(list).index(number).key("fails");
            found.extend(fails.as_deref().map(|text| (at, text)));
        }
        for (number, entry) in self.pods.iter().enumerate() {
            found.push((root.key("pods").index(number).key("message"), entry.message.as_str()));
        }
        for (at, change) in self.changes() {
            change.texts(&at, &mut found);
        }
        found
    }

    fn changes(&self) -> Vec<(JsonPath, &Change)> {
        let listed = self.each().into_iter().flat_map(|(at, _, sets)| {
            let at = at.key("sets");
            let changes = sets.iter().enumerate();
            changes.map(move |(number, change)| (at.index(number), change))
        });
        listed.collect()
    }

    /// Place, guard and changes of every entry.
    fn each(&self) -> Vec<(JsonPath, &Option<String>, &[Change])> {
        fn list<'b, T>(
            name: &str,
            entries: &'b [T],
            parts: fn(&'b T) -> (&'b Option<String>, &'b [Change]),
        ) -> Vec<(JsonPath, &'b Option<String>, &'b [Change])> {
            let at = JsonPath::root().key(name);
            let entries = entries.iter().enumerate();
            entries
                .map(|(number, entry)| {
                    let (when, sets) = parts(entry);
                    (at.index(number), when, sets)
                })
                .collect()
        }
        let mut all = list("commands", &self.commands, |e| (&e.when, &e.sets));
        all.extend(list("units", &self.units, |e| (&e.when, &e.sets)));
        all.extend(list("packages", &self.packages, |e| (&e.when, &e.sets)));
        all.extend(list("http", &self.http, |e| (&e.when, &e.sets)));
        all.extend(list("pods", &self.pods, |e| (&e.when, &e.sets)));
        all
    }
}

impl Change {
    fn check(&self, at: &JsonPath, mistakes: &mut Mistakes) {
        match self.verbs().as_slice() {
            [_] => {}
            [] => mistakes.add(at, "a change needs a verb, such as `state`, `file` or `object`"),
            several => {
                let several = several.join(" and ");
                mistakes.add(at, format!("a change has one verb, not {several}"));
            }
        }
        if self.object.is_some() && self.patch.is_none() && self.merge.is_none() {
            mistakes.add(at, "`object` needs `patch` or `merge`");
        }
        if self.copy.is_some() && self.to.is_none() {
            mistakes.add(at, "`copy` needs `to`");
        }
    }

    fn texts<'c>(&'c self, at: &JsonPath, found: &mut Vec<(JsonPath, &'c str)>) {
        let plain = [
            ("host", &self.host),
            ("file", &self.file),
            ("owner", &self.owner),
            ("directory", &self.directory),
            ("remove", &self.remove),
            ("copy", &self.copy),
            ("to", &self.to),
            ("unit", &self.unit),
            ("active", &self.active),
            ("start", &self.start),
            ("stop", &self.stop),
            ("restart", &self.restart),
            ("snapshot", &self.snapshot),
            ("restore", &self.restore),
            ("journal", &self.journal),
        ];
        for (name, text) in plain {
            found.extend(text.as_deref().map(|text| (at.key(name), text)));
        }
        let maps = [
            ("state", &self.state),
            ("here", &self.here),
            ("patch", &self.patch),
            ("merge", &self.merge),
            ("create", &self.create),
        ];
        for (name, map) in maps {
            for (key, value) in map.iter().flatten() {
                found.push((at.key(name).key(key), key));
                within(value, &at.key(name).key(key), found);
            }
        }
        for (name, value) in [("content", &self.content), ("note", &self.note)] {
            if let Some(value) = value {
                within(value, &at.key(name), found);
            }
        }
        for (field, object) in [("object", &self.object), ("delete", &self.delete)] {
            if let Some(object) = object {
                let at = at.key(field);
                found.push((at.key("kind"), &object.kind));
                found.push((at.key("name"), &object.name));
                let namespace = object.namespace.as_deref();
                found.extend(namespace.map(|text| (at.key("namespace"), text)));
            }
        }
    }
}

/// Every text within a value, keys included, with its place.
fn within<'v>(value: &'v Value, at: &JsonPath, found: &mut Vec<(JsonPath, &'v str)>) {
    match value {
        Value::String(text) => found.push((at.clone(), text)),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                within(item, &at.index(number), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                found.push((at.key(name), name));
                within(value, &at.key(name), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    fn wrong(text: &str) -> String {
        match load::<Behaviours>(text, "simulated.json") {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let sets = |changes: &str| {
            format!(r#"{{"component": "x", "units": [{{"unit": "x.service", "on": ["start"], "sets": [{changes}]}}]}}"#)
        };
        for (text, place, reason) in [
            (r#"{"component": "x", "commands": [{"argv": []}]}"#.to_owned(), "commands[0].argv", "program"),
            (r#"{"component": "x", "comands": []}"#.to_owned(), "comands", "commands"),
            (sets("{}"), "units[0].sets[0]", "needs a verb"),
            (sets(r#"{"state": {}, "here": {}}"#), "units[0].sets[0]", "state and here"),
            (sets(r#"{"copy": "/a"}"#), "units[0].sets[0]", "needs `to`"),
            (sets(r#"{"object": {"kind": "Node", "name": "x"}}"#), "units[0].sets[0]", "`patch` or `merge`"),
            (sets(r#"{"state": {"a": ["${x"]}}"#), "units[0].sets[0].state.a[0]", "never closed"),
        ] {
            let said = wrong(&text);
            assert!(said.contains(place) && said.contains(reason), "{text}: {said}");
        }
        let journal = sets(r#"{"journal": "line", "unit": "x.service"}"#);
        assert_eq!(wrong(&journal), "");
    }
}
