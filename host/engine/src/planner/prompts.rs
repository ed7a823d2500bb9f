//! Questions that a plan can lead to, and what answers them without a terminal.

use std::borrow::Cow;
use std::collections::BTreeSet;

use indexmap::IndexMap;
use runner_types::{Manifest, OnFailure, Operation, Precondition, Prompt, PromptKind, PromptSpec, SkipWhen};
use serde::Serialize;
use serde_json::{Map, Value};

use super::resolve::{host_value, known_text};
use super::{Plan, PlannedAction, PlannedComponent, PlannedRolling, PlannedStep, World, parameters, precondition_path};
use crate::expression::Scope;

/// A question that a run of the plan may ask.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PossiblePrompt {
    /// Step that asks; none: the workflow.
    pub step: Option<String>,
    /// Component whose plugin asks.
    pub component: Option<String>,
    /// `confirm`, `pause-before`, `pause-after`, or the plugin's key.
    pub key: String,
    /// What is asked, as far as it is known.
    pub message: String,
    /// Whether data may be lost after a yes.
    pub destructive: bool,
    /// What answers it in advance, for example `-e no_interactive=True`; none: only a terminal.
    pub option: Option<String>,
    /// Whether it is answered in advance.
    pub answered: bool,
}

impl Plan {
    /// Every question that the workflow and the plugins' manifests can lead to: those of preconditions, of health gates
    /// and of the backouts that follow a failure (`on-failure: back-out`) included.
    #[must_use]
    pub fn prompts(&self, world: &World) -> Vec<PossiblePrompt> {
        let mut prompts = Vec::new();
        self.collect(world, "", &mut prompts);
        let mut updates = Vec::new();
        unwound(self, &self.steps, false, &mut updates);
        for Update { plan, path, component, scope } in updates {
            plan.of_backout(world, path, &Call::of(component, &scope), &mut prompts);
        }
        for prompt in &mut prompts {
            // What a sub-workflow calls an input is no option of this one.
            prompt.option.take_if(|option| !self.inputs.keys().any(|name| option.starts_with(&format!("-e {name}="))));
        }
        prompts
    }

    /// Prompts of the workflow at a path; the outermost one's is empty.
    fn collect(&self, world: &World, path: &str, prompts: &mut Vec<PossiblePrompt>) {
        for condition in &self.preconditions {
            self.of_precondition(world, &precondition_path(path, condition), condition, prompts);
        }
        if let Some(confirm) = &self.confirm {
            self.own(Some(path).filter(|path| !path.is_empty()), "confirm", confirm, &self.scope, prompts);
        }
        for step in &self.steps {
            match &step.action {
                PlannedAction::Component(component) => {
                    self.of_call(world, &step.path, &Call::of(component, &self.scope), prompts);
                }
                PlannedAction::Workflow(plan) => plan.collect(world, &step.path, prompts),
                PlannedAction::Rolling(rolling) => self.of_rolling(world, &step.path, rolling, prompts),
            }
        }
    }

    fn of_precondition(&self, world: &World, path: &str, condition: &Precondition, prompts: &mut Vec<PossiblePrompt>) {
        if self.scope.never_holds(condition.when.as_ref()) {
            return;
        }
        let components = match condition.component.as_deref() {
            Some("*") => self.components_in_order(),
            named => named.map(str::to_owned).into_iter().collect(),
        };
        for component in components {
            let path = format!("{path}/{component}");
            let scope = self.scope.with("component", &Value::from(component.as_str()));
            let call =
                Call { component: &component, operation: Operation::Verify, with: &condition.with, scope: &scope };
            self.of_call(world, &path, &call, prompts);
        }
    }

