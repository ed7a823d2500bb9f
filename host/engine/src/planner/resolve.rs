//! Resolving a workflow: names to plugins, patterns to hosts, expressions that are known beforehand to values.

use std::collections::HashSet;

use indexmap::IndexMap;
use runner_types::{
    ComponentStep, Diagnostic, Diagnostics, JsonPath, Located, MAX_MISTAKES, Operation, Placed, Rolling,
    Scope as TargetScope, Step, StepAction, SubWorkflow, Targets, Template, Workflow, WorkflowText, did_you_mean,
};
use serde_json::{Map, Value};

use super::expressions::{expressions_of, sound};
use super::parameters::check_known;
use super::parts::{check_parts, part_key};
use super::{Plan, PlannedAction, PlannedComponent, PlannedRolling, PlannedStep, World};
use crate::expression::{ExpressionError, Scope, every_expression};

/// Plans a workflow of the world with these inputs, checked and complete.
///
/// # Errors
/// Everything that is wrong, each with its file, line and JSON path.
pub fn plan(world: &World, workflow: &str, inputs: &IndexMap<String, Value>) -> Result<Plan, Diagnostics> {
    check_parts(&world.workflows, workflow)?;
    let mut planner = Planner { world, wrong: Vec::new(), looked_at: HashSet::new(), unsound: HashSet::new() };
    let planned = planner.workflow(workflow, inputs, "");
    Diagnostics::check(planner.wrong)?;
    planned.ok_or_else(|| Diagnostics::one(Diagnostic::of_file(workflow, "the workflow was not read")))
}

struct Planner<'a> {
    world: &'a World,
    wrong: Vec<Diagnostic>,
    /// Files whose expressions were looked at.
    looked_at: HashSet<&'a str>,
    /// Expressions of which was said that they can never be evaluated.
    unsound: HashSet<&'a str>,
}

/// A place in a workflow file.
struct At<'a> {
    file: &'a Located<Workflow>,
    path: JsonPath,
}

impl<'a> At<'a> {
    fn key(&self, key: &str) -> Self {
        Self { file: self.file, path: self.path.key(key) }
    }
    fn index(&self, index: usize) -> Self {
        Self { file: self.file, path: self.path.index(index) }
    }
}

impl<'w> Planner<'w> {
    fn wrong(&mut self, at: &At<'_>, message: impl Into<String>, help: Option<String>) {
        let mut diagnostic = at.file.source().at(&at.path, message);
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        self.wrong.push(diagnostic);
    }

    /// A value that cannot be evaluated. Of one that never can that was said already.
    fn expression(&mut self, at: &At<'_>, value: &Value, error: &ExpressionError) {
        if every_expression(value, &|expression| !self.unsound.contains(expression)) {
            self.wrong(at, error.to_string(), None);
        }
    }

    /// What can never be evaluated would end the run when its turn comes. Each file is looked at once.
    fn look_at(&mut self, name: &'w str, file: &'w Located<Workflow>) {
        if !self.looked_at.insert(name) {
            return;
        }
        let workflow = file.value();
        for Placed { at, text, known } in workflow.texts() {
            if self.wrong.len() > MAX_MISTAKES {
                return;
            }
            let expressions = match text {
                WorkflowText::Expr(expression) => vec![expression],
                WorkflowText::Template(text) => expressions_of(text),
            };
            for expression in expressions {
                if let Err(unsound) = sound(expression, workflow, &known, &self.world.scope) {
                    self.unsound.insert(expression);
                    self.wrong(&At { file, path: at.clone() }, unsound.message, Some(unsound.help));
                }
            }
        }
    }

    fn workflow(&mut self, key: &str, inputs: &IndexMap<String, Value>, prefix: &str) -> Option<Plan> {
        let (key, file) = self.world.workflows.get_key_value(key)?;
        let root = At { file, path: JsonPath::root() };
        self.look_at(key, file);
        let workflow = file.value();
        let mut scope = self.world.scope.clone();
        let given: Map<String, Value> = inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        scope.set("inputs", &Value::Object(given));
        let mut vars = Map::new();
        for (name, value) in &workflow.vars {
            // In order: a value may use those before it.
            scope.set("vars", &Value::Object(vars.clone()));
            match scope.resolve(value) {
                Ok(value) => {
                    vars.insert(name.clone(), value);
                }
                Err(error) => self.expression(&root.key("vars").key(name), value, &error),
            }
        }
        scope.set("vars", &Value::Object(vars.clone()));
        self.check_answers(&root, workflow, inputs);
        let steps = self.steps(&root.key("steps"), key, &workflow.steps, &scope, prefix);
        let (mut lock, mut requires) = (workflow.lock, workflow.requires.clone());
        for step in &steps {
            // A workflow asks no less as a part of another than alone.
            if let PlannedAction::Workflow(part) = &step.action {
                lock |= part.lock;
                requires.backup.max_age = requires.backup.max_age.min(part.requires.backup.max_age);
            }
        }
        let plan = Plan {
            workflow: workflow.name.clone(),
            description: workflow.description.clone(),
            inputs: inputs.clone(),
            vars,
            lock,
            confirm: workflow.confirm.clone(),
            answers: workflow.answers.clone(),
            preconditions: workflow.preconditions.clone(),
            requires,
            steps,
            scope,
        };
        self.check_preconditions(&root.key("preconditions"), &plan);
        Some(plan)
    }

