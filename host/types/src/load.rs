//! Reading JSON files so that everything wrong with them is named with its place.
//!
//! A file is parsed once into a tree that remembers positions; types are read from the tree. Mistakes do not end the
//! reading: what is wrong is reported, taken out, and the rest is read on, so that one look shows all of them.

use serde::de::DeserializeOwned;
use std::ops::Deref;

mod de;
mod diagnostic;
mod nearest;
mod path;
mod source;
mod tree;

pub use diagnostic::{Diagnostic, Diagnostics, Mistakes, Position};
pub use nearest::{did_you_mean, nearest};
pub use path::{JsonPath, PathItem};
pub use source::Source;

/// Files larger than this are refused unread.
pub const MAX_FILE_SIZE: usize = 16 * 1024 * 1024;
/// Values nested deeper than this are refused.
pub const MAX_DEPTH: usize = 64;
/// More mistakes than this are not looked for.
pub const MAX_MISTAKES: usize = 50;

/// A kind of file that people write.
pub trait Document: DeserializeOwned {
    /// What it is called in messages: `workflow`.
    const KIND: &'static str;

    /// Finds what the types cannot say, all of it.
    fn check(&self, mistakes: &mut Mistakes);
}

/// A file's value and where it came from.
#[derive(Debug, Clone)]
pub struct Located<T> {
    value: T,
    source: Source,
}

impl<T> Located<T> {
    /// The value.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Where it came from.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (T, Source) {
        (self.value, self.source)
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Reads a file's text. `name` is the path that messages show.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load<T: Document>(text: &str, name: &str) -> Result<Located<T>, Diagnostics> {
    let mut source = Source::parse(text, name)?;
    let value: T = source.read()?;
    let mut mistakes = Mistakes::default();
    value.check(&mut mistakes);
    source.refuse(mistakes)?;
    Ok(Located { value, source })
}

/// Reads a file's bytes, as `load` does.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_bytes<T: Document>(bytes: &[u8], name: &str) -> Result<Located<T>, Diagnostics> {
    load(text_of(bytes, name)?, name)
}

/// A file's bytes as text.
///
/// # Errors
/// When it is too large or not UTF-8, or begins with a byte order mark, which no kind of file has a meaning for.
pub fn text_of<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Diagnostics> {
    if bytes.len() > MAX_FILE_SIZE {
        return Err(source::too_large(name, bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Diagnostics::one(Diagnostic {
            file: name.to_owned(),
            position: Some(Position { line, column: 1 }),
            path: None,
            message: format!("byte {} is not UTF-8", error.valid_up_to()),
            help: Some("save the file as UTF-8".to_owned()),
        })
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Diagnostics::one(Diagnostic {
            position: Some(Position { line: 1, column: 1 }),
            ..Diagnostic::of_file(name, "the file begins with a byte order mark").help("save it without one")
        }));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
