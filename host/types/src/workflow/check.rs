//! What the types of a workflow cannot say.

use serde_json::Value;
use std::collections::HashMap;

use super::{InputSpec, OnFailure, Prompt, Retry, Rolling, Step, StepAction, Workflow, WorkflowText};
use crate::{Document, JsonPath, Mistakes, TimeSpan, did_you_mean, segments};

impl Document for Workflow {
    const KIND: &'static str = "workflow";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        Checker { workflow: self, mistakes }.workflow(&root);
    }
}

struct Checker<'a> {
    workflow: &'a Workflow,
    mistakes: &'a mut Mistakes,
}

impl Checker<'_> {
    fn workflow(&mut self, root: &JsonPath) {
        let workflow = self.workflow;
        self.name(&root.key("name"), &workflow.name, "the workflow");
        for (name, input) in &workflow.inputs {
            self.input(&root.key("inputs").key(name), name, input);
        }
        for name in workflow.vars.keys() {
            self.identifier(&root.key("vars").key(name), name);
        }
        if let Some(confirm) = &workflow.confirm {
            self.prompt(&root.key("confirm"), confirm);
        }
        for (key, answer) in &workflow.answers {
            let at = root.key("answers").key(key);
            self.known_input(&at.key("input"), &answer.input);
            let well_formed = key.split_once('/').is_some_and(|(component, prompt)| {
                !component.is_empty() && !prompt.is_empty() && !prompt.contains('/')
            });
            if !well_formed {
                self.mistakes.add_with_help(
                    &at,
                    format!("{key:?} does not name a prompt"),
                    "write COMPONENT/KEY, for example \"database/stop-clients\"",
                );
            }
        }
        self.preconditions(&root.key("preconditions"));
        self.steps(&root.key("steps"), &workflow.steps, false);
        for placed in workflow.texts() {
            self.text(&placed.at, placed.text);
        }
    }

    fn preconditions(&mut self, at: &JsonPath) {
        let mut seen = HashMap::new();
        for (index, precondition) in self.workflow.preconditions.iter().enumerate() {
            let at = at.index(index);
            self.unique(&at.key("name"), &precondition.name, index, &mut seen, "precondition");
            if precondition.component.is_none() && precondition.check.is_none() {
                self.mistakes.add_with_help(
                    &at,
                    format!("precondition {:?} checks nothing", precondition.name),
                    "give `component` to verify, or `check` with an expression",
                );
            }
            if precondition.component.is_none() && (precondition.verify.is_some() || !precondition.with.is_empty()) {
                let message = "`verify` and `with` need `component`";
                self.mistakes.add_with_help(&at, message, "name the component to verify, or \"*\"");
            }
            if precondition.check.is_some() && precondition.message.is_none() {
                self.mistakes.add_with_help(
                    &at,
                    format!("precondition {:?} has a `check` and no `message`", precondition.name),
                    "say what the operator reads when it does not hold, and what to do then",
                );
            }
        }
    }

    fn input(&mut self, at: &JsonPath, name: &str, input: &InputSpec) {
        self.identifier(at, name);
        let kind = input.kind;
        for (index, choice) in input.choices.iter().enumerate() {
            if !kind.accepts(choice) {
                let at = at.key("enum").index(index);
                self.mistakes.add(&at, format!("{choice} is not of the input's type, {kind}"));
            }
        }
        if let Some(again) = input.again.as_ref().filter(|again| !kind.accepts(again)) {
            self.mistakes.add(&at.key("again"), format!("{again} is not of the input's type, {kind}"));
        }
        let Some(default) = &input.default else {
            return;
        };
        let at = at.key("default");
        if default.is_null() {
            if !input.optional {
                self.mistakes.add_with_help(
                    &at,
                    format!("a default of null for an input of type {kind}"),
                    "add \"optional\": true when the value may be null",
                );
            }
        } else if !kind.accepts(default) {
            self.mistakes.add(&at, format!("{default} is not of the input's type, {kind}"));
        } else if !input.choices.is_empty() && !input.choices.contains(default) {
            let choices: Vec<String> = input.choices.iter().map(Value::to_string).collect();
            let message = format!("{default} is not one of {}", choices.join(", "));
            self.mistakes.add(&at, message);
        }
    }

    fn prompt(&mut self, at: &JsonPath, prompt: &Prompt) {
        if prompt.message.as_str().trim().is_empty() {
            self.mistakes.add(&at.key("message"), "a question without a text");
        }
        let Some(skip) = &prompt.skip_when else {
            return;
        };
        let at = at.key("skip-when");
        if let Some(input) = self.known_input(&at.key("input"), &skip.input)
            && !input.kind.accepts(&skip.equals)
            && !(skip.equals.is_null() && input.optional)
        {
            let message = format!("input {:?} is of type {} and never {}", skip.input, input.kind, skip.equals);
            self.mistakes.add(&at.key("equals"), message);
        }
    }

    fn known_input(&mut self, at: &JsonPath, name: &str) -> Option<&InputSpec> {
        let inputs = &self.workflow.inputs;
        let found = inputs.get(name);
        if found.is_none() {
            let message = format!("no input {name:?}{}", did_you_mean(name, inputs.keys()));
            self.mistakes.add_with_help(at, message, "declare it in `inputs`");
        }
        found
    }

    fn steps(&mut self, at: &JsonPath, steps: &[Step], rolling: bool) {
        if steps.is_empty() {
            self.mistakes.add_with_help(at, "there is no step", "add at least one");
        }
        let mut seen = HashMap::new();
        for (index, step) in steps.iter().enumerate() {
            let at = at.index(index);
            self.unique(&at.key("name"), &step.name, index, &mut seen, "step");
            if rolling && step.on_failure != OnFailure::Stop {
                self.mistakes.add_with_help(
                    &at.key("on-failure"),
                    "what follows a failure is said of the rolling block, not of a step in it",
                    "remove it; `max-failures` and `on-failure` of the block hold for all its hosts",
                );
            }
            if rolling && step.needs.is_some() {
                self.mistakes.add_with_help(
                    &at.key("needs"),
                    "the steps of a rolling block follow each other on each host, and wait for nothing else",
                    "remove it; put the steps in the order in which they are to be done",
                );
            }
            match &step.action {
                StepAction::Component(of) => {
                    self.component(&at.key("component"), &of.component);
                    if let Some(retry) = &of.retry {
                        self.retry(&at.key("retry"), retry);
                    }
                    self.positive(&at.key("timeout"), of.timeout, "a time-out");
                    if of.forks == Some(0) {
                        self.mistakes.add(&at.key("forks"), "at least one target at a time is needed");
                    }
                    if rolling && of.forks.is_some() {
                        self.mistakes.add_with_help(
                            &at.key("forks"),
                            "a step of a rolling block works on one host",
                            "remove it; `batch` of the block says how many hosts have their turn at a time",
                        );
                    }
                    if rolling && of.targets.is_some() {
                        self.mistakes.add_with_help(
                            &at.key("targets"),
                            "a step of a rolling block works on the block's host",
                            "remove `targets`, or move the step out of the block",
                        );
                    }
                }
                StepAction::Rolling(_) | StepAction::Workflow(_) if rolling => {
                    self.mistakes.add_with_help(
                        &at,
                        format!("step {:?} cannot be within a rolling block", step.name),
                        "only operations of components can; move it out of the block",
                    );
                }
                StepAction::Rolling(block) => self.rolling(&at.key("rolling"), block),
                StepAction::Workflow(of) => {
                    if of.workflow.is_empty() {
                        self.mistakes.add(&at.key("workflow"), "the path of a workflow is empty");
                    }
                }
            }
        }
        if !rolling {
            self.needs(at, steps);
        }
    }

    /// Each need must name another step of the list, and following them must end.
    fn needs(&mut self, at: &JsonPath, steps: &[Step]) {
        let places: HashMap<&str, usize> =
            steps.iter().enumerate().rev().map(|(index, step)| (step.name.as_str(), index)).collect();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let Some(needs) = &step.needs else {
                edges[index].extend(index.checked_sub(1));
                continue;
            };
            for (number, need) in needs.iter().enumerate() {
                if self.mistakes.is_full() {
                    return;
                }
                let at = at.index(index).key("needs").index(number);
                match places.get(need.as_str()) {
                    Some(place) if *place == index => {
                        self.mistakes.add(&at, format!("step {need:?} needs itself"));
                    }
                    Some(place) => edges[index].push(*place),
                    None => {
                        let near = did_you_mean(need, places.keys().copied());
                        let message = format!("no step {need:?}{near}");
                        self.mistakes.add_with_help(&at, message, "`needs` names steps of the same list");
                    }
                }
            }
        }
        if let Some(cycle) = cycle(&edges) {
            let names: Vec<&str> =
                cycle.iter().filter_map(|index| steps.get(*index)).map(|step| step.name.as_str()).collect();
            let first = cycle.iter().copied().find(|index| steps[*index].needs.is_some()).unwrap_or(0);
            self.mistakes.add_with_help(
                &at.index(first).key("needs"),
                format!("these steps wait for each other: {}", names.join(" -> ")),
                "a step without `needs` waits for the one before it; \"needs\": [] waits for none",
            );
        }
    }

    fn rolling(&mut self, at: &JsonPath, block: &Rolling) {
        if block.over.0.is_empty() {
            self.mistakes.add(&at.key("over"), "no hosts to go over");
        }
        for (index, of) in block.maintenance.iter().enumerate() {
            self.component(&at.key("maintenance").index(index), &of.component);
        }
        for (key, prompt) in [("before", &block.pause.before), ("after", &block.pause.after)] {
            if let Some(prompt) = prompt {
                self.prompt(&at.key("pause").key(key), prompt);
            }
        }
        for (index, gate) in block.health.iter().enumerate() {
            let at = at.key("health").index(index);
            self.component(&at.key("component"), &gate.component);
            if let Some(retry) = &gate.retry {
                self.retry(&at.key("retry"), retry);
            }
            self.positive(&at.key("timeout"), gate.timeout, "a time-out");
        }
        for name in block.vars.keys() {
            self.identifier(&at.key("vars").key(name), name);
        }
        self.steps(&at.key("steps"), &block.steps, true);
    }

    fn retry(&mut self, at: &JsonPath, retry: &Retry) {
        if !(1..=100).contains(&retry.attempts) {
            self.mistakes.add(&at.key("attempts"), "attempts are 1 to 100, the first included");
        }
        if !(1.0..=100.0).contains(&retry.backoff) {
            self.mistakes.add(&at.key("backoff"), "the factor of the pauses is 1 to 100");
        }
    }

    fn positive(&mut self, at: &JsonPath, span: Option<TimeSpan>, what: &str) {
        if span.is_some_and(|span| span.get().is_zero()) {
            self.mistakes.add(at, format!("{what} of nothing would always be over"));
        }
    }

    fn component(&mut self, at: &JsonPath, name: &str) {
        self.name(at, name, "a component");
    }

    /// Names stand in paths, in file names and in messages.
    fn name(&mut self, at: &JsonPath, name: &str, of: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
            self.mistakes.add_with_help(
                at,
                format!("{name:?} cannot be the name of {of}"),
                "letters of a to z, digits, `-`, `_` and `.`",
            );
        }
    }

    fn unique(&mut self, at: &JsonPath, name: &str, index: usize, seen: &mut HashMap<String, usize>, what: &str) {
        self.name(at, name, &format!("a {what}"));
        if let Some(first) = seen.get(name) {
            let message = format!("{what} {first} of this list is named {name:?} already");
            self.mistakes.add_with_help(at, message, "names are unique within a list (counted from 0)");
        } else {
            seen.insert(name.to_owned(), index);
        }
    }

    /// Inputs and vars are read as `inputs.NAME` in expressions.
    fn identifier(&mut self, at: &JsonPath, name: &str) {
        if !is_identifier(name) {
            self.mistakes.add_with_help(
                at,
                format!("{name:?} cannot be used in expressions"),
                "letters of a to z, digits and `_`, beginning with a letter",
            );
        }
    }

    fn text(&mut self, at: &JsonPath, text: WorkflowText<'_>) {
        match text {
            WorkflowText::Expr(expr) => {
                if expr.trim().is_empty() {
                    self.mistakes.add(at, "an empty expression");
                } else if expr.trim_start().starts_with("${") {
                    self.mistakes.add_with_help(at, "this is an expression already", "write it without `${` and `}`");
                }
            }
            WorkflowText::Template(text) => {
                if let Err(error) = segments(text) {
                    self.mistakes.add_with_help(at, error.to_string(), "close it, or write `$${` for a plain `${`");
                }
            }
        }
    }
}

pub(crate) fn is_identifier(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A cycle among `edges`, when there is one: the nodes on it, the first one repeated at the end.
pub(crate) fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Unseen,
        Open,
        Done,
    }
    let mut states = vec![State::Unseen; edges.len()];
    for start in 0..edges.len() {
        // A stack of its own: a file may hold more steps than the thread has frames.
        let mut stack = vec![(start, 0)];
        if states[start] != State::Unseen {
            continue;
        }
        states[start] = State::Open;
        while let Some((node, next)) = stack.pop() {
            let Some(to) = edges[node].get(next).copied() else {
                states[node] = State::Done;
                continue;
            };
            stack.push((node, next + 1));
            match states[to] {
                State::Unseen => {
                    states[to] = State::Open;
                    stack.push((to, 0));
                }
                State::Open => {
                    let from = stack.iter().position(|(node, _)| *node == to).unwrap_or(0);
                    let mut nodes: Vec<usize> = stack[from..].iter().map(|(node, _)| *node).collect();
                    nodes.push(to);
                    return Some(nodes);
                }
                State::Done => {}
            }
        }
    }
    None
}
