//! Selectors of labels and fields, and what of an object is returned.

use serde_json::{Map, Value};

/// A label selector in Kubernetes' own syntax, or as objects write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Labels {
    /// From text such as `app=web,tier in (a, b),!canary`; empty selects all.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            requirements.push(requirement(part).ok_or_else(|| format!("{part:?} is no label requirement"))?);
        }
        Ok(Self(requirements))
    }

    /// From `matchLabels` and `matchExpressions`. An absent selector selects nothing, an empty one all.
    pub(crate) fn of_object(selector: Option<&Value>) -> Option<Self> {
        let selector = selector?;
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (name, value) in labels {
                requirements.push(Requirement::In(name.clone(), vec![text_of(value)]));
            }
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let name = expression.get("key").map(text_of).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.map(|values| values.iter().map(text_of).collect()).unwrap_or_default();
            requirements.push(match expression.get("operator").and_then(Value::as_str) {
                Some("In") => Requirement::In(name, values),
                Some("NotIn") => Requirement::NotIn(name, values),
                Some("Exists") => Requirement::Exists(name),
                _ => Requirement::Missing(name),
            });
        }
        Some(Self(requirements))
    }

    /// From a plain map, as a Service has it.
    pub(crate) fn of_map(labels: &Map<String, Value>) -> Self {
        Self(labels.iter().map(|(name, value)| Requirement::In(name.clone(), vec![text_of(value)])).collect())
    }

    /// Whether labels fit.
    pub(crate) fn fit(&self, labels: Option<&Value>) -> bool {
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(name, values) => label(name).is_some_and(|label| values.iter().any(|v| v == label)),
            Requirement::NotIn(name, values) => label(name).is_none_or(|label| values.iter().all(|v| v != label)),
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Missing(name) => label(name).is_none(),
        })
    }

    /// One label and value that everything selected has, where there is one: what an index can be asked for.
    pub(crate) fn certain(&self) -> Option<(&str, &str)> {
        self.0.iter().find_map(|requirement| match requirement {
            Requirement::In(name, values) => match values.as_slice() {
                [one] => Some((name.as_str(), one.as_str())),
                _ => None,
            },
            Requirement::NotIn(..) | Requirement::Exists(_) | Requirement::Missing(_) => None,
        })
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let list = |text: &str| -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let name = |text: &str| {
        let text = text.trim();
        let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c));
        plain.then(|| text.to_owned())
    };
    if let Some((left, right)) = part.split_once(" notin ") {
        return Some(Requirement::NotIn(name(left)?, list(right)?));
    }
    if let Some((left, right)) = part.split_once(" in ") {
        return Some(Requirement::In(name(left)?, list(right)?));
    }
    if let Some((left, right)) = part.split_once("!=") {
        return Some(Requirement::NotIn(name(left)?, vec![right.trim().to_owned()]));
    }
    if let Some((left, right)) = part.split_once('=') {
        let right = right.strip_prefix('=').unwrap_or(right);
        return Some(Requirement::In(name(left)?, vec![right.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(missing) => Some(Requirement::Missing(name(missing)?)),
        None => Some(Requirement::Exists(name(part)?)),
    }
}

/// A field selector: `metadata.name=x,spec.nodeName!=y`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, bool, String)>);

impl Fields {
    /// From text; empty selects all.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, equal, value) = match (part.split_once("!="), part.split_once('=')) {
                (Some((path, value)), _) => (path, false, value),
                (None, Some((path, value))) => (path, true, value.trim_start_matches('=')),
                (None, None) => return Err(format!("{part:?} is no field requirement")),
            };
            fields.push((path.trim().to_owned(), equal, value.trim().to_owned()));
        }
        Ok(Self(fields))
    }

    /// Whether an object fits. A field that is absent is empty.
    pub(crate) fn fit(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, equal, value)| {
            let pointer = format!("/{}", path.replace('.', "/"));
            let found = object.pointer(&pointer).map(text_of).unwrap_or_default();
            (found == *value) == *equal
        })
    }

    /// The value that a field must have, where it must have one.
    pub(crate) fn wanted(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(field, equal, _)| field == path && *equal).map(|(_, _, value)| value.as_str())
    }
}

/// Only what the JSON pointers name; all of it when there are none.
pub(crate) fn keep(object: &Value, pointers: &[String]) -> Value {
    if pointers.is_empty() {
        return object.clone();
    }
    let mut kept = Value::Object(Map::new());
    for pointer in pointers {
        if let Some(found) = object.pointer(pointer) {
            put(&mut kept, object, pointer, found.clone());
        }
    }
    kept
}

/// Puts a value at a pointer; containers on the way are of the kind that the original has.
fn put(target: &mut Value, original: &Value, pointer: &str, value: Value) {
    let mut segments = pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).peekable();
    let (mut target, mut original) = (target, original);
    if segments.peek().is_none() {
        *target = value;
        return;
    }
    while let Some(segment) = segments.next() {
        let next = match target {
            Value::Array(items) => {
                let Ok(index) = segment.parse::<usize>() else {
                    return;
                };
                if items.len() <= index {
                    items.resize(index + 1, Value::Null);
                }
                original = original.get(index).unwrap_or(&Value::Null);
                &mut items[index]
            }
            Value::Object(fields) => {
                original = original.get(&segment).unwrap_or(&Value::Null);
                fields.entry(segment).or_insert(Value::Null)
            }
            _ => return,
        };
        if segments.peek().is_none() {
            *next = value;
            return;
        }
        if next.is_null() {
            *next = match original {
                Value::Array(_) => Value::Array(Vec::new()),
                _ => Value::Object(Map::new()),
            };
        }
        target = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn label_selectors() {
        let labels = json!({"app": "web", "tier": "a"});
        for (selector, fits) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app!=web", false),
            ("tier notin (b,c)", true),
            ("!canary,app", true),
            ("canary", false),
        ] {
            let parsed = Labels::parse(selector).expect("a selector");
            assert_eq!(parsed.fit(Some(&labels)), fits, "{selector}");
        }
        assert!(Labels::parse("a=b=(").is_ok() || Labels::parse("a b").is_err());
        assert!(Labels::parse("a b").is_err());
        let written = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}]});
        assert!(Labels::of_object(Some(&written)).is_some_and(|s| s.fit(Some(&labels))));
        assert!(Labels::of_object(None).is_none());
    }

    #[test]
    fn field_selectors() {
        let pod = json!({"spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}});
        let fits = |text| Fields::parse(text).map(|fields| fields.fit(&pod));
        assert_eq!(fits("spec.nodeName=node-1,status.phase!=Failed"), Ok(true));
        assert_eq!(fits("spec.nodeName="), Ok(false));
        assert_eq!(fits("metadata.name=x"), Ok(false));
        assert!(fits("nonsense").is_err());
    }

    #[test]
    fn kept_fields() {
        let object = json!({"metadata": {"name": "a", "labels": {"x/y": "1"}}, "spec": {"list": [{"a": 1, "b": 2}]}});
        let kept =
            keep(&object, &["/metadata/labels/x~1y".to_owned(), "/spec/list/0/b".to_owned(), "/none".to_owned()]);
        assert_eq!(kept, json!({"metadata": {"labels": {"x/y": "1"}}, "spec": {"list": [{"b": 2}]}}));
        assert_eq!(keep(&object, &[]), object);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z=!(), ]{0,20}") {
            let _ = Labels::parse(&text);
            let _ = Fields::parse(&text);
        }
    }
}
