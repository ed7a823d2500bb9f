//! What the gate must know of the items of each interface: the subject that a grant is judged by, and the state
//! before a write. One file an interface; none of them knows wasm.

use std::borrow::Cow;
use std::ops::Range;

use runner_types::PromptKind;
use serde_json::Value;

use crate::contract::{Backend, Class, Place};

mod artifacts;
mod exec;
mod files;
mod host;
mod http;
mod kubernetes;
mod packages;
mod runner;
mod secrets;
mod systemd;

pub(crate) use systemd::drop_in_path;

/// What a grant is judged by, besides the place.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject<'a> {
    /// Nothing: the place says it all.
    Place,
    /// A systemd unit.
    Unit(&'a str),
    /// A package repository.
    Repository(&'a str),
    /// Packages by name.
    Packages(Vec<&'a str>),
    /// Absolute paths; each must be granted.
    Paths(Vec<Cow<'a, str>>),
    /// A command and what it does.
    Command {
        /// Program and arguments.
        argv: &'a [String],
        /// Names of the variables that it is given.
        environment: Vec<&'a str>,
        /// None: the user that effects have.
        user: Option<&'a str>,
        /// None: the root directory.
        directory: Option<Cow<'a, str>>,
        /// Stated effect class.
        class: Class,
    },
    /// Kubernetes objects.
    Object {
        /// `Kind` for the core group, otherwise `Kind.group`.
        kind: String,
        /// None: not namespaced, or all namespaces.
        namespace: Option<Cow<'a, str>>,
        /// None: any name.
        name: Option<Cow<'a, str>>,
    },
    /// An HTTP request.
    Request {
        /// `GET`, `POST`, ….
        method: &'a str,
        /// The URL.
        url: &'a str,
        /// Stated effect class.
        class: Class,
    },
    /// A secret by name.
    Secret(&'a str),
    /// A prompt: the manifest must list it as it is asked, no grant is needed.
    Prompt {
        /// Its key.
        key: &'a str,
        /// What kind of answer it wants.
        kind: PromptKind,
        /// What a choice is among.
        options: &'a [String],
    },
    /// Data of the store by its digest: it must be the plugin's own, and a file's needs what reading the file needs.
    Data(&'a str),
    /// Needs no grant: clock, randomness, log, progress, data that is put into the store.
    Free,
}

/// An item of a call, as the gate sees it.
#[async_trait::async_trait]
pub trait Capable: Sized + Send + Sync {
    /// What a grant is judged by. `Err` is a reason why the item makes no sense.
    ///
    /// # Errors
    /// A sentence for the plugin's author when the item is invalid.
    fn subject(&self) -> Result<Subject<'_>, String>;

    /// One short phrase that names the subject in messages: a unit, path, object, URL.
    fn label(&self) -> String;

    /// Data may be lost, where the function does not say so already.
    fn destroys(&self) -> bool {
        false
    }

    /// Which of the subject's paths something comes to or goes from. What further items of the same call name below them
    /// is not what was judged.
    fn moves(&self) -> Range<usize> {
        0..0
    }

    /// Data of the store that it takes, by its digest.
    fn takes(&self) -> Option<&str> {
        None
    }

    /// Puts the regular file that it names into the store.
    fn stores_file(&self) -> bool {
        false
    }

    /// State before a write, against which "changed" and doubt are measured: one value an item.
    async fn before(_backend: &dyn Backend, _place: &Place, items: &[Self]) -> Vec<Value> {
        vec![Value::Null; items.len()]
    }
}

/// Name of a place for people.
#[must_use]
pub fn place_name(place: &Place) -> &str {
    match place {
        Place::Host(name) | Place::Cluster(name) => name,
        Place::Runner => "runner",
    }
}

/// The JSON of what a read answered; null when it failed: a missing pre-image never stops a write.
fn known<A: serde::Serialize, E>(answer: Result<A, E>) -> Value {
    answer.ok().and_then(|answer| serde_json::to_value(answer).ok()).unwrap_or(Value::Null)
}

/// Pre-images from a read that answers item by item.
fn known_all<A: serde::Serialize, E, D>(answers: Result<Vec<Result<A, E>>, D>, items: usize) -> Vec<Value> {
    match answers {
        Ok(answers) => answers.into_iter().map(known).collect(),
        Err(_) => vec![Value::Null; items],
    }
}

/// Refuses what is no absolute, normal path.
fn absolute(path: &str) -> Result<Cow<'_, str>, String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} is not an absolute path"));
    }
    if path.contains('\0') {
        return Err("a path cannot contain NUL".to_owned());
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Err(format!("{path:?} contains `.` or `..`; write the path it means"));
    }
    Ok(path.into())
}

/// Refuses an empty name or one with characters that no such name has.
fn plain<'a>(what: &str, name: &'a str) -> Result<&'a str, String> {
    if name.is_empty() || name.starts_with('-') || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
    {
        return Err(format!("{name:?} is not a name of {what}"));
    }
    Ok(name)
}
