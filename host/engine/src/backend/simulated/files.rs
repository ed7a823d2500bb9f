//! Reading the files of a simulated platform: seed, behaviours, faults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runner_types::{Diagnostic, Diagnostics, Document, JsonPath, Mistakes, load_bytes, segments};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::behaviour::{Behaviours, Change};
use super::fault::Faults;
use super::seed::PlatformSeed;
use crate::backend::expression;

/// File that names the files in which nothing was wrong.
const CHECKED: &str = "checked.json";
/// Changes when what is looked for does.
const FORMAT: u32 = 1;

/// A seed and the digest of its file.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// What it says.
    pub platform: PlatformSeed,
    /// SHA-256 of the file: a platform belongs to the seed it was made from.
    pub digest: String,
    /// Files with behaviours that it names, as paths.
    pub behaviours: Vec<PathBuf>,
}

impl SeedFile {
    /// Reads a seed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        Self::read_checked(path, &mut Checked::default())
    }

    pub(super) fn read_checked(path: &Path, checked: &mut Checked) -> Result<Self, Diagnostics> {
        let (platform, digest) = checked.read::<PlatformSeed>(path)?;
        let beside = path.parent().unwrap_or(Path::new("."));
        let behaviours = platform
            .behaviours
            .iter()
            .map(|name| beside.join(name))
            .collect();
        Ok(Self {
            behaviours,
            digest,
            platform,
        })
    }

    /// A seed that stands in no file.
    #[must_use]
    pub fn made(platform: PlatformSeed) -> Self {
        let text = serde_json::to_vec(&platform).unwrap_or_default();
        Self {
            digest: hex::encode(Sha256::digest(text)),
            platform,
            behaviours: Vec::new(),
        }
    }
}

/// Digests of files in which nothing was wrong: to look through all of them again at every start would take longer than
/// the rest of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checked {
    format: u32,
    files: BTreeSet<String>,
    #[serde(skip)]
    grown: bool,
}

impl Checked {
    /// What is known in a platform's directory.
    pub(super) fn of(directory: &Path) -> Self {
        let known = std::fs::read(directory.join(CHECKED)).ok();
        let known: Option<Self> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        known
            .filter(|known| known.format == FORMAT)
            .unwrap_or_default()
    }

    /// Keeps what became known. That it cannot be kept costs time alone.
    pub(super) fn keep(&self, directory: &Path) {
        if self.grown
            && let Ok(text) = serde_json::to_vec(self)
        {
            let _ = std::fs::write(directory.join(CHECKED), text);
        }
    }

    /// Reads a file, thoroughly if it was not read before; answers its digest, too.
    fn read<T: Document>(&mut self, path: &Path) -> Result<(T, String), Diagnostics> {
        let bytes = bytes(path)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let name = format!("{} {digest}", T::KIND);
        if self.files.contains(&name)
            && let Ok(known) = serde_json::from_slice(&bytes)
        {
            return Ok((known, digest));
        }
        let read = load_bytes::<T>(&bytes, &path.display().to_string())?;
        self.format = FORMAT;
        self.files.insert(name);
        self.grown = true;
        Ok((read.into_parts().0, digest))
    }
}

/// Reads files with behaviours.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read_behaviours(files: &[PathBuf]) -> Result<Vec<Behaviours>, Diagnostics> {
    behaviours_checked(files, &mut Checked::default())
}

pub(super) fn behaviours_checked(
    files: &[PathBuf],
    checked: &mut Checked,
) -> Result<Vec<Behaviours>, Diagnostics> {
    let read = |path: &PathBuf| checked.read::<Behaviours>(path).map(|(read, _)| read);
    files.iter().map(read).collect()
}

/// Reads faults.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read_faults(path: &Path) -> Result<Faults, Diagnostics> {
    let read = load_bytes::<Faults>(&bytes(path)?, &path.display().to_string())?;
    Ok(read.into_parts().0)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    std::fs::read(path).map_err(|error| {
        let file = path.display().to_string();
        Diagnostics::one(Diagnostic::of_file(
            &file,
            format!("cannot be read: {error}"),
        ))
    })
}

impl Document for PlatformSeed {
    const KIND: &'static str = "platform";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        let templates = root.key("templates");
        let unknown = |names: &[String], at: &JsonPath, mistakes: &mut Mistakes| {
            for name in names
                .iter()
                .filter(|name| !self.templates.contains_key(*name))
            {
                mistakes.add(&at.key("like"), format!("there is no template {name:?}"));
            }
        };
        for (name, template) in &self.templates {
            unknown(&template.like.0, &templates.key(name), mistakes);
        }
        for (name, host) in &self.hosts {
            unknown(&host.like.0, &root.key("hosts").key(name), mistakes);
        }
        if self.hosts.is_empty() {
            mistakes.add(&root.key("hosts"), "a platform has at least one host");
        }
    }
}

