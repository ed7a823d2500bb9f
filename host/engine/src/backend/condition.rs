//! Conditions of guests over objects: CEL that somebody else wrote, kept from taking all time and memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cel::common::ast::operators::{ADD, CONDITIONAL};
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue};
use cel::common::types::{CelBool, CelList};
use cel::parser::Expression;
use cel::{Context, ExecutionError, Value as Cel};
use serde_json::Value;

use super::expression::{ENVIRONMENT, ExpressionError, compile, from_json, parts};

/// Loops within one another, over what other loops give included.
const LOOPS: usize = 3;
/// Places where a value is made larger: `+`, `split`, elements that are no literals.
const GROWING: usize = 12;
/// Functions whose result can be far larger than what they are given.
const MULTIPLYING: &[&str] = &["replace", "join", "format", "range", "lists.range"];
/// How long one evaluation may take.
const TIME: Duration = Duration::from_secs(5);
/// Asked in each round of each loop. No text of CEL can name it.
const MAY_GO_ON: &str = "@may-go-on";

/// A condition over an object, or over the objects of a selection.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    text: String,
    expression: Arc<Expression>,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// When it is no CEL, or could grow beyond bounds when it is evaluated.
    pub(super) fn new(text: &str) -> Result<Self, ExpressionError> {
        let program = compile(text)?;
        let mut expression = program.expression().clone();
        bounded(&expression).map_err(|reason| ExpressionError { text: text.to_owned(), reason })?;
        guard(&mut expression);
        Ok(Self { text: text.to_owned(), expression: Arc::new(expression) })
    }

    /// Whether it holds. `object` is null when there is none. A field that is missing or null makes it false: it may appear.
    /// Blocks for as long as it takes, which is bounded.
    ///
    /// # Errors
    /// When it is not true or false, names what does not exist, or takes too long.
    pub(super) fn holds(&self, object: &Value, objects: &[Value]) -> Result<bool, ExpressionError> {
        self.holds_within(TIME, object, objects)
    }

    fn holds_within(&self, time: Duration, object: &Value, objects: &[Value]) -> Result<bool, ExpressionError> {
        let error = |reason: String| ExpressionError { text: self.text.clone(), reason };
        let end = Instant::now() + time;
        let may_go_on = move || match Instant::now() < end {
            true => Ok(true),
            false => Err(ExecutionError::function_error("loop", "the time was over")),
        };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_function(MAY_GO_ON, may_go_on).map_err(|failure| error(failure.to_string()))?;
        context.add_variable_as_val("object", from_json(&without_nulls(object)));
        let objects_now = objects.iter().map(|object| from_json(&without_nulls(object))).collect::<Vec<_>>();
        context.add_variable_as_val("objects", Box::new(CelList::from(objects_now)));
        let result = context.resolve(&self.expression);
        if result.is_err() && Instant::now() >= end {
            return Err(error(format!("takes longer than {} s", time.as_secs_f32())));
        }
        match result {
            Ok(Cel::Bool(holds)) => Ok(holds),
            Ok(other) => Err(error(format!("is {other:?}, not true or false"))),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            // A field of an object that is absent (null) may appear, too.
            Err(_) if object.is_null() && objects.is_empty() => Ok(false),
            Err(failure) => Err(error(failure.to_string())),
        }
    }
}

/// An object without the fields that are null: the API server writes lists that are still empty so, such as the conditions
/// of a new CustomResourceDefinition.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Refuses an expression whose values could grow without bounds.
fn bounded(expression: &Expression) -> Result<(), String> {
    let loops = loops(expression);
    if loops > LOOPS {
        return Err(format!("it has {loops} loops within one another; a condition may have {LOOPS}"));
    }
    let growing = growing(expression)?;
    if growing > GROWING {
        return Err(format!("it joins or lists values in {growing} places; a condition may do so in {GROWING}"));
    }
    Ok(())
}

fn loops(expression: &Expression) -> usize {
    let own = usize::from(matches!(expression.expr, Expr::Comprehension(_)));
    own + parts(expression).into_iter().map(loops).max().unwrap_or_default()
}

