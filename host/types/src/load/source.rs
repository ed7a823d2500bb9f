//! A parsed file, from which types are read and places are looked up.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::de::{self, About, ReadError};
use super::tree::{self, Node};
use super::{Diagnostic, Diagnostics, JsonPath, MAX_FILE_SIZE, MAX_MISTAKES, Mistakes, Position, nearest};

/// A JSON text with the position of each of its values.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    tree: Node,
}

impl Source {
    /// Parses a text. `name` is the path that messages show.
    ///
    /// # Errors
    /// The first break of JSON's syntax, or the names that stand twice in an object.
    pub fn parse(text: &str, name: &str) -> Result<Self, Diagnostics> {
        if text.len() > MAX_FILE_SIZE {
            return Err(too_large(name, text.len()));
        }
        let line_starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let at = |offset| position(text, &line_starts, offset);
        let (tree, doubles) = tree::parse(text).map_err(|error| {
            Diagnostics::one(Diagnostic {
                file: name.to_owned(),
                position: Some(at(error.offset)),
                path: Some(JsonPath::from_items(error.path)).filter(|path| !path.items().is_empty()),
                message: error.message,
                help: error.help,
            })
        })?;
        Diagnostics::check_beyond(
            doubles
                .first
                .into_iter()
                .map(|double| Diagnostic {
                    file: name.to_owned(),
                    position: Some(at(double.offset)),
                    path: Some(JsonPath::from_items(double.path)),
                    message: format!("this name stands here twice, first in line {}", at(double.first).line),
                    help: Some("remove one of them".to_owned()),
                })
                .collect(),
            doubles.beyond,
        )?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), line_starts, tree })
    }

    /// Reads a type from it.
    ///
    /// # Errors
    /// Everything that does not fit the type.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, Diagnostics> {
        let mut found = Vec::new();
        loop {
            match de::read::<T>(&self.tree) {
                Ok(value) => {
                    self.tree.restore();
                    return Diagnostics::check(found).map(|()| value);
                }
                Err(error) => {
                    let Some(place) = self.tree.find_mut(&error.path) else {
                        found.push(self.diagnose(error));
                        break;
                    };
                    // What follows from a mistake already reported is not another one.
                    let follows = follows(place, error.about);
                    let is_root = error.path.is_empty();
                    place.removed = true;
                    if !follows {
                        found.push(self.diagnose(error));
                    }
                    if is_root || found.len() >= MAX_MISTAKES {
                        break;
                    }
                }
            }
        }
        self.tree.restore();
        Err(Diagnostics::check(found)
            .err()
            .unwrap_or_else(|| Diagnostics::one(Diagnostic::of_file(&self.name, "cannot be read"))))
    }

    fn diagnose(&self, error: ReadError) -> Diagnostic {
        Diagnostic {
            file: self.name.clone(),
            position: Some(self.position_of(error.offset)),
            path: Some(JsonPath::from_items(error.path)),
            message: error.message,
            help: error.help,
        }
    }

    /// Turns mistakes into diagnostics of this file.
    ///
    /// # Errors
    /// When there are any.
    pub fn refuse(&self, mistakes: Mistakes) -> Result<(), Diagnostics> {
        let beyond = mistakes.0.len().saturating_sub(MAX_MISTAKES);
        // To find the place of each would take longer the more there are.
        let first = mistakes.0.into_iter().take(MAX_MISTAKES);
        Diagnostics::check_beyond(
            first.map(|(path, message, help)| Diagnostic { help, ..self.at(&path, message) }).collect(),
            beyond,
        )
    }

    /// A diagnostic about the value at that path, or about the nearest one around it.
    #[must_use]
    pub fn at(&self, path: &JsonPath, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.name.clone(),
            position: Some(self.position(path)),
            path: Some(path.clone()),
            message: message.into(),
            help: None,
        }
    }

    /// Where the value at that path begins, or the nearest one around it.
    #[must_use]
    pub fn position(&self, path: &JsonPath) -> Position {
        let mut node = &self.tree;
        for item in path.items() {
            match node.child(item) {
                Some(child) => node = child,
                None => break,
            }
        }
        self.position_of(node.offset)
    }

    fn position_of(&self, offset: usize) -> Position {
        position(&self.text, &self.line_starts, offset)
    }

    /// The name that messages show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole value.
    #[must_use]
    pub fn value(&self) -> Value {
        self.tree.to_value()
    }
}

/// Whether an error about a value is only the consequence of what was taken out of it before.
fn follows(place: &Node, about: About) -> bool {
    let mut removed = place.removed_children();
    match about {
        About::UnknownField => false,
        About::MissingField(field) => removed.any(|key| key.is_some_and(|key| nearest(key, [field]).is_some())),
        About::Value => removed.next().is_some(),
    }
}

pub(super) fn too_large(name: &str, size: usize) -> Diagnostics {
    Diagnostics::one(
        Diagnostic::of_file(name, format!("{size} bytes; files of more than {MAX_FILE_SIZE} bytes are not read"))
            .help("check that this is the file you mean"),
    )
}

fn position(text: &str, line_starts: &[usize], offset: usize) -> Position {
    let line = line_starts.partition_point(|start| *start <= offset);
    let start = line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
    let column = text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
    Position { line: line.max(1), column }
}