    fn of_rolling(&self, world: &World, path: &str, rolling: &PlannedRolling, prompts: &mut Vec<PossiblePrompt>) {
        let of_host = self.scope.of_hosts(&rolling.vars);
        for host in rolling.batches.iter().flatten() {
            let Some(host) = world.inventory.host(host) else {
                continue;
            };
            let scope = of_host.with("host", &host_value(host, Some(&host.address)));
            let path = format!("{path}/{}", host.name);
            if let Some(pause) = &rolling.pause.before {
                self.own(Some(&path), "pause-before", pause, &scope, prompts);
            }
            if let Some(pause) = &rolling.pause.after {
                self.own(Some(&path), "pause-after", pause, &scope, prompts);
            }
        }
        for gate in rolling.health.iter().filter(|gate| !self.scope.never_holds(gate.when.as_ref())) {
            let path = format!("{path}/gate/{}", gate.component);
            let component = &gate.component;
            let call = Call { component, operation: Operation::Verify, with: &gate.with, scope: &self.scope };
            self.of_call(world, &path, &call, prompts);
        }
        for part in &rolling.maintenance {
            let component = &part.component;
            let call = Call { component, operation: Operation::Maintenance, with: &part.with, scope: &of_host };
            self.of_call(world, path, &call, prompts);
        }
        for step in &rolling.steps {
            if let PlannedAction::Component(component) = &step.action {
                self.of_call(world, &step.path, &Call::of(component, &of_host), prompts);
            }
        }
    }

    fn of_call(&self, world: &World, path: &str, call: &Call<'_>, prompts: &mut Vec<PossiblePrompt>) {
        let Some((manifest, _)) = world.plugins.get(call.component) else {
            return;
        };
        let values = parameters(manifest, call.operation, world.components.get(call.component), &call.known()).ok();
        self.asked(manifest, path, call, values.as_ref(), prompts);
    }

    /// Prompts of the backout of an update. It gets those of the update's parameters that it knows.
    fn of_backout(&self, world: &World, path: &str, update: &Call<'_>, prompts: &mut Vec<PossiblePrompt>) {
        let Some((manifest, _)) = world.plugins.get(update.component) else {
            return;
        };
        let Some(spec) = manifest.operations.get(&Operation::Backout) else {
            return;
        };
        let properties = spec.parameters.get("properties").and_then(Value::as_object);
        let is_known = |name: &String| properties.is_some_and(|known| known.contains_key(name));
        let settings = world.components.get(update.component);
        let of_update = parameters(manifest, Operation::Update, settings, &update.known()).ok();
        let values = of_update.and_then(|values| {
            let Value::Object(values) = values else { return None };
            let with: Map<String, Value> = values.into_iter().filter(|(name, _)| is_known(name)).collect();
            parameters(manifest, Operation::Backout, settings, &with).ok()
        });
        let with = update.with.iter().filter(|(name, _)| is_known(name));
        let with = with.map(|(name, value)| (name.clone(), value.clone())).collect();
        let path = format!("unwinding/{path}/backout");
        let backout = Call { operation: Operation::Backout, with: &with, ..*update };
        self.asked(manifest, &path, &backout, values.as_ref(), prompts);
    }

    /// Prompts of an operation, with the values of all its parameters as far as they are known. What is not known yet
    /// leaves its prompt possible.
    fn asked(
        &self,
        manifest: &Manifest,
        path: &str,
        call: &Call<'_>,
        values: Option<&Value>,
        prompts: &mut Vec<PossiblePrompt>,
    ) {
        let component = manifest.name.as_str();
        for prompt in manifest.prompts.iter().filter(|prompt| prompt.operations.contains(&call.operation)) {
            let enabled = match (&prompt.enabled_by, values) {
                (Some(condition), Some(values)) => {
                    let written = call.with.get(condition.parameter());
                    condition.holds(values) || written.is_some_and(|value| call.scope.resolve(value).is_err())
                }
                (Some(_), None) | (None, _) => true,
            };
            if !enabled {
                continue;
            }
            let answer = self.answers.get(&format!("{component}/{}", prompt.key));
            let turned_off = prompt.enabled_by.as_ref().filter(|condition| condition.0.starts_with('!'));
            prompts.push(PossiblePrompt {
                step: Some(path.to_owned()),
                component: Some(component.to_owned()),
                key: prompt.key.clone(),
                message: prompt.message.clone(),
                destructive: prompt.destructive,
                option: answer.map(|answer| format!("-e {}={}", answer.input, in_advance(prompt))).or_else(|| {
                    let condition = turned_off?;
                    self.input_behind(call.with.get(condition.parameter())?)
                }),
                answered: answer.is_some_and(|answer| {
                    self.inputs.get(&answer.input).is_some_and(|value| prompt.is_answered(value))
                }),
            });
        }
    }

