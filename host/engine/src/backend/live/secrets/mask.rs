//! Values of secrets in what hosts and servers bring back: `[secret NAME]` takes their place.
//!
//! Found is a value that was fetched, as it is, as JSON escapes it, and in base64, also amid other bytes. Not found is one
//! that was cut off or changed otherwise, and one of less than [`LEAST`] bytes: it would stand in too much by chance.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use runner_types::{Digest, Timestamp};
use serde_json::{Value, json};

use super::Secrets;
use crate::contract::WORDS;

/// Bytes of the shortest value that is looked for.
const LEAST: usize = 4;
/// Digits of the shortest piece of base64 that is looked for amid others.
const LEAST_DIGITS: usize = 6;

/// How a marker begins.
const MARKER: &str = "[secret ";

/// The texts in which one value is found.
pub(super) struct Mask(Vec<Finder<'static>>);

impl Mask {
    pub(super) fn new(value: &[u8]) -> Self {
        if value.len() < LEAST {
            return Self(Vec::new());
        }
        let mut texts = vec![value.to_vec()];
        match std::str::from_utf8(value) {
            Ok(text) => {
                let quoted = Value::from(text).to_string();
                texts.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
            }
            Err(_) => texts.push(String::from_utf8_lossy(value).into_owned().into_bytes()),
        }
        for whole in [STANDARD.encode(value), URL_SAFE.encode(value)] {
            texts.push(whole.trim_end_matches('=').as_bytes().to_vec());
            texts.push(whole.into_bytes());
        }
        for lead in 0..3 {
            // Digits that only the value decides, whatever stands before and after it.
            let bytes = [vec![0; lead], value.to_vec()].concat();
            let digits = (lead * 8).div_ceil(6)..bytes.len() * 8 / 6;
            for whole in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                let own = whole.as_bytes().get(digits.clone()).unwrap_or_default();
                if own.len() >= LEAST_DIGITS {
                    texts.push(own.to_vec());
                }
            }
        }
        texts.sort_unstable();
        texts.dedup();
        Self(texts.iter().map(|text| Finder::new(text).into_owned()).collect())
    }
}

impl Secrets {
    /// Whether there is a value that could be brought back.
    #[must_use]
    pub fn is_any_fetched(&self) -> bool {
        self.known.values().any(|secret| secret.fetched.initialized())
    }

    /// A text without the values that were fetched.
    #[must_use]
    pub fn mask(&self, text: String) -> String {
        match self.masked(text.as_bytes()) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text,
        }
    }

    /// Takes the values that were fetched out of the texts and bytes of an answer. Whether there was one.
    pub fn mask_json(&self, answer: &mut Value) -> bool {
        self.is_any_fetched() && self.replace(answer)
    }

    fn replace(&self, answer: &mut Value) -> bool {
        match answer {
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
            Value::String(text) => {
                let Some(bytes) = self.masked(text.as_bytes()) else { return false };
                let masked = String::from_utf8_lossy(&bytes).into_owned();
                // Part of what is computed is a value only by chance.
                let computed = text.parse::<Digest>().is_ok() || text.parse::<Timestamp>().is_ok();
                if WORDS.binary_search(&text.as_str()).is_ok() || computed && !self.is_marker(&masked) {
                    return false;
                }
                *text = masked;
                true
            }
            Value::Array(items) => items.iter_mut().filter_map(|item| self.replace(item).then_some(())).count() > 0,
            Value::Object(fields) => {
                let Some(bytes) = bytes_of(fields) else {
                    return fields.values_mut().filter_map(|field| self.replace(field).then_some(())).count() > 0;
                };
                let Some(masked) = self.masked(&bytes) else { return false };
                *answer = match String::from_utf8(masked) {
                    Ok(text) => text.into(),
                    Err(error) => json!({"base64": STANDARD.encode(error.as_bytes())}),
                };
                true
            }
        }
    }

    /// Whether what stands for a value in answers stands in an item: who gives it back has not got the value.
    #[must_use]
    pub fn is_masked(&self, item: &Value) -> bool {
        match item {
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
            Value::String(text) => self.has_marker(text.as_bytes()),
            Value::Array(items) => items.iter().any(|item| self.is_masked(item)),
            Value::Object(fields) => match bytes_of(fields) {
                Some(bytes) => self.has_marker(&bytes),
                None => fields.values().any(|field| self.is_masked(field)),
            },
        }
    }

    fn has_marker(&self, bytes: &[u8]) -> bool {
        let found = |name: &String| memchr::memmem::find(bytes, marker(name).as_bytes()).is_some();
        memchr::memmem::find(bytes, MARKER.as_bytes()).is_some() && self.names().any(found)
    }

    fn is_marker(&self, text: &str) -> bool {
        self.names().any(|name| marker(name) == text)
    }

    /// None: no value stands in it.
    fn masked(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut found: Vec<(usize, usize, &str)> = Vec::new();
        for (name, secret) in &self.known {
            let Some(fetched) = secret.fetched.get() else { continue };
            for text in &fetched.mask.0 {
                found.extend(text.find_iter(bytes).map(|start| (start, start + text.needle().len(), name.as_str())));
            }
        }
        if found.is_empty() {
            return None;
        }
        // The longest first where several begin: the padding of base64 belongs to it.
        found.sort_unstable_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
        let mut masked = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for (start, end, name) in found {
            if start >= done {
                masked.extend_from_slice(bytes.get(done..start).unwrap_or_default());
                masked.extend_from_slice(marker(name).as_bytes());
            }
            // What overlaps another is hidden whole, too.
            done = done.max(end);
        }
        masked.extend_from_slice(bytes.get(done..).unwrap_or_default());
        Some(masked)
    }
}

/// What stands for the value of a secret.
fn marker(name: &str) -> String {
    format!("{MARKER}{name}]")
}

/// Bytes that are no text, as [`crate::contract::bytes`] writes them.
fn bytes_of(fields: &serde_json::Map<String, Value>) -> Option<Vec<u8>> {
    let text = fields.get("base64").filter(|_| fields.len() == 1)?.as_str()?;
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests;