fn growing(expression: &Expression) -> Result<usize, String> {
    let is_made = |part: &&Expression| !matches!(part.expr, Expr::Literal(_));
    let own = match &expression.expr {
        Expr::Call(call) if MULTIPLYING.contains(&call.func_name.as_str()) => {
            return Err(format!("a condition cannot use {}", call.func_name));
        }
        Expr::Call(call) => usize::from(call.func_name == ADD || call.func_name == "split"),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => parts(expression).iter().filter(|part| is_made(part)).count(),
        Expr::Unspecified | Expr::Comprehension(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Select(_) => 0,
    };
    parts(expression).into_iter().try_fold(own, |sum, part| Ok(sum + growing(part)?))
}

/// Makes every round of every loop ask whether it may go on.
fn guard(expression: &mut Expression) {
    match &mut expression.expr {
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(guard),
        Expr::Comprehension(fold) => {
            for part in
                [&mut fold.iter_range, &mut fold.accu_init, &mut fold.loop_cond, &mut fold.loop_step, &mut fold.result]
            {
                guard(part);
            }
            guard_rounds(fold);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(guard),
        Expr::Map(map) => map.entries.iter_mut().for_each(guard_entry),
        Expr::Select(select) => guard(&mut select.operand),
        Expr::Struct(record) => record.entries.iter_mut().for_each(guard_entry),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn guard_entry(entry: &mut cel::common::ast::IdedEntryExpr) {
    match &mut entry.expr {
        cel::common::ast::EntryExpr::StructField(field) => guard(&mut field.value),
        cel::common::ast::EntryExpr::MapEntry(entry) => {
            guard(&mut entry.key);
            guard(&mut entry.value);
        }
    }
}

fn guard_rounds(fold: &mut ComprehensionExpr) {
    let appends = matches!(fold.accu_init.expr, Expr::List(_)) && matches!(fold.loop_cond.expr, Expr::Literal(_));
    if !appends {
        let condition = std::mem::take(&mut fold.loop_cond);
        fold.loop_cond = asking(condition, literal(false));
        return;
    }
    // `map` and `filter` have their own fast way, which is known by its form: `CONDITION ? appended : as before`.
    match &mut fold.loop_step.expr {
        Expr::Call(call) if call.func_name == CONDITIONAL => {
            if let Some(condition) = call.args.first_mut() {
                *condition = asking(std::mem::take(condition), literal(false));
            }
        }
        _ => {
            let step = std::mem::take(&mut fold.loop_step);
            fold.loop_step = asking(step, node(Expr::Ident(fold.accu_var.clone())));
        }
    }
}

/// `@may-go-on() ? THEN : OTHERWISE`.
fn asking(then: Expression, otherwise: Expression) -> Expression {
    let asked = CallExpr { func_name: MAY_GO_ON.to_owned(), target: None, args: Vec::new() };
    let args = vec![node(Expr::Call(asked)), then, otherwise];
    node(Expr::Call(CallExpr { func_name: CONDITIONAL.to_owned(), target: None, args }))
}

fn literal(value: bool) -> Expression {
    node(Expr::Literal(LiteralValue::Boolean(CelBool::from(value))))
}

fn node(expr: Expr) -> Expression {
    Expression { id: 0, expr }
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
        let new = json!({"status": {"conditions": null, "parts": [{"ready": null}]}});
        assert_eq!(holds(ready, &new, std::slice::from_ref(&new)), Ok(false), "so is an empty list written");
        assert_eq!(holds("has(object.status.conditions)", &new, &[]), Ok(false));
        assert_eq!(holds("object.status.parts.all(p, !has(p.ready))", &new, &[]), Ok(true));
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
            holds("object.?a.?c.orValue('z') == 'z' && object.a.b.split(',')[1] == 'y'", &object, &[]),
            Ok(true)
        );
    }

    #[test]
    fn loops_go_on_as_they_did() {
        let objects = [json!({"a": 1}), json!({"a": 2}), json!({"a": 2})];
        for condition in [
            "objects.all(o, o.a > 0) && !objects.all(o, o.a > 1)",
            "objects.exists(o, o.a == 2) && !objects.exists(o, o.a == 3)",
            "objects.exists_one(o, o.a == 1) && !objects.exists_one(o, o.a == 2)",
            "objects.filter(o, o.a == 2).size() == 2",
            "objects.map(o, o.a) == [1, 2, 2] && objects.map(o, o.a > 1, o.a * 2) == [4, 4]",
            "objects.all(o, objects.exists(p, p.a >= o.a))",
        ] {
            assert_eq!(holds(condition, &Value::Null, &objects), Ok(true), "{condition}");
        }
    }

    #[test]
    fn what_could_grow_beyond_bounds_is_refused() {
        let nested = |loops: usize| format!("{}true{}", "[1, 2].all(x, ".repeat(loops), ")".repeat(loops));
        assert_eq!(holds(&nested(3), &Value::Null, &[]), Ok(true));
        assert!(holds(&nested(4), &Value::Null, &[]).unwrap_err().contains("4 loops"));
        let chained = format!("['x']{}.size() == 1", ".map(x, x + x)".repeat(40));
        assert!(holds(&chained, &Value::Null, &[]).is_err());
        assert!(holds(&format!("[{}] == []", vec!["objects"; 100].join(", ")), &Value::Null, &[]).is_err());
        for bomb in
            ["lists.range(1000000000000).size() > 0", "'xx'.replace('x', object.a) == ''", "['a'].join('b') == ''"]
        {
            assert!(holds(bomb, &Value::Null, &[]).unwrap_err().contains("cannot use"), "{bomb}");
        }
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let objects = vec![json!({"a": 1}); 2_000];
        let time = Duration::from_millis(50);
        for condition in [
            "objects.all(x, objects.all(y, objects.all(z, z.a == 1)))",
            "objects.exists(x, objects.exists(y, objects.exists_one(z, z.a == 2)))",
            "objects.all(x, objects.all(y, objects.filter(z, z.a == 2).size() == 0))",
            "objects.all(x, objects.all(y, objects.map(z, z.a).size() > 0))",
            "objects.map(x, objects.map(y, objects.map(z, true))).size() > 0",
        ] {
            let begun = Instant::now();
            let error = Condition::new(condition).unwrap().holds_within(time, &Value::Null, &objects).unwrap_err();
            assert!(error.reason.contains("longer than"), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{condition} took {:?}", begun.elapsed());
        }
    }
}
