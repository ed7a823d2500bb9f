//! Expressions of workflows: CEL over inputs, inventory and earlier outputs, and strings that hold `${…}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Program};
use indexmap::IndexMap;
use runner_types::{Expr, Segment, Template, segments};
use serde_json::{Map, Value};

use crate::backend::expression::{ENVIRONMENT, Programs, from_json, to_json};
pub use crate::backend::expression::{ExpressionError, Reference, references};

/// Values by name, as expressions see them. Cloning shares the values, and an expression copies no more of them than it
/// answers: an inventory of a thousand hosts costs one host's condition nothing.
#[derive(Clone, Default)]
pub struct Scope {
    variables: BTreeMap<String, Arc<dyn Val>>,
    /// What was compiled for this scope and those that were made from it.
    programs: Arc<Programs>,
}

impl VariableResolver for Scope {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.variables.get(variable).map(|value| CowVal::Borrowed(&**value))
    }
}

impl Scope {
    /// Makes a value known under a name.
    pub fn set(&mut self, name: &str, value: &Value) {
        self.variables.insert(name.to_owned(), Arc::from(from_json(value)));
    }

    /// The same scope with one more value.
    #[must_use]
    pub fn with(&self, name: &str, value: &Value) -> Self {
        let mut scope = self.clone();
        scope.set(name, value);
        scope
    }

    /// What of this scope is known beforehand where each host has these `vars` of its own: where it has any, none of
    /// `vars`, as they may go by the names of the workflow's.
    #[must_use]
    pub fn of_hosts(&self, vars: &IndexMap<String, Value>) -> Cow<'_, Self> {
        if vars.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut scope = self.clone();
        scope.variables.remove("vars");
        Cow::Owned(scope)
    }

    /// The same scope with what `below` knows beside it; what both know is taken from here.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let mut variables = below.variables.clone();
        variables.extend(self.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self { variables, programs: Arc::clone(&self.programs) }
    }

    /// A compiled expression.
    ///
    /// # Errors
    /// When it is no CEL.
    pub fn compiled(&self, text: &str) -> Result<Arc<Program>, ExpressionError> {
        self.programs.compiled(text)
    }

    /// Whether an expression only names what is known here.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        let is_known = |reference: &Reference<'_>| self.variables.contains_key(reference.name);
        self.programs.compiled(text).is_ok_and(|program| references(&program).iter().all(is_known))
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// When it is no CEL, or names what does not exist.
    pub fn evaluate(&self, text: &str) -> Result<Value, ExpressionError> {
        let error = |reason: String| ExpressionError { text: text.to_owned(), reason };
        let program = self.programs.compiled(text)?;
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(self);
        let value = program.execute(&context).map_err(|failure| error(failure.to_string()))?;
        to_json(&value).map_err(error)
    }

    /// Evaluates a condition; none holds.
    ///
    /// # Errors
    /// When it is not true or false.
    pub fn holds(&self, condition: Option<&Expr>) -> Result<bool, ExpressionError> {
        let Some(condition) = condition else {
            return Ok(true);
        };
        match self.evaluate(condition.as_str())? {
            Value::Bool(holds) => Ok(holds),
            other => Err(ExpressionError {
                text: condition.as_str().to_owned(),
                reason: format!("is {other}, not true or false"),
            }),
        }
    }

    /// Whether a condition is known to be false. One that cannot be evaluated yet may hold.
    #[must_use]
    pub fn never_holds(&self, condition: Option<&Expr>) -> bool {
        self.holds(condition).is_ok_and(|holds| !holds)
    }

    /// The text of a template.
    ///
    /// # Errors
    /// When an expression in it cannot be evaluated.
    pub fn render(&self, template: &Template) -> Result<String, ExpressionError> {
        self.text(template.as_str())
    }

    /// A value in which every string is taken as a template; one that is exactly one `${…}` takes the value's type.
    ///
    /// # Errors
    /// When an expression in it cannot be evaluated.
    pub fn resolve(&self, value: &Value) -> Result<Value, ExpressionError> {
        Ok(match value {
            Value::String(text) => match Template(text.clone()).single() {
                Some(expression) => self.evaluate(expression)?,
                None => Value::String(self.text(text)?),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.resolve(item)).collect::<Result<_, _>>()?),
            Value::Object(fields) => Value::Object(self.resolve_all(fields)?),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// The same for each value of a map.
    ///
    /// # Errors
    /// When an expression in it cannot be evaluated.
    pub fn resolve_all<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<Map<String, Value>, ExpressionError> {
        fields.into_iter().map(|(name, value)| Ok((name.clone(), self.resolve(value)?))).collect()
    }

    /// Whether every expression in the value only names what is known here.
    #[must_use]
    pub fn knows_all(&self, value: &Value) -> bool {
        every_expression(value, &|expression| self.knows(expression))
    }

    fn text(&self, template: &str) -> Result<String, ExpressionError> {
        let error = |reason: String| ExpressionError { text: template.to_owned(), reason };
        let mut out = String::new();
        for segment in segments(template).map_err(|wrong| error(wrong.to_string()))? {
            match segment {
                Segment::Text(text) => out.push_str(text),
                Segment::Expr(expression) => match self.evaluate(expression)? {
                    Value::String(text) => out.push_str(&text),
                    Value::Null => return Err(error(format!("`{expression}` is null"))),
                    other => out.push_str(&other.to_string()),
                },
            }
        }
        Ok(out)
    }
}

/// Whether something is true of every expression in a value.
pub(crate) fn every_expression(value: &Value, holds: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => segments(text).is_ok_and(|segments| {
            segments.iter().all(|segment| match segment {
                Segment::Text(_) => true,
                Segment::Expr(expression) => holds(expression),
            })
        }),
        Value::Array(items) => items.iter().all(|item| every_expression(item, holds)),
        Value::Object(fields) => fields.values().all(|value| every_expression(value, holds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("inputs", &json!({"release": "2.0", "n": 3}));
        scope
    }

    #[test]
    fn one_expression_keeps_its_type() {
        let value = scope().resolve(&json!({"a": "${inputs.n + 1}", "b": ["v${inputs.release}"], "c": 1})).unwrap();
        assert_eq!(value, json!({"a": 4, "b": ["v2.0"], "c": 1}));
    }

    #[test]
    fn what_is_not_known_is_told_apart() {
        assert!(scope().knows_all(&json!({"a": "x ${inputs.n} y"})));
        assert!(!scope().knows_all(&json!(["${steps.backup.changed}"])));
        assert!(scope().evaluate("steps.backup").is_err());
    }

    #[test]
    fn scopes_made_from_one_another_share_what_is_compiled() {
        let (first, other) = (scope(), Scope::default());
        let host = first.with("host", &json!("a"));
        host.evaluate("inputs.n + 1").unwrap();
        let program = |scope: &Scope| scope.programs.compiled("inputs.n + 1").unwrap();
        assert!(Arc::ptr_eq(&program(&first), &program(&host.over(&other))));
        assert!(!Arc::ptr_eq(&program(&first), &program(&other)));
    }

    #[test]
    fn conditions_are_true_or_false() {
        assert!(scope().holds(Some(&Expr("inputs.n > 2".to_owned()))).unwrap());
        assert!(scope().holds(None).unwrap());
        assert!(scope().holds(Some(&Expr("inputs.n".to_owned()))).unwrap_err().reason.contains("not true or false"));
    }

    #[test]
    fn null_never_becomes_text() {
        let mut scope = scope();
        scope.set("host", &json!({"internal_ip": null}));
        assert!(scope.render(&Template("to [${host.internal_ip}]".to_owned())).is_err());
    }
}