    fn check_preconditions(&mut self, at: &At<'_>, plan: &Plan) {
        for (index, condition) in plan.preconditions.iter().enumerate() {
            let at = at.index(index);
            let components = match condition.component.as_deref() {
                Some("*") => plan.components_in_order(),
                named => named.map(str::to_owned).into_iter().collect(),
            };
            let is_looked_at = !plan.scope.never_holds(condition.when.as_ref());
            for component in components {
                let found = self.plugin(&at.key("component"), &component, Operation::Verify);
                if found.is_some() && is_looked_at {
                    let scope = plan.scope.with("component", &Value::from(component.as_str()));
                    self.check_parameters(&at, &component, Operation::Verify, &condition.with, &scope);
                }
            }
        }
    }

    /// An answer in advance to a prompt that no plugin asks, or one that answers no such question, would be an option
    /// without effect.
    fn check_answers(&mut self, root: &At<'_>, workflow: &Workflow, inputs: &IndexMap<String, Value>) {
        for (name, source) in &workflow.answers {
            let at = root.key("answers").key(name);
            let Some((component, key)) = name.split_once('/') else {
                self.wrong(&at, "an answer is named `component/prompt`", None);
                continue;
            };
            let Some((manifest, _)) = self.world.plugins.get(component) else {
                self.unknown_plugin(&at, component);
                continue;
            };
            let Some(prompt) = manifest.prompts.iter().find(|prompt| prompt.key == key) else {
                let keys: Vec<&str> = manifest.prompts.iter().map(|prompt| prompt.key.as_str()).collect();
                let near = did_you_mean(key, keys);
                self.wrong(&at, format!("{component} has no prompt {key:?}{near}"), None);
                continue;
            };
            let Some(input) = workflow.inputs.get(&source.input) else {
                continue;
            };
            let (at, kind) = (at.key("input"), prompt.answered_by());
            if input.kind != kind {
                let message = format!(
                    "a value of type {kind} answers {name}, and input {:?} is of type {}",
                    source.input, input.kind
                );
                self.wrong(&at, message, Some(format!("name an input of type {kind}")));
            } else if let Some(Value::String(text)) = inputs.get(&source.input)
                && !prompt.options.contains(text)
            {
                let message = format!("{text:?}, the value of input {:?}, is no option of {name}", source.input);
                let help = match prompt.options.as_slice() {
                    [] => {
                        format!("it can only be answered at a terminal: {component} names no options in its manifest")
                    }
                    options => format!("options: {}", options.join(", ")),
                };
                self.wrong(&at, message, Some(help));
            }
        }
    }

