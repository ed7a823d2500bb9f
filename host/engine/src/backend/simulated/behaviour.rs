//! What a component's commands, units, packages, Pods and HTTP endpoints do on a simulated platform:
//! `plugins/<component>/simulated.json`. The format is explained in the documentation of [`super`].

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::seed::Size;

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
