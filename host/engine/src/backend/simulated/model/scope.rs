//! Expressions of behaviours: what they see, and texts that hold them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::extractors::Arguments;
use cel::{Context, ExecutionError, FunctionContext, Value as Cel};
use runner_types::{Segment, segments};
use serde_json::{Map, Value};

use super::{Model, functions, keys};
use crate::backend::expression::{ENVIRONMENT, from_json, to_json};
use crate::backend::failure;
use crate::contract::Failure;

/// Kind of failure of a behaviour that cannot be evaluated.
pub(crate) const BEHAVIOUR: &str = "behaviour";

/// Marks, as the first character of a variable's name, a function's call.
const CALL: char = '\u{1}';

/// What an expression sees beside the platform.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) component: String,
    pub(crate) host: Option<String>,
    pub(crate) cluster: Option<String>,
    variables: BTreeMap<String, Value>,
}

impl Scope {
    /// Of a component, on a host or on none.
    pub(crate) fn on(component: &str, host: Option<&str>) -> Self {
        Self { component: component.to_owned(), host: host.map(str::to_owned), ..Self::default() }
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }
}

/// Finds variables and answers calls for one evaluation.
struct Lookup<'m, 'a> {
    model: &'m Model<'a>,
    scope: &'m Scope,
    failure: Mutex<Option<String>>,
}

impl VariableResolver for Lookup<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let found = match variable.strip_prefix(CALL) {
            Some(call) => {
                let (name, arguments) = call.split_once(CALL).unwrap_or((call, "[]"));
                let arguments: Vec<Value> = serde_json::from_str(arguments).unwrap_or_default();
                functions::call(self.model, self.scope, name, &arguments).map(Some)
            }
            None => self.model.variable(self.scope, variable).map_err(|f| f.message),
        };
        match found {
            Ok(value) => Some(CowVal::Owned(from_json(&value?))),
            Err(message) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
                None
            }
        }
    }
}

/// What a function of behaviours does inside CEL: it asks the evaluation's [`Lookup`].
fn forward(name: &str, context: &FunctionContext<'_, '_>, arguments: &[Cel]) -> Result<Cel, ExecutionError> {
    let arguments = arguments
        .iter()
        .map(to_json)
        .collect::<Result<Vec<Value>, String>>()
        .map_err(|reason| context.error(reason))?;
    let call = format!("{CALL}{name}{CALL}{}", Value::Array(arguments));
    let answer = context.ptx.get_variable(call).ok_or_else(|| context.error("failed"))?;
    Cel::try_from(answer.as_ref())
}

impl Model<'_> {
    /// Evaluates an expression.
    pub(crate) fn evaluate(&self, scope: &Scope, text: &str) -> Result<Value, Failure> {
        let wrong = |reason: String| {
            let subject = format!("simulated.json of {}", scope.component);
            failure::other(BEHAVIOUR, subject, format!("`{text}`: {reason}"))
        };
        let compiled = self.rules.compiled(text).map_err(|error| wrong(error.reason))?;
        let lookup = Lookup { model: self, scope, failure: Mutex::new(None) };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for name in &compiled.functions {
            if let Some(known) = functions::NAMES.iter().find(|known| *known == name) {
                let call = move |context: &FunctionContext<'_, '_>, Arguments(arguments): Arguments| {
                    forward(known, context, &arguments)
                };
                context.add_function(known, call).map_err(|error| wrong(error.to_string()))?;
            }
        }
        context.set_variable_resolver(&lookup);
        let result = compiled.program.execute(&context);
        let failed = lookup.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (result, failed) {
            (_, Some(reason)) => Err(wrong(reason)),
            (Err(error), None) => Err(wrong(error.to_string())),
            (Ok(value), None) => to_json(&value).map_err(wrong),
        }
    }

    /// Whether a guard holds; none does.
    pub(crate) fn when(&self, scope: &Scope, guard: Option<&str>) -> Result<bool, Failure> {
        let Some(text) = guard else { return Ok(true) };
        match self.evaluate(scope, text)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(failure::other(
                BEHAVIOUR,
                format!("simulated.json of {}", scope.component),
                format!("`{text}` is {other}, not true or false"),
            )),
        }
    }

    /// A text with its expressions evaluated.
    pub(crate) fn render(&self, scope: &Scope, text: &str) -> Result<String, Failure> {
        match self.fill_text(scope, text)? {
            Value::String(text) => Ok(text),
            Value::Null => Ok(String::new()),
            other => Ok(other.to_string()),
        }
    }

    /// A value with the expressions of all its texts evaluated, keys included.
    pub(crate) fn fill(&self, scope: &Scope, value: &Value) -> Result<Value, Failure> {
        Ok(match value {
            Value::String(text) => self.fill_text(scope, text)?,
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill(scope, item)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Value::Object(self.fill_map(scope, fields)?),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// An object with the expressions of all its texts evaluated, keys included.
    pub(crate) fn fill_map(&self, scope: &Scope, fields: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        fields.iter().map(|(key, value)| Ok((self.render(scope, key)?, self.fill(scope, value)?))).collect()
    }

    fn fill_text(&self, scope: &Scope, text: &str) -> Result<Value, Failure> {
        if !text.contains("${") {
            return Ok(Value::from(text));
        }
        let wrong =
            |reason: String| failure::other(BEHAVIOUR, format!("simulated.json of {}", scope.component), reason);
        let pieces = segments(text).map_err(|error| wrong(format!("{text:?}: {error}")))?;
        if let [Segment::Expr(expression)] = pieces.as_slice() {
            return self.evaluate(scope, expression);
        }
        let mut whole = String::new();
        for piece in pieces {
            match piece {
                Segment::Text(text) => whole.push_str(text),
                Segment::Expr(expression) => match self.evaluate(scope, expression)? {
                    Value::String(text) => whole.push_str(&text),
                    Value::Null => {}
                    other => whole.push_str(&other.to_string()),
                },
            }
        }
        Ok(Value::String(whole))
    }

    /// The cluster that a scope is about.
    pub(crate) fn cluster_of(&self, scope: &Scope) -> Result<Option<String>, Failure> {
        if scope.cluster.is_some() {
            return Ok(scope.cluster.clone());
        }
        if let Some(host) = &scope.host
            && let Some(facts) = self.host(host)?
            && facts.cluster.is_some()
        {
            return Ok(facts.cluster);
        }
        Ok(self.rules.only_cluster().map(str::to_owned))
    }

    fn variable(&self, scope: &Scope, name: &str) -> Result<Option<Value>, Failure> {
        if let Some(value) = scope.variables.get(name) {
            return Ok(Some(value.clone()));
        }
        let empty = || Value::Object(Map::new());
        Ok(match name {
            "host" => match &scope.host {
                Some(host) => Some(self.host_value(host)?),
                None => Some(Value::Null),
            },
            "state" => {
                let key = keys::component(&scope.component, None);
                Some(self.tx.get(&key)?.unwrap_or_else(empty))
            }
            "here" => match &scope.host {
                Some(host) => {
                    let key = keys::component(&scope.component, Some(host));
                    Some(self.tx.get(&key)?.unwrap_or_else(empty))
                }
                None => Some(empty()),
            },
            "cluster" => Some(self.cluster_of(scope)?.into()),
            "now" => Some(self.now.to_string().into()),
            _ => None,
        })
    }
}
