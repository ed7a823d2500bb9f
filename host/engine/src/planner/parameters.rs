//! Parameters of an operation: the manifest's defaults, the platform's settings, the step's own values.

use std::sync::Arc;

use indexmap::IndexMap;
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use runner_types::{Manifest, Operation, OperationSpec};
use serde_json::{Map, Value};

/// Why parameters cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The manifest does not list the operation.
    #[error("{component} has no operation `{operation}`; it has {known}")]
    NoOperation {
        /// Component.
        component: String,
        /// What was wanted.
        operation: Operation,
        /// What there is.
        known: String,
    },
    /// The values do not fit the schema.
    #[error("parameters of {component} {operation} do not fit: {reason}")]
    Invalid {
        /// Component.
        component: String,
        /// Operation.
        operation: Operation,
        /// All findings.
        reason: String,
    },
    /// The manifest's schema is none.
    #[error("the manifest of {component} has a wrong schema for {operation}: {reason}")]
    Schema {
        /// Component.
        component: String,
        /// Operation.
        operation: Operation,
        /// What is wrong.
        reason: String,
    },
}

/// Parameters of an operation, checked against the manifest's schema, with defaults filled in.
///
/// # Errors
/// When the operation does not exist or a value does not fit.
pub fn parameters(
    manifest: &Arc<Manifest>,
    operation: Operation,
    settings: Option<&IndexMap<String, Value>>,
    with: &Map<String, Value>,
) -> Result<Value, ParameterError> {
    let (spec, values) = merged(manifest, operation, settings, with)?;
    fits(manifest, operation, spec, &values, |_| true)?;
    Ok(values)
}

/// Checks what is known of a step's parameters: their values, and the names of those that are known `later`.
///
/// # Errors
/// When the operation does not exist, or it would not be right whatever the later values are.
pub(super) fn check_known(
    manifest: &Arc<Manifest>,
    operation: Operation,
    settings: Option<&IndexMap<String, Value>>,
    known: &Map<String, Value>,
    later: &[&str],
) -> Result<(), ParameterError> {
    let mut with = known.clone();
    with.extend(later.iter().map(|name| ((*name).to_owned(), Value::Null)));
    let (spec, values) = merged(manifest, operation, settings, &with)?;
    fits(manifest, operation, spec, &values, |error| {
        let place = error.instance_path().to_string();
        match place.strip_prefix('/').and_then(|place| place.split('/').next()) {
            Some(name) => !later.contains(&name.replace("~1", "/").replace("~0", "~").as_str()),
            // What is said of all of them may change with the later values, except which names there are.
            None => {
                let is_of_names = matches!(
                    error.kind(),
                    ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::Required { .. }
                );
                later.is_empty() || is_of_names
            }
        }
    })
}

/// The specification of an operation, and its parameters: the nearer value wins.
fn merged<'m>(
    manifest: &'m Manifest,
    operation: Operation,
    settings: Option<&IndexMap<String, Value>>,
    with: &Map<String, Value>,
) -> Result<(&'m OperationSpec, Value), ParameterError> {
    let spec = manifest.operations.get(&operation).ok_or_else(|| ParameterError::NoOperation {
        component: manifest.name.clone(),
        operation,
        known: manifest.operations.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })?;
    let properties = spec.parameters.get("properties").and_then(Value::as_object);
    let mut values = Map::new();
    for (name, schema) in properties.into_iter().flatten() {
        if let Some(default) = schema.get("default") {
            values.insert(name.clone(), default.clone());
        }
    }
    // Settings are shared by the operations of a component: each takes what its schema knows.
    for (name, value) in settings.into_iter().flatten() {
        if properties.is_some_and(|known| known.contains_key(name)) {
            values.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in with {
        values.insert(name.clone(), value.clone());
    }
    Ok((spec, Value::Object(values)))
}

/// Holds values against the schema of an operation; of what it finds, `counts` says what is a finding.
fn fits(
    manifest: &Manifest,
    operation: Operation,
    spec: &OperationSpec,
    values: &Value,
    counts: impl Fn(&ValidationError<'_>) -> bool,
) -> Result<(), ParameterError> {
    let validator = jsonschema::validator_for(&spec.parameters).map_err(|error| ParameterError::Schema {
        component: manifest.name.clone(),
        operation,
        reason: error.to_string(),
    })?;
    let wrong: Vec<String> = validator
        .iter_errors(values)
        .filter(|error| counts(error))
        .take(20)
        .map(|error| {
            let place = error.instance_path().to_string();
            if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ParameterError::Invalid { component: manifest.name.clone(), operation, reason: wrong.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Arc<Manifest> {
        Arc::new(
            serde_json::from_value(json!({
                "name": "lb", "version": "1.0.0", "api": "0.1.0", "description": "d",
                "operations": {"update": {"scope": "host", "parameters": {
                    "type": "object", "additionalProperties": false, "required": ["versions"],
                    "properties": {
                        "versions": {"type": "object"},
                        "wait": {"type": "integer", "default": 5},
                        "pool": {"type": "string", "default": "a"}
                    }
                }}}
            }))
            .unwrap(),
        )
    }

    fn with(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn nearer_values_win() {
        let settings = IndexMap::from([("pool".to_owned(), json!("b")), ("other".to_owned(), json!(1))]);
        let step = with(json!({"versions": {}, "wait": 9}));
        let found = parameters(&manifest(), Operation::Update, Some(&settings), &step).unwrap();
        assert_eq!(found, json!({"versions": {}, "wait": 9, "pool": "b"}));
    }

    #[test]
    fn what_is_known_later_is_held_against_the_names_alone() {
        let check = |known: Value, later: &[&str]| {
            check_known(&manifest(), Operation::Update, None, &with(known), later).map_err(|error| error.to_string())
        };
        assert_eq!(check(json!({}), &["versions"]), Ok(()));
        assert_eq!(check(json!({"versions": {}}), &["wait", "pool"]), Ok(()));
        let wrong = |known: Value, later: &[&str], text: &str| {
            let found = check(known, later).unwrap_err();
            assert!(found.contains(text), "{found}");
        };
        wrong(json!({}), &["versions", "wiat"], "'wiat' was unexpected");
        wrong(json!({"wait": "long"}), &["versions"], "/wait: \"long\" is not of type");
        wrong(json!({}), &["wait"], "\"versions\" is a required property");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error =
            parameters(&manifest(), Operation::Update, None, &with(json!({"wiat": 9}))).unwrap_err().to_string();
        assert!(error.contains("wiat") && error.contains("versions"), "{error}");
        let error = parameters(&manifest(), Operation::Backup, None, &Map::new()).unwrap_err().to_string();
        assert!(error.contains("no operation `backup`; it has update"), "{error}");
    }
}