impl Document for Faults {
    const KIND: &'static str = "faults";

    fn check(&self, mistakes: &mut Mistakes) {
        for (number, fault) in self.faults.iter().enumerate() {
            if let Err(reason) = fault.check() {
                mistakes.add(&JsonPath::root().key("faults").index(number), reason);
            }
        }
    }
}

impl Document for Behaviours {
    const KIND: &'static str = "simulated behaviours";

    /// Compiles every expression, so that a mistake shows before anything runs.
    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        for (number, entry) in self.commands.iter().enumerate() {
            let at = root.key("commands").index(number);
            if entry.argv.is_empty() {
                mistakes.add(&at.key("argv"), "a command has at least its program");
            }
            guard(entry.when.as_deref(), &at, mistakes);
            texts(&entry.stdout, &at.key("stdout"), mistakes);
            text(&entry.stderr, &at.key("stderr"), mistakes);
            texts(&entry.exit, &at.key("exit"), mistakes);
            changes(&entry.sets, &at, mistakes);
        }
        for (number, entry) in self.units.iter().enumerate() {
            let at = root.key("units").index(number);
            guard(entry.when.as_deref(), &at, mistakes);
            text(
                entry.fails.as_deref().unwrap_or_default(),
                &at.key("fails"),
                mistakes,
            );
            changes(&entry.sets, &at, mistakes);
        }
        for (number, entry) in self.packages.iter().enumerate() {
            let at = root.key("packages").index(number);
            guard(entry.when.as_deref(), &at, mistakes);
            text(
                entry.fails.as_deref().unwrap_or_default(),
                &at.key("fails"),
                mistakes,
            );
            changes(&entry.sets, &at, mistakes);
        }
        for (number, entry) in self.http.iter().enumerate() {
            let at = root.key("http").index(number);
            guard(entry.when.as_deref(), &at, mistakes);
            texts(&entry.body, &at.key("body"), mistakes);
            texts(&entry.status, &at.key("status"), mistakes);
            text(
                entry.refused.as_deref().unwrap_or_default(),
                &at.key("refused"),
                mistakes,
            );
            changes(&entry.sets, &at, mistakes);
        }
        for (number, entry) in self.pods.iter().enumerate() {
            let at = root.key("pods").index(number);
            guard(entry.when.as_deref(), &at, mistakes);
            if let Some(ready) = &entry.ready {
                cel(ready, &at.key("ready"), mistakes);
            }
            text(&entry.message, &at.key("message"), mistakes);
            text(
                entry.fails.as_deref().unwrap_or_default(),
                &at.key("fails"),
                mistakes,
            );
            changes(&entry.sets, &at, mistakes);
        }
    }
}

fn cel(expression: &str, at: &JsonPath, mistakes: &mut Mistakes) {
    if let Err(error) = expression::compile(expression) {
        mistakes.add(at, format!("`{expression}` is no CEL: {}", error.reason));
    }
}

fn guard(when: Option<&str>, at: &JsonPath, mistakes: &mut Mistakes) {
    if let Some(when) = when {
        cel(when, &at.key("when"), mistakes);
    }
}

fn text(template: &str, at: &JsonPath, mistakes: &mut Mistakes) {
    match segments(template) {
        Err(error) => mistakes.add(at, error.to_string()),
        Ok(pieces) => {
            for piece in pieces {
                if let runner_types::Segment::Expr(expression) = piece {
                    cel(expression, at, mistakes);
                }
            }
        }
    }
}

fn texts(value: &Value, at: &JsonPath, mistakes: &mut Mistakes) {
    match value {
        Value::String(template) => text(template, at, mistakes),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                texts(item, &at.index(number), mistakes);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                text(name, &at.key(name), mistakes);
                texts(value, &at.key(name), mistakes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn changes(list: &[Change], at: &JsonPath, mistakes: &mut Mistakes) {
    for (number, change) in list.iter().enumerate() {
        let at = at.key("sets").index(number);
        let verbs = change.verbs();
        if verbs.len() != 1 {
            mistakes.add(
                &at,
                match verbs.as_slice() {
                    [] => "a change needs a verb, such as `state`, `file` or `object`".to_owned(),
                    several => format!("a change has one verb, not {}", several.join(" and ")),
                },
            );
        }
        if change.object.is_some() && change.patch.is_none() && change.merge.is_none() {
            mistakes.add(&at, "`object` needs `patch` or `merge`");
        }
        if change.copy.is_some() && change.to.is_none() {
            mistakes.add(&at, "`copy` needs `to`");
        }
        guard(change.when.as_deref(), &at, mistakes);
        if let Some(list) = &change.for_each {
            cel(list, &at.key("for-each"), mistakes);
        }
        if let Ok(Value::Object(fields)) = serde_json::to_value(change) {
            for (name, value) in fields
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "when" | "for-each"))
            {
                texts(value, &at.key(name), mistakes);
            }
        }
    }
}
