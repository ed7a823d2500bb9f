//! Expressions inside files: CEL texts, and strings that hold `${…}`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A CEL expression. It may name `inventory`, `releases`, `inputs` and `vars`; preconditions, questions and steps also
/// `backups` (the chosen sets) and `components` (what preconditions found); a precondition's `with` also `component`, its
/// `check` and `message` also `failed`; a step also `steps` (those that it waits for: `steps.NAME.outcome`, `.changed` and
/// `.outputs`; within a rolling block, those that the block waits for); what belongs to one host of a rolling block
/// also `host`. The `inputs` of a step that names a workflow may name the first four only. Kept as text here; the
/// engine compiles and evaluates it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Expr(pub String);

impl Expr {
    /// The expression's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A string that may hold `${CEL}`; `$${` stands for a literal `${`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(pub String);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Text that stands for itself.
    Text(&'a str),
    /// What is between `${` and `}`.
    Expr(&'a str),
}

/// A template whose `${…}` cannot be told apart from its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` without its `}`.
    #[error("`${{` at character {0} is never closed by `}}`")]
    Unclosed(usize),
    /// Nothing between the braces.
    #[error("`${{}}` at character {0} holds no expression")]
    Empty(usize),
}

impl Template {
    /// The template's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its pieces in order.
    ///
    /// # Errors
    /// When a `${` is never closed or holds nothing.
    pub fn segments(&self) -> Result<Vec<Segment<'_>>, TemplateError> {
        segments(&self.0)
    }

    /// The expression, when the whole string is exactly one `${…}`: its value then keeps its type.
    #[must_use]
    pub fn single(&self) -> Option<&str> {
        match self.segments().ok()?.as_slice() {
            [Segment::Expr(expr)] => Some(expr),
            _ => None,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The pieces of any string that may hold `${…}`.
///
/// # Errors
/// When a `${` is never closed or holds nothing.
pub fn segments(text: &str) -> Result<Vec<Segment<'_>>, TemplateError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        // `$${`: the first dollar escapes, the rest is text.
        if let Some(before) = rest.get(..at).filter(|before| before.ends_with('$')) {
            let kept = before.len() - 1;
            push_text(&mut found, &rest[..kept]);
            push_text(&mut found, &rest[at..at + 2]);
            rest = &rest[at + 2..];
            continue;
        }
        push_text(&mut found, &rest[..at]);
        let place = || text.len() - rest.len() + at;
        let position = |byte: usize| text.get(..byte).map_or(0, |before| before.chars().count()) + 1;
        let inside = &rest[at + 2..];
        let end = closing(inside).ok_or_else(|| TemplateError::Unclosed(position(place())))?;
        let expr = inside[..end].trim();
        if expr.is_empty() {
            return Err(TemplateError::Empty(position(place())));
        }
        found.push(Segment::Expr(expr));
        rest = &inside[end + 1..];
    }
    push_text(&mut found, rest);
    Ok(found)
}

fn push_text<'a>(found: &mut Vec<Segment<'a>>, text: &'a str) {
    if !text.is_empty() {
        found.push(Segment::Text(text));
    }
}

/// Where the `}` is that closes an expression: braces nest, and those within quotes do not count.
fn closing(expr: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in expr.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces() {
        use Segment::{Expr, Text};
        assert_eq!(segments("plain $ text }"), Ok(vec![Text("plain $ text }")]));
        assert_eq!(segments("a ${x} b"), Ok(vec![Text("a "), Expr("x"), Text(" b")]));
        assert_eq!(segments("${ {'a': \"}\"}['a'] }"), Ok(vec![Expr("{'a': \"}\"}['a']")]));
        assert_eq!(segments("cost $${x}"), Ok(vec![Text("cost "), Text("${"), Text("x}")]));
        assert_eq!(segments("é${x"), Err(TemplateError::Unclosed(2)));
        assert_eq!(segments("${ }"), Err(TemplateError::Empty(1)));
        assert_eq!(segments("${x('\\'}')}"), Ok(vec![Expr("x('\\'}')")]));
    }

    #[test]
    fn one_expression_alone() {
        assert_eq!(Template("${inputs.x}".to_owned()).single(), Some("inputs.x"));
        assert_eq!(Template("${inputs.x} ".to_owned()).single(), None);
        assert_eq!(Template(String::new()).single(), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[${}'\"\\\\aé]{0,40}") {
            let _ = segments(&text);
        }
    }
}
