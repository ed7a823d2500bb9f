//! CEL as backends need it: values from and to JSON, the one environment, and conditions over objects.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use cel::{Context, Env, Program, Value as Cel};
use serde_json::{Map as JsonMap, Number, Value};

/// The standard library with the string and list extensions and optional values.
pub static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    for extension in [cel::extensions::strings, cel::extensions::lists] {
        if let Err(error) = environment.add_extension(extension) {
            tracing::error!(%error, "a CEL extension could not be added");
        }
    }
    Arc::new(environment)
});

/// A text that is no CEL expression, or one that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}")]
pub struct ExpressionError {
    /// The expression.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

/// Compiles an expression.
///
/// # Errors
/// When it is no CEL.
pub fn compile(text: &str) -> Result<Program, ExpressionError> {
    ENVIRONMENT
        .compile(text)
        .map_err(|errors| ExpressionError { text: text.to_owned(), reason: errors.to_string().replace('\n', " ") })
}

/// Expressions by their texts, each compiled once. For texts of files alone: nothing is ever forgotten.
#[derive(Debug, Default)]
pub struct Programs(Mutex<HashMap<String, Arc<Program>>>);

impl Programs {
    /// The compiled expression.
    ///
    /// # Errors
    /// When it is no CEL.
    pub fn compiled(&self, text: &str) -> Result<Arc<Program>, ExpressionError> {
        let known = |programs: &Self| programs.0.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(program) = known(self) {
            return Ok(program);
        }
        // Compiled outside the lock: others need not wait for it.
        let program = Arc::new(compile(text)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned(), Arc::clone(&program));
        Ok(program)
    }
}

/// A JSON value as CEL sees it. Whole numbers become `int` wherever they fit, so that they can be calculated with.
#[must_use]
pub fn from_json(value: &Value) -> Box<dyn Val> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.clone())),
        Value::Array(items) => Box::new(CelList::from(items.iter().map(from_json).collect::<Vec<_>>())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (CelMapKey::from(name.clone()), from_json(value)));
            Box::new(CelMap::from(fields.collect::<HashMap<CelMapKey<'_>, Box<dyn Val>>>()))
        }
    }
}

/// A CEL value as JSON, objects with sorted keys.
///
/// # Errors
/// When it is a function, an infinite number or another value that JSON cannot say.
pub fn to_json(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => Value::Bool(*value),
        Cel::Int(value) => Value::from(*value),
        Cel::UInt(value) => Value::from(*value),
        Cel::Float(value) => {
            Number::from_f64(*value).map(Value::Number).ok_or_else(|| format!("{value} is no JSON number"))?
        }
        Cel::String(text) => Value::String(text.as_ref().clone()),
        Cel::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut fields: Vec<(String, &Cel)> = map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let mut object = JsonMap::new();
            for (key, value) in fields {
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        other => other.json().map_err(|error| error.to_string())?,
    })
}

/// A condition over an object, or over the objects of a selection.
#[derive(Debug)]
pub struct Condition {
    text: String,
    program: Program,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// When it is no CEL.
    pub fn new(text: &str) -> Result<Self, ExpressionError> {
        Ok(Self { text: text.to_owned(), program: compile(text)? })
    }

    /// Whether it holds. `object` is null when there is none. A field that is missing makes it false: it may appear.
    ///
    /// # Errors
    /// When it is not true or false, or names what does not exist.
    pub fn holds(&self, object: &Value, objects: &[Value]) -> Result<bool, ExpressionError> {
        let error = |reason: String| ExpressionError { text: self.text.clone(), reason };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_as_val("object", from_json(object));
        context
            .add_variable_as_val("objects", Box::new(CelList::from(objects.iter().map(from_json).collect::<Vec<_>>())));
        match self.program.execute(&context) {
            Ok(Cel::Bool(holds)) => Ok(holds),
            Ok(other) => Err(error(format!("is {other:?}, not true or false"))),
            Err(cel::ExecutionError::NoSuchKey(_)) => Ok(false),
            // A field of an object that is absent (null) may appear, too.
            Err(_) if object.is_null() && objects.is_empty() => Ok(false),
            Err(failure) => Err(error(failure.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(condition: &str, object: &Value, objects: &[Value]) -> Result<bool, String> {
        Condition::new(condition).map_err(|error| error.reason)?.holds(object, objects).map_err(|error| error.reason)
    }

    #[test]
    fn conditions_over_objects() {
        let node = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let ready = "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
        assert_eq!(holds(ready, &node, &[]), Ok(true));
        assert_eq!(holds("object.status.replicas == 3", &node, &[]), Ok(false), "a missing field may appear");
        assert_eq!(holds("object == null", &Value::Null, &[]), Ok(true));
        assert_eq!(holds("size(objects) == 1", &Value::Null, &[node]), Ok(true));
        assert!(holds("1 + 1", &Value::Null, &[]).is_err());
        assert!(holds("object.(", &Value::Null, &[]).is_err());
        assert!(holds("nothing == 1", &json!({}), &[]).is_err());
    }

    #[test]
    fn numbers_can_be_compared_and_added() {
        let object = json!({"a": 2, "b": 3});
        assert_eq!(holds("object.a + 1 == object.b && object.b > 2", &object, &[]), Ok(true));
    }

    #[test]
    fn optional_fields_and_string_functions() {
        let object = json!({"a": {"b": "x,y"}});
        assert_eq!(
            holds("object.?a.?c.orValue('z') == 'z' && object.a.b.split(',').join('-') == 'x-y'", &object, &[]),
            Ok(true)
        );
    }

    #[test]
    fn json_comes_back_as_it_was_but_for_the_order_of_keys() {
        let value = json!({"b": [1, -2, 18446744073709551615u64, 1.5, null, true], "a": {"x": "y"}});
        let seen = Cel::try_from(&*from_json(&value)).map_err(|error| error.to_string());
        assert_eq!(seen.and_then(|seen| to_json(&seen)), Ok(value));
    }
}
