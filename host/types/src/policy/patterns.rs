//! Pattern fields of requests and grants.

use serde_json::Value;
use std::collections::BTreeMap;

/// A field of a request or grant that narrows a capability. The order is that of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Hosts or groups.
    Hosts,
    /// Clusters.
    Clusters,
    /// Units of systemd.
    Units,
    /// Packages.
    Packages,
    /// Package repositories.
    Repositories,
    /// Absolute paths.
    Paths,
    /// One argv template.
    Argv,
    /// Environment variables that a command names.
    Environment,
    /// Users that a command names to run as.
    Users,
    /// Directories that a command names to run in.
    Directories,
    /// Effect classes of what says its own.
    Effects,
    /// Kinds of Kubernetes objects: `Pod`, `DaemonSet.apps`.
    Kinds,
    /// Namespaces of Kubernetes objects.
    Namespaces,
    /// Names of Kubernetes objects.
    Names,
    /// URLs.
    Urls,
    /// HTTP methods.
    Methods,
    /// Names of secrets.
    Secrets,
}

/// What a field that is left out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Only what the step's own target covers.
    OwnTarget,
    /// Nothing that has such a subject.
    Nothing,
    /// Anything.
    Anything,
    /// Only `read`.
    ReadOnly,
}

impl Field {
    /// All fields in the order of a line.
    pub const ALL: [Self; 17] = [
        Self::Hosts,
        Self::Clusters,
        Self::Units,
        Self::Packages,
        Self::Repositories,
        Self::Paths,
        Self::Argv,
        Self::Environment,
        Self::Users,
        Self::Directories,
        Self::Effects,
        Self::Kinds,
        Self::Namespaces,
        Self::Names,
        Self::Urls,
        Self::Methods,
        Self::Secrets,
    ];

    /// Name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Clusters => "clusters",
            Self::Units => "units",
            Self::Packages => "packages",
            Self::Repositories => "repositories",
            Self::Paths => "paths",
            Self::Argv => "argv",
            Self::Environment => "environment",
            Self::Users => "users",
            Self::Directories => "directories",
            Self::Effects => "effects",
            Self::Kinds => "kinds",
            Self::Namespaces => "namespaces",
            Self::Names => "names",
            Self::Urls => "urls",
            Self::Methods => "methods",
            Self::Secrets => "secrets",
        }
    }

    /// The field of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// What leaving it out means.
    #[must_use]
    pub const fn absent(self) -> Absent {
        match self {
            Self::Hosts | Self::Clusters => Absent::OwnTarget,
            Self::Units
            | Self::Packages
            | Self::Repositories
            | Self::Paths
            | Self::Argv
            | Self::Environment
            | Self::Users
            | Self::Directories
            | Self::Kinds
            | Self::Namespaces
            | Self::Urls
            | Self::Methods
            | Self::Secrets => Absent::Nothing,
            Self::Names => Absent::Anything,
            Self::Effects => Absent::ReadOnly,
        }
    }

    /// Across what a single `*` does not reach.
    #[must_use]
    pub const fn separator(self) -> Option<char> {
        match self {
            Self::Paths | Self::Directories | Self::Urls => Some('/'),
            Self::Hosts
            | Self::Clusters
            | Self::Units
            | Self::Packages
            | Self::Repositories
            | Self::Argv
            | Self::Environment
            | Self::Users
            | Self::Effects
            | Self::Kinds
            | Self::Namespaces
            | Self::Names
            | Self::Methods
            | Self::Secrets => None,
        }
    }

    /// Fields that a capability of that interface may carry beside `hosts` or `clusters`; none: no such interface.
    #[must_use]
    pub fn of_interface(interface: &str) -> Option<&'static [Self]> {
        Some(match interface {
            "systemd" => &[Self::Hosts, Self::Units],
            "packages" => &[Self::Hosts, Self::Packages, Self::Repositories],
            "files" | "artifacts" => &[Self::Hosts, Self::Paths],
            "exec" => &[Self::Hosts, Self::Argv, Self::Environment, Self::Users, Self::Directories, Self::Effects],
            "host" => &[Self::Hosts],
            "kubernetes" => &[Self::Clusters, Self::Kinds, Self::Namespaces, Self::Names],
            "http" => &[Self::Hosts, Self::Urls, Self::Methods, Self::Effects],
            "secrets" => &[Self::Secrets],
            _ => return None,
        })
    }
}

/// Whether an environment variable decides which code a command runs, whatever the command: it is never granted.
#[must_use]
pub fn decides_code(variable: &str) -> bool {
    // The programs that are found, and what ld.so(8) and iconv_open(3) load into them.
    matches!(variable, "PATH" | "GCONV_PATH") || variable.starts_with("LD_")
}

/// Patterns by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Patterns(pub BTreeMap<Field, Vec<String>>);

/// A parameter that a pattern names and the step does not give as text, number or boolean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} names parameter {parameter:?}, which has no plain value in this step")]
pub struct SubstitutionError {
    /// The pattern.
    pub pattern: String,
    /// The parameter.
    pub parameter: String,
}

impl Patterns {
    /// Patterns of a field, when it is given.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&[String]> {
        self.0.get(&field).map(Vec::as_slice)
    }

    /// With that field set.
    #[must_use]
    pub fn with<S: Into<String>>(mut self, field: Field, patterns: impl IntoIterator<Item = S>) -> Self {
        self.0.insert(field, patterns.into_iter().map(Into::into).collect());
        self
    }

    /// With `${parameters.NAME}` replaced by the step's parameters. A parameter that is a list of plain values makes one
    /// pattern for each.
    ///
    /// # Errors
    /// When a parameter is missing or an object.
    pub fn substitute(&self, parameters: &Value) -> Result<Self, SubstitutionError> {
        let mut result = BTreeMap::new();
        for (field, patterns) in &self.0 {
            let mut expanded = Vec::with_capacity(patterns.len());
            for pattern in patterns {
                expand(pattern, pattern, parameters, &mut expanded)?;
            }
            result.insert(*field, expanded);
        }
        Ok(Self(result))
    }
}

const OPEN: &str = "${parameters.";

fn expand(whole: &str, rest: &str, parameters: &Value, out: &mut Vec<String>) -> Result<(), SubstitutionError> {
    let Some((before, after)) = rest.split_once(OPEN) else {
        out.push(rest.to_owned());
        return Ok(());
    };
    let error = |parameter: &str| SubstitutionError { pattern: whole.to_owned(), parameter: parameter.to_owned() };
    let (name, tail) = after.split_once('}').ok_or_else(|| error(after))?;
    let value = name.split('.').try_fold(parameters, |value, key| value.get(key)).ok_or_else(|| error(name))?;
    let values = match value {
        Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>(),
        other => plain(other).map(|text| vec![text]),
    };
    let mut tails = Vec::new();
    expand(whole, tail, parameters, &mut tails)?;
    for text in values.ok_or_else(|| error(name))? {
        out.extend(tails.iter().map(|tail| format!("{before}{text}{tail}")));
    }
    Ok(())
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