    /// The input that a parameter's expression names, as an option for people.
    fn input_behind(&self, value: &Value) -> Option<String> {
        let text = value.as_str()?;
        let name = self.inputs.keys().find(|name| text.contains(&format!("inputs.{name}")))?;
        Some(format!("-e {name}=…"))
    }

    fn own(&self, step: Option<&str>, key: &str, prompt: &Prompt, scope: &Scope, prompts: &mut Vec<PossiblePrompt>) {
        // A condition that is not known beforehand leaves the question possible.
        if scope.never_holds(prompt.when.as_ref()) {
            return;
        }
        prompts.push(PossiblePrompt {
            step: step.map(str::to_owned),
            component: None,
            key: key.to_owned(),
            message: known_text(scope, &prompt.message).unwrap_or_else(|| prompt.message.to_string()),
            destructive: false,
            option: prompt.skip_when.as_ref().map(option),
            answered: self.skips(prompt),
        });
    }

    /// Whether an input makes the question unnecessary.
    pub(crate) fn skips(&self, prompt: &Prompt) -> bool {
        prompt.skip_when.as_ref().is_some_and(|skip| self.inputs.get(&skip.input) == Some(&skip.equals))
    }
}

/// An operation with its parameters as they are written, and what their expressions know beforehand.
#[derive(Clone, Copy)]
struct Call<'a> {
    component: &'a str,
    operation: Operation,
    with: &'a IndexMap<String, Value>,
    scope: &'a Scope,
}

impl<'a> Call<'a> {
    fn of(step: &'a PlannedComponent, scope: &'a Scope) -> Self {
        Self { component: &step.component, operation: step.operation, with: &step.with, scope }
    }

    /// The parameters whose values are known beforehand.
    fn known(&self) -> Map<String, Value> {
        self.with.iter().filter_map(|(name, value)| Some((name.clone(), self.scope.resolve(value).ok()?))).collect()
    }
}

/// An update that may be backed out, with the plan and the path that it stands in.
struct Update<'p> {
    plan: &'p Plan,
    path: &'p str,
    component: &'p PlannedComponent,
    scope: Cow<'p, Scope>,
}

/// Updates that can have changed something when a step with `on-failure: back-out` fails. `outside`: whether such a step
/// of a list around this one can fail after any of these began.
fn unwound<'p>(plan: &'p Plan, steps: &'p [PlannedStep], outside: bool, found: &mut Vec<Update<'p>>) {
    let mut take = |step: &'p PlannedStep, scope: Cow<'p, Scope>| {
        if let PlannedAction::Component(component) = &step.action
            && component.operation == Operation::Update
        {
            found.push(Update { plan, path: step.path.as_str(), component, scope });
        }
    };
    let mut inner = Vec::new();
    for step in steps {
        // What waits for the success of a step began after it could fail.
        let can_have_begun = |failed: &PlannedStep| {
            failed.name != step.name && leads_to_backout(failed) && !waits_for(steps, step, &failed.name)
        };
        let is_unwound = outside || step.on_failure == OnFailure::BackOut || steps.iter().any(can_have_begun);
        match &step.action {
            PlannedAction::Workflow(plan) => inner.push((&**plan, is_unwound)),
            PlannedAction::Component(_) if is_unwound => take(step, Cow::Borrowed(&plan.scope)),
            // Within the block a failure is the block's, whatever its steps say.
            PlannedAction::Rolling(rolling) if is_unwound => {
                rolling.steps.iter().for_each(|step| take(step, plan.scope.of_hosts(&rolling.vars)));
            }
            PlannedAction::Component(_) | PlannedAction::Rolling(_) => {}
        }
    }
    for (plan, outside) in inner {
        unwound(plan, &plan.steps, outside, found);
    }
}

fn leads_to_backout(step: &PlannedStep) -> bool {
    let within = match &step.action {
        PlannedAction::Workflow(plan) => plan.steps.iter().any(leads_to_backout),
        PlannedAction::Component(_) | PlannedAction::Rolling(_) => false,
    };
    within || step.on_failure == OnFailure::BackOut
}

