//! What is wrong with a file, and where.

use std::fmt;

use super::{JsonPath, MAX_MISTAKES};

/// A place in a text, counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// File as the user named it, or what stands for it, such as `-e`.
    pub file: String,
    /// Line and column.
    pub position: Option<Position>,
    /// Where within the JSON value.
    pub path: Option<JsonPath>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// About a whole file.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position: None, path: None, message: message.into(), help: None }
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file, in the order of its text; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// A single one.
    #[must_use]
    pub fn one(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }

    /// Those found, when there are any.
    ///
    /// # Errors
    /// When there are any.
    pub fn check(found: Vec<Diagnostic>) -> Result<(), Self> {
        Self::check_beyond(found, 0)
    }

    /// Those found, and how many there are beyond these.
    pub(super) fn check_beyond(mut found: Vec<Diagnostic>, beyond: usize) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
        let more = found.len().saturating_sub(MAX_MISTAKES) + beyond;
        if more > 0 {
            found.truncate(MAX_MISTAKES);
            let file = found.last().map(|last| last.file.clone()).unwrap_or_default();
            found.push(Diagnostic::of_file(&file, format!("and {more} more like these")));
        }
        Err(Self(found))
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// Those of several files together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::one(diagnostic)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

/// Mistakes of a value, by JSON path; the source gives them their lines.
#[derive(Debug, Clone, Default)]
pub struct Mistakes(pub(super) Vec<(JsonPath, String, Option<String>)>);

impl Mistakes {
    /// A mistake at that path.
    pub fn add(&mut self, path: &JsonPath, message: impl Into<String>) {
        self.0.push((path.clone(), message.into(), None));
    }

    /// A mistake at that path with what to do.
    pub fn add_with_help(&mut self, path: &JsonPath, message: impl Into<String>, help: impl Into<String>) {
        self.0.push((path.clone(), message.into(), Some(help.into())));
    }

    /// Turns them into diagnostics of a file whose lines are not known.
    ///
    /// # Errors
    /// When there are any.
    pub fn refuse_in(self, file: &str) -> Result<(), Diagnostics> {
        let found = self.0.into_iter().map(|(path, message, help)| Diagnostic {
            path: Some(path),
            help,
            ..Diagnostic::of_file(file, message)
        });
        Diagnostics::check(found.collect())
    }

    /// Whether there are so many that looking for more is of no use.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() > MAX_MISTAKES
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
