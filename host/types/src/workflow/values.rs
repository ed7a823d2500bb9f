//! Values of inputs, as given with `-e`.

use indexmap::IndexMap;
use serde_json::Value;

use super::{InputSpec, InputType, Workflow};
use crate::{Diagnostic, Diagnostics, JsonPath, Source, did_you_mean};

/// One `-e` of the command line.
#[derive(Debug, Clone)]
pub enum Extra {
    /// `key=value`, possibly several in one argument as Ansible allows.
    Pairs(Vec<(String, String)>),
    /// A JSON object.
    Json(Source),
    /// `@file`: a JSON file, whose text somebody has to read.
    File(String),
}

/// What messages call the command line's values.
const EXTRA: &str = "-e";

impl Extra {
    /// Reads one argument of `-e`.
    ///
    /// # Errors
    /// When it is neither of its forms.
    pub fn parse(argument: &str) -> Result<Self, Diagnostics> {
        let trimmed = argument.trim();
        if let Some(path) = trimmed.strip_prefix('@') {
            return if path.is_empty() {
                Err(wrong("`@` without a file", "write -e @FILE"))
            } else {
                Ok(Self::File(path.to_owned()))
            };
        }
        if trimmed.starts_with('{') {
            return Source::parse(trimmed, EXTRA).map(Self::Json);
        }
        // What stands after the first `=` may be the value of a secret input.
        let shown = match trimmed.split_once('=') {
            Some((name, _)) => format!("{name}=…"),
            None => trimmed.to_owned(),
        };
        let words = words(trimmed).ok_or_else(|| wrong(format!("a quote in {shown:?} is never closed"), "close it"))?;
        if words.is_empty() {
            return Err(wrong("an empty value", "write -e NAME=VALUE"));
        }
        words
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(wrong(
                    format!("{shown:?} is not of the form NAME=VALUE"),
                    "quote a value that holds blanks: -e 'NAME=\"two words\"'",
                )),
            })
            .collect::<Result<_, _>>()
            .map(Self::Pairs)
    }
}

fn wrong(message: impl Into<String>, help: &str) -> Diagnostics {
    Diagnostics::one(Diagnostic::of_file(EXTRA, message).help(help))
}

/// Splits at blanks; quotes join, as in Ansible's `key=value` form. None: a quote is never closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    Some(words)
}

impl InputSpec {
    /// Reads a value of the command line by the declared type.
    ///
    /// # Errors
    /// When the text is not of that type; the message says what is expected.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let is_null = matches!(text.to_lowercase().as_str(), "null" | "none" | "~" | "");
        if self.optional && is_null && self.kind != InputType::String {
            return Ok(Value::Null);
        }
        let value = match self.kind {
            InputType::Boolean => boolean(text).map(Value::Bool),
            InputType::Integer => serde_json::from_str(text.trim()).ok().map(Value::Number),
            InputType::Number => serde_json::from_str(text.trim()).ok().map(Value::Number),
            InputType::String => Some(Value::String(text.to_owned())),
            InputType::List => match text.trim() {
                "" => Some(Value::Array(Vec::new())),
                json if json.starts_with('[') => serde_json::from_str(json).ok(),
                plain => Some(plain.split(',').map(|item| Value::from(item.trim())).collect()),
            },
            InputType::Object => serde_json::from_str(text).ok(),
        };
        let value = value.filter(|value| self.kind.accepts(value)).ok_or_else(|| {
            let expected = match self.kind {
                InputType::Boolean => "true or false (yes, no, on, off, True, False, 1, 0)",
                InputType::Integer => "a whole number",
                InputType::Number => "a number",
                InputType::String => "a text",
                InputType::List => "a JSON list, or items with commas between them",
                InputType::Object => "a JSON object",
            };
            match self.secret {
                true => format!("expected {expected}"),
                false => format!("expected {expected}, found {text:?}"),
            }
        })?;
        self.choose(value)
    }

    /// A value that is JSON already. Text is read as on the command line, as Ansible does.
    ///
    /// # Errors
    /// When it is not of the declared type; the message says what is expected.
    pub fn accept(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::Null if self.optional => Ok(Value::Null),
            Value::String(text) if self.kind == InputType::Boolean => self.parse(text),
            value if self.kind.accepts(value) => self.choose(value.clone()),
            _ if self.secret => Err(format!("expected a value of type {}", self.kind)),
            value => Err(format!("expected a value of type {}, found {value}", self.kind)),
        }
    }

    fn choose(&self, value: Value) -> Result<Value, String> {
        if self.choices.is_empty() || self.choices.contains(&value) {
            return Ok(value);
        }
        let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
        if self.secret {
            return Err(format!("expected one of {}", choices.join(", ")));
        }
        let near = value
            .as_str()
            .map(|text| did_you_mean(text, self.choices.iter().filter_map(Value::as_str)))
            .unwrap_or_default();
        Err(format!("{value} is not one of {}{near}", choices.join(", ")))
    }
}