    /// Steps of the workflow with that key.
    fn steps(&mut self, at: &At<'_>, key: &str, steps: &[Step], scope: &Scope, prefix: &str) -> Vec<PlannedStep> {
        let mut planned = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let at = at.index(index);
            let path = if prefix.is_empty() { step.name.clone() } else { format!("{prefix}/{}", step.name) };
            let action = match &step.action {
                StepAction::Component(component) => {
                    self.component(&at, component, scope, true).map(PlannedAction::Component)
                }
                StepAction::Rolling(rolling) => self
                    .rolling(&at.key("rolling"), rolling, scope, &path)
                    .map(|rolling| PlannedAction::Rolling(Box::new(rolling))),
                StepAction::Workflow(inner) => {
                    self.sub_workflow(&at, key, inner, scope, &path).map(|plan| PlannedAction::Workflow(Box::new(plan)))
                }
            };
            let before = index.checked_sub(1).and_then(|before| steps.get(before)).map(|step| step.name.clone());
            let needs = step.needs.clone().unwrap_or_else(|| before.into_iter().collect());
            if let Some(action) = action {
                let (name, when, on_failure) = (step.name.clone(), step.when.clone(), step.on_failure);
                planned.push(PlannedStep { name, path, needs, when, on_failure, action });
            }
        }
        planned
    }

    fn component(
        &mut self,
        at: &At<'_>,
        step: &ComponentStep,
        scope: &Scope,
        targeted: bool,
    ) -> Option<PlannedComponent> {
        let spec = self.plugin(&at.key("component"), &step.component, step.operation)?;
        self.check_parameters(at, &step.component, step.operation, &step.with, scope);
        let hosts =
            if targeted { self.hosts(&at.key("targets"), &step.component, step.targets.as_ref())? } else { Vec::new() };
        let cluster = self.cluster(&at.key("cluster"), step.cluster.as_deref())?;
        Some(PlannedComponent {
            component: step.component.clone(),
            operation: step.operation,
            depth: step.depth.unwrap_or_default(),
            scope: spec,
            hosts,
            cluster,
            with: step.with.clone(),
            retry: step.retry.clone(),
            timeout: step.timeout,
            forks: step.forks,
        })
    }

    /// The operation's scope, when there are such a plugin and operation.
    fn plugin(&mut self, at: &At<'_>, component: &str, operation: Operation) -> Option<TargetScope> {
        let Some((manifest, _)) = self.world.plugins.get(component) else {
            self.unknown_plugin(at, component);
            return None;
        };
        let spec = manifest.operations.get(&operation);
        if spec.is_none() {
            let known: Vec<String> = manifest.operations.keys().map(ToString::to_string).collect();
            let message = format!("{component} has no operation `{operation}`; it has {}", known.join(", "));
            self.wrong(at, message, None);
        }
        spec.map(|spec| spec.scope)
    }

    fn unknown_plugin(&mut self, at: &At<'_>, component: &str) {
        let known: Vec<&str> = self.world.plugins.keys().map(String::as_str).collect();
        let near = did_you_mean(component, known.iter().copied());
        let help = if known.is_empty() {
            "no plugin was found; name the directory of the plugins with --plugins".to_owned()
        } else {
            format!("plugins found: {}; name further directories with --plugins", known.join(", "))
        };
        self.wrong(at, format!("there is no plugin for the component {component:?}{near}"), Some(help));
    }

    /// Parameters that are known beforehand are checked now; the others when their step begins.
    fn check_parameters(
        &mut self,
        at: &At<'_>,
        component: &str,
        operation: Operation,
        with: &IndexMap<String, Value>,
        scope: &Scope,
    ) {
        let mut known = Map::new();
        let mut later = Vec::new();
        for (name, value) in with {
            match scope.resolve(value) {
                Ok(value) => {
                    known.insert(name.clone(), value);
                }
                Err(error) => {
                    if scope.knows_all(value) {
                        self.expression(&at.key("with").key(name), value, &error);
                    }
                    later.push(name.as_str());
                }
            }
        }
        if let Some((manifest, _)) = self.world.plugins.get(component)
            && let Err(error) = check_known(manifest, operation, self.world.components.get(component), &known, &later)
        {
            self.wrong(&at.key("with"), error.to_string(), None);
        }
    }

    fn hosts(&mut self, at: &At<'_>, component: &str, targets: Option<&Targets>) -> Option<Vec<String>> {
        let inventory = &self.world.inventory;
        let own = || vec![if inventory.groups.contains_key(component) { component } else { "all" }.to_owned()];
        let patterns = targets.map_or_else(own, |targets| targets.0.clone());
        match inventory.select(&patterns) {
            Ok(hosts) if hosts.is_empty() => {
                self.wrong(at, format!("no host of the inventory matches {}", patterns.join(", ")), None);
                None
            }
            Ok(hosts) => Some(hosts.into_iter().map(str::to_owned).collect()),
            Err(reason) => {
                self.wrong(at, reason.to_string(), None);
                None
            }
        }
    }

    fn cluster(&mut self, at: &At<'_>, named: Option<&str>) -> Option<Option<String>> {
        match (named, self.world.clusters.as_slice()) {
            (Some(name), clusters) if clusters.iter().any(|cluster| cluster == name) => Some(Some(name.to_owned())),
            (Some(name), clusters) => {
                let near = did_you_mean(name, clusters);
                self.wrong(at, format!("the inventory has no cluster {name:?}{near}"), None);
                None
            }
            (None, [only]) => Some(Some(only.clone())),
            (None, []) => Some(None),
            (None, many) => {
                let message = format!("name the step's cluster: the inventory has {}", many.join(", "));
                self.wrong(at, message, Some("add \"cluster\": NAME to the step".to_owned()));
                None
            }
        }
    }

    fn rolling(&mut self, at: &At<'_>, rolling: &Rolling, scope: &Scope, path: &str) -> Option<PlannedRolling> {
        let hosts = self.hosts(&at.key("over"), "all", Some(&rolling.over))?;
        let cluster = self.cluster(at, None)?;
        let of_host = scope.of_hosts(&rolling.vars);
        for (index, part) in rolling.maintenance.iter().enumerate() {
            let at = at.key("maintenance").index(index);
            let found = self.plugin(&at, &part.component, Operation::Maintenance);
            if found.is_some() {
                self.check_parameters(&at, &part.component, Operation::Maintenance, &part.with, &of_host);
            }
            if found == Some(TargetScope::Cluster) {
                let message = format!("maintenance of {} works on a whole cluster, not on a host", part.component);
                self.wrong(&at, message, None);
            }
        }
        for (index, gate) in rolling.health.iter().enumerate() {
            let at = at.key("health").index(index);
            let found = self.plugin(&at.key("component"), &gate.component, Operation::Verify);
            if found.is_some() && !scope.never_holds(gate.when.as_ref()) {
                self.check_parameters(&at, &gate.component, Operation::Verify, &gate.with, scope);
            }
        }
        let mut steps = Vec::new();
        for (index, step) in rolling.steps.iter().enumerate() {
            let at = at.key("steps").index(index);
            let StepAction::Component(component) = &step.action else {
                self.wrong(&at, "a rolling block holds component steps only", None);
                continue;
            };
            let Some(component) = self.component(&at, component, &of_host, false) else {
                continue;
            };
            if component.scope == TargetScope::Cluster {
                let message = format!(
                    "{} {} works on a whole cluster; put it before or after the rolling block",
                    component.component, component.operation
                );
                self.wrong(&at, message, None);
            }
            let before = index.checked_sub(1).and_then(|before| rolling.steps.get(before));
            steps.push(PlannedStep {
                name: step.name.clone(),
                path: format!("{path}/{}", step.name),
                needs: before.map(|step| step.name.clone()).into_iter().collect(),
                when: step.when.clone(),
                on_failure: step.on_failure,
                action: PlannedAction::Component(component),
            });
        }
        let (batches, canaries) = batches(&hosts, rolling);
        Some(PlannedRolling {
            batches,
            canaries,
            max_failures: rolling.max_failures.of(hosts.len()),
            soak: rolling.soak,
            maintenance: rolling.maintenance.clone(),
            pause: rolling.pause.clone(),
            health: rolling.health.clone(),
            vars: rolling.vars.clone(),
            cluster,
            steps,
        })
    }

    /// The workflow that a step of the one with key `from` names.
    fn sub_workflow(&mut self, at: &At<'_>, from: &str, step: &SubWorkflow, scope: &Scope, path: &str) -> Option<Plan> {
        let key = part_key(from, &step.workflow);
        let Some(file) = self.world.workflows.get(&key) else {
            self.wrong(&at.key("workflow"), format!("the workflow {:?} was not read", step.workflow), None);
            return None;
        };
        let inner = file.value();
        let mut inputs = IndexMap::new();
        for name in step.inputs.keys().filter(|name| !inner.inputs.contains_key(*name)) {
            let near = did_you_mean(name, inner.inputs.keys());
            self.wrong(&at.key("inputs").key(name), format!("{} has no input {name:?}{near}", step.workflow), None);
        }
        for (name, spec) in &inner.inputs {
            let value = match step.inputs.get(name) {
                Some(value) => match scope.resolve(value) {
                    Ok(value) => value,
                    Err(error) => {
                        self.expression(&at.key("inputs").key(name), value, &error);
                        continue;
                    }
                },
                None => match &spec.default {
                    Some(value) => value.clone(),
                    None if spec.optional => Value::Null,
                    None => {
                        self.wrong(&at.key("inputs"), format!("{} needs the input {name:?}", step.workflow), None);
                        continue;
                    }
                },
            };
            match spec.accept(&value) {
                Ok(value) => {
                    inputs.insert(name.clone(), value);
                }
                Err(reason) => self.wrong(&at.key("inputs").key(name), reason, None),
            }
        }
        let mut plan = self.workflow(&key, &inputs, path)?;
        if !step.confirm {
            plan.confirm = None;
        }
        Some(plan)
    }
}

/// Cuts hosts into batches: canaries alone first, then the batches.
fn batches(hosts: &[String], rolling: &Rolling) -> (Vec<Vec<String>>, usize) {
    let canaries = (rolling.canaries as usize).min(hosts.len());
    let (first, mut rest) = hosts.split_at(canaries);
    let mut batches: Vec<Vec<String>> = first.iter().map(|host| vec![host.clone()]).collect();
    for size in rolling.batch.sizes(rest.len()) {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        batches.push(batch.to_vec());
        rest = later;
    }
    (batches, canaries)
}

/// What a host is in expressions.
#[must_use]
pub(crate) fn host_value(host: &runner_types::ResolvedHost, internal_ip: Option<&str>) -> Value {
    serde_json::json!({
        "name": host.name,
        "address": host.address,
        "node": host.node,
        "internal_ip": internal_ip,
        "groups": host.groups,
        "variables": host.published(),
    })
}

/// A template's text when all of it is known beforehand.
pub(super) fn known_text(scope: &Scope, template: &Template) -> Option<String> {
    scope.render(template).ok()
}
