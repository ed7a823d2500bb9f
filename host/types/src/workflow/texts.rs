//! Every place of a workflow that holds an expression, and what is known there.

use std::collections::HashMap;
use std::rc::Rc;

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

/// What an expression may name at its place, besides what every one may: `inventory`, `releases`, `inputs` and the `vars`
/// of its workflow.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Names of values.
    pub values: &'static [&'static str],
    /// `vars` of its rolling block.
    pub vars: Option<&'a IndexMap<String, Value>>,
    /// The step it belongs to.
    step: Option<Among<'a>>,
}

/// A step among those of its workflow.
#[derive(Debug, Clone)]
struct Among<'a> {
    steps: &'a [Step],
    places: Rc<HashMap<&'a str, usize>>,
    place: usize,
}

impl Known<'_> {
    /// Whether the step of that name has surely ended by then, whatever order the others take: whether the text's own step
    /// waits for it, or for one that does.
    #[must_use]
    pub fn has_ended(&self, name: &str) -> bool {
        let Some(Among { steps, places, place }) = &self.step else {
            return false;
        };
        let Some(wanted) = places.get(name) else {
            return false;
        };
        let mut seen = vec![false; steps.len()];
        let mut waiting = vec![*place];
        while let Some(place) = waiting.pop() {
            let needed: Vec<usize> = match steps.get(place).map(|step| &step.needs) {
                Some(Some(needs)) => needs.iter().filter_map(|name| places.get(name.as_str()).copied()).collect(),
                _ => place.checked_sub(1).into_iter().collect(),
            };
            for place in needed {
                if place == *wanted {
                    return true;
                }
                if let Some(seen) = seen.get_mut(place)
                    && !std::mem::replace(seen, true)
                {
                    waiting.push(place);
                }
            }
        }
        false
    }
}

/// A text with its place and what is known there.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// Its place.
    pub at: JsonPath,
    /// The text.
    pub text: WorkflowText<'a>,
    /// What it may name.
    pub known: Known<'a>,
}

impl Workflow {
    /// Every text that is evaluated, with its place; sub-workflows are not followed.
    #[must_use]
    pub fn texts(&self) -> Vec<Placed<'_>> {
        let root = JsonPath::root();
        let mut texts = Texts::default();
        texts.values(&root.key("vars"), &self.vars);
        if let Some(confirm) = &self.confirm {
            texts.knowing(&["backups", "components"]).prompt(&root.key("confirm"), confirm);
        }
        for (index, precondition) in self.preconditions.iter().enumerate() {
            texts.precondition(&root.key("preconditions").index(index), precondition);
        }
        texts.steps(&root.key("steps"), &self.steps);
        texts.found
    }
}

#[derive(Default)]
struct Texts<'a> {
    found: Vec<Placed<'a>>,
    known: Known<'a>,
}

impl<'a> Texts<'a> {
    fn knowing(&mut self, values: &'static [&'static str]) -> &mut Self {
        self.known.values = values;
        self
    }

    fn found(&mut self, at: JsonPath, text: WorkflowText<'a>) {
        self.found.push(Placed { at, text, known: self.known.clone() });
    }

    fn expr(&mut self, at: &JsonPath, key: &str, expr: Option<&'a Expr>) {
        if let Some(expr) = expr {
            self.found(at.key(key), WorkflowText::Expr(expr.as_str()));
        }
    }

    fn template(&mut self, at: JsonPath, text: &'a str) {
        self.found(at, WorkflowText::Template(text));
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
        self.knowing(&["backups", "components"]).expr(at, "when", precondition.when.as_ref());
        self.knowing(&["backups", "components", "component"]).values(&at.key("with"), &precondition.with);
        self.knowing(&["backups", "components", "failed"]).expr(at, "check", precondition.check.as_ref());
        if let Some(message) = &precondition.message {
            self.template(at.key("message"), message.as_str());
        }
    }

    fn steps(&mut self, at: &JsonPath, steps: &'a [Step]) {
        let places = steps.iter().enumerate().map(|(place, step)| (step.name.as_str(), place));
        let places = Rc::new(places.collect::<HashMap<&str, usize>>());
        for (index, step) in steps.iter().enumerate() {
            self.known.step = Some(Among { steps, places: Rc::clone(&places), place: index });
            self.knowing(STEP).step(&at.index(index), step);
        }
    }

    fn step(&mut self, at: &JsonPath, step: &'a Step) {
        self.expr(at, "when", step.when.as_ref());
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
            // Taken when the run is planned.
            StepAction::Workflow(of) => self.knowing(&[]).values(&at.key("inputs"), &of.inputs),
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
        for (index, gate) in rolling.health.iter().enumerate() {
            let at = at.key("health").index(index);
            self.values(&at.key("with"), &gate.with);
            self.expr(&at, "when", gate.when.as_ref());
        }
        self.knowing(STEP_ON_HOST).values(&at.key("vars"), &rolling.vars);
        self.known.vars = Some(&rolling.vars);
        for (index, of) in rolling.maintenance.iter().enumerate() {
            self.values(&at.key("maintenance").index(index).key("with"), &of.with);
        }
        for (key, prompt) in [("before", &rolling.pause.before), ("after", &rolling.pause.after)] {
            if let Some(prompt) = prompt {
                self.prompt(&at.key("pause").key(key), prompt);
            }
        }
        for (index, step) in rolling.steps.iter().enumerate() {
            self.step(&at.key("steps").index(index), step);
        }
        self.known.vars = None;
    }
}

/// What a step may name.
const STEP: &[&str] = &["backups", "components", "steps"];
/// What a step of a rolling block may name.
const STEP_ON_HOST: &[&str] = &["backups", "components", "steps", "host"];
