//! Every place of a workflow that holds an expression.

use indexmap::IndexMap;
use serde_json::Value;

use super::{Precondition, Prompt, Rolling, Step, StepAction, Workflow};
use crate::{Expr, JsonPath};

/// A text of a workflow that the engine evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkflowText<'a> {
    /// A CEL expression: `when`, `check`.
    Expr(&'a str),
    /// A string that may hold `${CEL}`.
    Template(&'a str),
}

impl Workflow {
    /// Every text that is evaluated, with its place; sub-workflows are not followed.
    #[must_use]
    pub fn texts(&self) -> Vec<(JsonPath, WorkflowText<'_>)> {
        let root = JsonPath::root();
        let mut found = Texts(Vec::new());
        found.values(&root.key("vars"), &self.vars);
        if let Some(confirm) = &self.confirm {
            found.prompt(&root.key("confirm"), confirm);
        }
        for (index, precondition) in self.preconditions.iter().enumerate() {
            found.precondition(&root.key("preconditions").index(index), precondition);
        }
        found.steps(&root.key("steps"), &self.steps);
        found.0
    }
}

struct Texts<'a>(Vec<(JsonPath, WorkflowText<'a>)>);

impl<'a> Texts<'a> {
    fn expr(&mut self, at: &JsonPath, key: &str, expr: Option<&'a Expr>) {
        if let Some(expr) = expr {
            self.0.push((at.key(key), WorkflowText::Expr(expr.as_str())));
        }
    }

    fn template(&mut self, at: JsonPath, text: &'a str) {
        self.0.push((at, WorkflowText::Template(text)));
    }

    fn value(&mut self, at: &JsonPath, value: &'a Value) {
        match value {
            Value::String(text) => self.template(at.clone(), text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&at.index(index), item);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    self.value(&at.key(key), member);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn values(&mut self, at: &JsonPath, values: &'a IndexMap<String, Value>) {
        for (key, value) in values {
            self.value(&at.key(key), value);
        }
    }

    fn prompt(&mut self, at: &JsonPath, prompt: &'a Prompt) {
        if let Some(heading) = &prompt.heading {
            self.template(at.key("heading"), heading.as_str());
        }
        self.template(at.key("message"), prompt.message.as_str());
        self.expr(at, "when", prompt.when.as_ref());
    }

    fn precondition(&mut self, at: &JsonPath, precondition: &'a Precondition) {
        self.values(&at.key("with"), &precondition.with);
        self.expr(at, "check", precondition.check.as_ref());
        self.expr(at, "when", precondition.when.as_ref());
        if let Some(message) = &precondition.message {
            self.template(at.key("message"), message.as_str());
        }
    }

    fn steps(&mut self, at: &JsonPath, steps: &'a [Step]) {
        for (index, step) in steps.iter().enumerate() {
            let at = at.index(index);
            self.expr(&at, "when", step.when.as_ref());
            match &step.action {
                StepAction::Component(of) => {
                    self.values(&at.key("with"), &of.with);
                    if let Some(targets) = &of.targets {
                        self.targets(&at.key("targets"), &targets.0);
                    }
                    if let Some(cluster) = &of.cluster {
                        self.template(at.key("cluster"), cluster);
                    }
                }
                StepAction::Rolling(rolling) => self.rolling(&at.key("rolling"), rolling),
                StepAction::Workflow(of) => self.values(&at.key("inputs"), &of.inputs),
            }
        }
    }

    fn targets(&mut self, at: &JsonPath, patterns: &'a [String]) {
        match patterns {
            [one] => self.template(at.clone(), one),
            many => {
                for (index, pattern) in many.iter().enumerate() {
                    self.template(at.index(index), pattern);
                }
            }
        }
    }

    fn rolling(&mut self, at: &JsonPath, rolling: &'a Rolling) {
        self.targets(&at.key("over"), &rolling.over.0);
        self.values(&at.key("vars"), &rolling.vars);
        for (index, of) in rolling.maintenance.iter().enumerate() {
            self.values(&at.key("maintenance").index(index).key("with"), &of.with);
        }
        for (key, prompt) in [("before", &rolling.pause.before), ("after", &rolling.pause.after)] {
            if let Some(prompt) = prompt {
                self.prompt(&at.key("pause").key(key), prompt);
            }
        }
        for (index, gate) in rolling.health.iter().enumerate() {
            let at = at.key("health").index(index);
            self.values(&at.key("with"), &gate.with);
            self.expr(&at, "when", gate.when.as_ref());
        }
        self.steps(&at.key("steps"), &rolling.steps);
    }
}
