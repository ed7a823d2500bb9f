//! CEL as backends need it: values from and to JSON, and the one environment.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use cel::parser::Expression;
use cel::{Env, Program, Value as Cel};
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

/// Bytes of an expression.
const LONGEST: usize = 16 << 10;
/// Levels of an expression: each is a call within the one around it when it is evaluated.
const DEEPEST: usize = 64;
/// An expression that is not longer cannot be too deep for any stack.
const SURELY_FLAT: usize = 256;
/// Stack on which longer ones are taken apart: a chain of operators nests as deep as it is long.
const STACK: usize = 256 << 20;

/// Compiles an expression.
///
/// # Errors
/// When it is no CEL, or longer or nested deeper than can be evaluated safely.
pub fn compile(text: &str) -> Result<Program, ExpressionError> {
    if text.len() > LONGEST {
        let start = text.chars().take(40).collect::<String>();
        let reason = format!("it has {} bytes; an expression may have {LONGEST}", text.len());
        return Err(ExpressionError { text: format!("{start}…"), reason });
    }
    if text.len() <= SURELY_FLAT {
        return compile_here(text);
    }
    let wrong = |reason: String| ExpressionError { text: text.to_owned(), reason };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || compile_here(text));
        let compiled = thread.map_err(|error| wrong(format!("it cannot be compiled: {error}")))?.join();
        compiled.unwrap_or_else(|_| Err(wrong("its compiler broke down".to_owned())))
    })
}

fn compile_here(text: &str) -> Result<Program, ExpressionError> {
    let wrong = |reason: String| ExpressionError { text: text.to_owned(), reason };
    let program = ENVIRONMENT.compile(text).map_err(|errors| wrong(errors.to_string().replace('\n', " ")))?;
    let depth = depth(program.expression());
    if depth > DEEPEST {
        return Err(wrong(format!("it is nested {depth} deep; an expression may be {DEEPEST} deep")));
    }
    Ok(program)
}

/// The parts of an expression, one level down.
pub(super) fn parts(expression: &Expression) -> Vec<&Expression> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(fold) => {
            vec![&fold.iter_range, &fold.accu_init, &fold.loop_cond, &fold.loop_step, &fold.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(entry).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(record) => record.entries.iter().flat_map(entry).collect(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entry(entry: &IdedEntryExpr) -> Vec<&Expression> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn depth(expression: &Expression) -> usize {
    1 + parts(expression).into_iter().map(depth).max().unwrap_or_default()
}

/// A value that an expression takes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'e> {
    /// Its name.
    pub name: &'e str,
    /// The field of it that has to be there: `release` in `inputs.release`. None where `has(inputs.release)` stands in the
    /// same expression, which then goes without it.
    pub field: Option<&'e str>,
}

/// Names that are no values: types, and what functions stand under.
const BUILT_IN: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "lists",
    "map",
    "math",
    "null_type",
    "optional",
    "string",
    "strings",
    "type",
    "uint",
];

/// What an expression takes from outside; the variables of its own loops are not among it.
#[must_use]
pub fn references(program: &Program) -> Vec<Reference<'_>> {
    let mut outside = Outside::default();
    outside.look_at(program.expression());
    let Outside { mut found, asked_for, .. } = outside;
    for reference in &mut found {
        reference.field = reference.field.filter(|field| !asked_for.contains(&(reference.name, field)));
    }
    found
}

#[derive(Default)]
struct Outside<'e> {
    /// Variables of the loops around.
    own: Vec<&'e str>,
    found: Vec<Reference<'e>>,
    /// Values and the fields that `has` asks for.
    asked_for: Vec<(&'e str, &'e str)>,
}

impl<'e> Outside<'e> {
    fn look_at(&mut self, expression: &'e Expression) {
        match &expression.expr {
            Expr::Ident(variable) => self.named(variable, None),
            Expr::Select(select) if let Expr::Ident(variable) = &select.operand.expr => {
                if select.test {
                    self.asked_for.push((variable, &select.field));
                }
                self.named(variable, Some(&select.field));
            }
            Expr::Comprehension(fold) => {
                self.look_at(&fold.iter_range);
                self.look_at(&fold.accu_init);
                let outer = self.own.len();
                self.own.extend([fold.iter_var.as_str(), fold.accu_var.as_str()]);
                self.own.extend(fold.iter_var2.as_deref());
                for part in [&fold.loop_cond, &fold.loop_step, &fold.result] {
                    self.look_at(part);
                }
                self.own.truncate(outer);
            }
            _ => parts(expression).into_iter().for_each(|part| self.look_at(part)),
        }
    }

    fn named(&mut self, name: &'e str, field: Option<&'e str>) {
        if !self.own.contains(&name) && !BUILT_IN.contains(&name) {
            self.found.push(Reference { name, field });
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_comes_back_as_it_was_but_for_the_order_of_keys() {
        let value = json!({"b": [1, -2, 18446744073709551615u64, 1.5, null, true], "a": {"x": "y"}});
        let seen = Cel::try_from(&*from_json(&value)).map_err(|error| error.to_string());
        assert_eq!(seen.and_then(|seen| to_json(&seen)), Ok(value));
    }

    /// On a thread of a runtime, whose stack has 2 MiB.
    fn tried(text: &str) -> Result<(), String> {
        let compile = || compile(text).map(drop).map_err(|error| error.reason);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, compile);
            thread.unwrap().join().unwrap()
        })
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused_and_overflows_nothing() {
        assert!(tried(&"1".repeat(LONGEST + 1)).unwrap_err().contains("may have 16384"));
        let chains =
            ["1", " + 1", ".a", "[0]", " - -1"].map(|link| format!("1{}", link.repeat((LONGEST - 1) / link.len())));
        for chain in chains.iter().skip(1) {
            let reason = tried(chain).unwrap_err();
            assert!(reason.contains("may be 64 deep"), "{reason}");
        }
        for open in ["(", "[", "!", "-", "{1:", "f("] {
            assert!(tried(&open.repeat(LONGEST / open.len())).is_err(), "{open}");
        }
        let wide = format!("1 in [{}]", vec!["1"; 4000].join(", "));
        assert_eq!(tried(&wide), Ok(()));
    }

    #[test]
    fn the_deepest_can_be_evaluated_on_a_small_stack() {
        let text = format!("1{}", " + 1".repeat(DEEPEST - 1));
        let evaluate = || {
            let program = compile(&text).unwrap();
            program.execute(&cel::Context::with_env(Arc::clone(&ENVIRONMENT)))
        };
        let value = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, evaluate);
            thread.unwrap().join().unwrap()
        });
        assert_eq!(value, Ok(Cel::Int(64)));
        assert!(compile(&format!("{text} + 1")).is_err());
    }
}