/// Ansible's booleans.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// A value that was given, and the place to name when it is wrong.
struct Given {
    name: String,
    value: GivenValue,
    place: Diagnostic,
}

enum GivenValue {
    /// Of `NAME=VALUE`.
    Text(String),
    /// Of a JSON object.
    Json(Value),
}

impl Extra {
    fn given(&self) -> Result<Vec<Given>, Diagnostic> {
        match self {
            Self::Pairs(pairs) => Ok(pairs
                .iter()
                .map(|(name, text)| Given {
                    name: name.clone(),
                    value: GivenValue::Text(text.clone()),
                    place: Diagnostic::of_file(&format!("{EXTRA} {name}"), ""),
                })
                .collect()),
            Self::Json(source) => {
                let Value::Object(members) = source.value() else {
                    return Err(source.at(&JsonPath::root(), "expected an object of inputs"));
                };
                Ok(members
                    .into_iter()
                    .map(|(name, value)| Given {
                        place: source.at(&JsonPath::root().key(&name), ""),
                        name,
                        value: GivenValue::Json(value),
                    })
                    .collect())
            }
            Self::File(path) => Err(Diagnostic::of_file(path, "the file was not read")),
        }
    }
}

impl Workflow {
    /// Values of all inputs: what was given, in order, later over earlier, then defaults. `File`s must have been read
    /// and become `Json` before.
    ///
    /// # Errors
    /// Everything that is wrong with them: unknown names, wrong types, required ones that are missing.
    pub fn input_values(&self, extras: &[Extra]) -> Result<IndexMap<String, Value>, Diagnostics> {
        let mut values: IndexMap<String, Option<Value>> = IndexMap::new();
        let mut found = Vec::new();
        for extra in extras {
            let given = extra.given().unwrap_or_else(|diagnostic| {
                found.push(diagnostic);
                Vec::new()
            });
            for Given { name, value, place } in given {
                let Some(spec) = self.inputs.get(&name) else {
                    found.push(self.no_input(&name, place));
                    continue;
                };
                let value = match value {
                    GivenValue::Text(text) => spec.parse(&text),
                    GivenValue::Json(value) => spec.accept(&value),
                };
                let value = value.map_err(|message| found.push(Diagnostic { message, ..place })).ok();
                values.insert(name, value);
            }
        }
        let mut all = IndexMap::new();
        for (name, spec) in &self.inputs {
            let value = match (values.swap_remove(name), &spec.default) {
                (Some(Some(value)), _) => value,
                (None, Some(default)) => default.clone(),
                // Given and refused above, or left out on purpose.
                (Some(None), _) => Value::Null,
                (None, None) if spec.optional => Value::Null,
                (None, None) => {
                    let message = format!("input {name:?} ({}) is missing", spec.kind);
                    let help = format!("give it with -e {name}=VALUE");
                    found.push(Diagnostic::of_file(EXTRA, message).help(help));
                    Value::Null
                }
            };
            all.insert(name.clone(), value);
        }
        Diagnostics::check(found)?;
        Ok(all)
    }

    fn no_input(&self, name: &str, place: Diagnostic) -> Diagnostic {
        let names: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
        let message = format!("no input {name:?}{}", did_you_mean(name, names.iter().copied()));
        let help = match names.as_slice() {
            [] => format!("workflow {:?} has no inputs", self.name),
            names => format!("inputs of workflow {:?}: {}", self.name, names.join(", ")),
        };
        Diagnostic { message, ..place }.help(help)
    }
}