/// Whether a step of a list begins only after another has succeeded.
fn waits_for(steps: &[PlannedStep], step: &PlannedStep, other: &str) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut waiting = vec![step];
    while let Some(step) = waiting.pop() {
        for need in &step.needs {
            if need == other {
                return true;
            }
            if seen.insert(need) {
                waiting.extend(steps.iter().find(|step| step.name == *need));
            }
        }
    }
    false
}

/// What an operator writes to answer a prompt.
fn in_advance(prompt: &PromptSpec) -> String {
    match prompt.kind {
        PromptKind::Confirm | PromptKind::Pause => "yes".to_owned(),
        PromptKind::Choose => prompt.options.join("|"),
    }
}

/// The option that makes a question unnecessary, as operators write it.
fn option(skip: &SkipWhen) -> String {
    let value = match &skip.equals {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("-e {}={value}", skip.input)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runner_types::Digest;
    use serde_json::json;

    use super::*;
    use crate::testing::inventory;

    /// Prompts of a workflow over the components `p` and `q`, as `step component/key option answered`.
    fn prompts(workflow: &Value) -> Vec<String> {
        prompts_of(&[("w.json", workflow)])
    }

    /// The same for the first of these workflows, with the others as its parts.
    fn prompts_of(workflows: &[(&str, &Value)]) -> Vec<String> {
        let free = json!({"type": "object", "properties": {
            "wipe": {"type": "boolean", "default": false}, "ask": {"type": "boolean", "default": true},
        }});
        let plugin = |name: &str| {
            let prompt = |key: &str, condition: Value| json!({"key": key, "operations": ["backout"], "enabled-by": condition, "message": "m"});
            let manifest: Manifest = serde_json::from_value(json!({
                "name": name, "version": "1.0.0", "api": "0.1.0", "description": "d",
                "operations": {
                    "update": {"scope": "host", "parameters": free}, "backout": {"scope": "host", "parameters": free},
                    "verify": {"scope": "cluster", "parameters": free},
                },
                "prompts": [
                    prompt("wiping", json!("wipe")), prompt("asking", json!("ask")),
                    {"key": "peeking", "operations": ["verify"], "enabled-by": "wipe", "message": "m"},
                ],
            }))
            .unwrap();
            (name.to_owned(), (Arc::new(manifest), Digest::zero()))
        };
        let loaded = |(name, workflow): &(&str, &Value)| {
            let file = runner_types::load(&workflow.to_string(), name).unwrap_or_else(|error| panic!("{error}"));
            ((*name).to_owned(), file)
        };
        let world = World {
            inventory: inventory().resolve(),
            clusters: Vec::new(),
            components: IndexMap::new(),
            plugins: ["p", "q"].map(plugin).into(),
            workflows: workflows.iter().map(loaded).collect(),
            scope: Scope::default(),
        };
        let inputs = world.workflows["w.json"].value().input_values(&[]).unwrap_or_else(|error| panic!("{error}"));
        let plan = super::super::plan(&world, "w.json", &inputs).unwrap_or_else(|error| panic!("{error}"));
        let text = |prompt: PossiblePrompt| {
            let (step, component) = (prompt.step.unwrap_or_default(), prompt.component.unwrap_or_default());
            format!("{step} {component}/{} {} {}", prompt.key, prompt.option.unwrap_or_default(), prompt.answered)
        };
        plan.prompts(&world).into_iter().map(text).collect()
    }

    fn update(name: &str, component: &str, extra: Value) -> Value {
        let mut step = json!({"name": name, "component": component, "operation": "update"});
        step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        step
    }

    fn look(on_failure: &str) -> Value {
        json!({"name": "look", "component": "q", "operation": "verify", "on-failure": on_failure})
    }

    #[test]
    fn a_failure_that_is_backed_out_asks_what_the_backout_asks() {
        let workflow =
            |on_failure: &str| json!({"name": "w", "steps": [update("one", "p", json!({})), look(on_failure)]});
        assert_eq!(prompts(&workflow("back-out")), ["unwinding/one/backout p/asking  false"]);
        assert_eq!(prompts(&workflow("stop")), [""; 0]);
        assert_eq!(prompts(&workflow("continue")), [""; 0]);
        let itself = json!({"name": "w", "steps": [update("one", "p", json!({"on-failure": "back-out"}))]});
        assert_eq!(prompts(&itself), ["unwinding/one/backout p/asking  false"]);
    }

    #[test]
    fn the_updates_parameters_and_the_workflows_answers_decide_about_them() {
        let workflow = json!({
            "name": "w",
            "inputs": {"yes": {"type": "boolean", "default": true}},
            "answers": {"p/wiping": {"input": "yes"}},
            "steps": [
                update("one", "p", json!({"with": {"wipe": true, "ask": false}})),
                update("two", "q", json!({"with": {"wipe": "${steps.one.changed}", "ask": false}})),
                look("back-out"),
            ],
        });
        let wiping = ["unwinding/one/backout p/wiping -e yes=yes true", "unwinding/two/backout q/wiping  false"];
        assert_eq!(prompts(&workflow), wiping, "what is not known yet may be asked");
    }

    #[test]
    fn only_what_can_have_begun_is_backed_out() {
        let later = |needs: Value| {
            json!({"name": "w", "steps": [
                look("back-out"), update("between", "q", json!({"with": {"ask": false}})), update("last", "p", needs),
            ]})
        };
        assert_eq!(prompts(&later(json!({}))), [""; 0], "it begins after the look has succeeded");
        assert_eq!(prompts(&later(json!({"needs": []}))), ["unwinding/last/backout p/asking  false"]);
    }

    #[test]
    fn updates_of_a_rolling_block_are_backed_out_too() {
        let block = json!({"name": "nodes", "rolling": {"over": "ab", "steps": [update("one", "p", json!({}))]}});
        let workflow = json!({"name": "w", "steps": [block, look("back-out")]});
        assert_eq!(prompts(&workflow), ["unwinding/nodes/one/backout p/asking  false"]);
    }

    #[test]
    fn what_is_verified_on_the_way_asks_too() {
        let steps = json!([
            {"name": "look", "component": "p", "operation": "verify"},
            {"name": "nodes", "rolling": {
                "over": "ab", "steps": [update("one", "p", json!({}))],
                "health": [
                    {"component": "p", "with": {"wipe": "${'p' in backups}"}},
                    {"component": "q", "with": {"wipe": true}, "when": "false"},
                    {"component": "q"},
                ],
            }},
        ]);
        let workflow = json!({
            "name": "w",
            "preconditions": [
                {"name": "all", "component": "*", "with": {"wipe": "${component == 'p'}"}},
                {"name": "never", "component": "q", "with": {"wipe": true}, "when": "1 > 2"},
                {"name": "found", "component": "q", "with": {"wipe": true}, "when": "has(components.p)"},
            ],
            "steps": steps,
        });
        let expected = [
            "preconditions/all/p p/peeking  false",
            "preconditions/found/q q/peeking  false",
            "nodes/gate/p p/peeking  false",
        ];
        assert_eq!(prompts(&workflow), expected);
    }

    #[test]
    fn a_sub_workflow_asks_its_own_questions_where_the_step_wants_them() {
        let part = json!({
            "name": "part",
            "inputs": {"go": {"type": "boolean", "default": false}, "wiping": {"type": "boolean", "optional": true}},
            "confirm": {"message": "Go?", "skip-when": {"input": "go", "equals": true}},
            "answers": {"p/peeking": {"input": "wiping"}},
            "preconditions": [{"name": "seen", "component": "p", "with": {"wipe": true}}],
            "steps": [look("stop")],
        });
        let whole = |confirm: bool| {
            json!({
                "name": "w",
                "inputs": {"go": {"type": "boolean", "default": false}},
                "steps": [{"name": "inner", "workflow": "part.json", "confirm": confirm}],
            })
        };
        let seen = "inner/preconditions/seen/p p/peeking  false";
        assert_eq!(prompts_of(&[("w.json", &whole(false)), ("part.json", &part)]), [seen]);
        let asked = [seen, "inner /confirm -e go=True false"];
        assert_eq!(prompts_of(&[("w.json", &whole(true)), ("part.json", &part)]), asked, "wiping is no option of w");
    }
}
