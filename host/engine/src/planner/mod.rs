//! From a workflow to a plan: what will be done, over which hosts, with which questions. Pure: it reads nothing but
//! what it is given.

mod expressions;
mod parameters;
mod parts;
mod prompts;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use runner_types::{
    AnswerSource, ComponentUse, Depth, Digest, Expr, HealthGate, Located, Manifest, OnFailure, Operation, Pauses,
    Precondition, Prompt, Requirements, ResolvedInventory, Retry, Scope as TargetScope, StepOutline, TimeSpan,
    Workflow,
};
use serde::Serialize;
use serde_json::{Map, Value};

pub use parameters::{ParameterError, parameters};
pub use parts::{check_parts, part_path, plain_path};
pub use prompts::PossiblePrompt;
pub(crate) use resolve::host_value;
pub use resolve::plan;

use crate::expression::Scope;

/// What planning rests on, read beforehand.
pub struct World {
    /// Hosts and groups.
    pub inventory: ResolvedInventory,
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// Settings of components.
    pub components: IndexMap<String, IndexMap<String, Value>>,
    /// Manifest and digest of each plugin, by name.
    pub plugins: BTreeMap<String, (Arc<Manifest>, Digest)>,
    /// Workflow files by their paths (see [`part_path`]); the first of all is the one that was asked for.
    pub workflows: IndexMap<String, Located<Workflow>>,
    /// `inventory` and `releases`, as expressions see them.
    pub scope: Scope,
}

/// What will be done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Name of the workflow.
    pub workflow: String,
    /// What it is for.
    pub description: String,
    /// Inputs with their values.
    pub inputs: IndexMap<String, Value>,
    /// Values computed once.
    pub vars: Map<String, Value>,
    /// Whether no other operation may run at the same time; also where a sub-workflow says so.
    pub lock: bool,
    /// Question before anything is changed.
    pub confirm: Option<Prompt>,
    /// Answers in advance, by `component/key`.
    pub answers: IndexMap<String, AnswerSource>,
    /// What must hold before anything is changed.
    pub preconditions: Vec<Precondition>,
    /// What updates rest on: the strictest of this workflow and its sub-workflows.
    pub requires: Requirements,
    /// Steps in order.
    pub steps: Vec<PlannedStep>,
    #[serde(skip)]
    pub(crate) scope: Scope,
}

/// A step with its hosts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedStep {
    /// Name within its list.
    pub name: String,
    /// Path through rolling blocks and sub-workflows.
    pub path: String,
    /// Steps of the same list that must have succeeded.
    pub needs: Vec<String>,
    /// Skipped unless this is true.
    pub when: Option<Expr>,
    /// What follows when it fails.
    pub on_failure: OnFailure,
    /// What it does.
    pub action: PlannedAction,
}

/// What a step does.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedAction {
    /// One operation of one component.
    Component(PlannedComponent),
    /// Steps done batch by batch.
    Rolling(Box<PlannedRolling>),
    /// Another workflow.
    Workflow(Box<Plan>),
}

/// One operation of one component over hosts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedComponent {
    /// Component.
    pub component: String,
    /// What is done.
    pub operation: Operation,
    /// How much verify looks at.
    pub depth: Depth,
    /// One instance a host, or one for all.
    pub scope: TargetScope,
    /// Hosts; in a rolling block filled in window by window.
    pub hosts: Vec<String>,
    /// Cluster.
    pub cluster: Option<String>,
    /// Parameters as written; strings may hold `${CEL}`.
    pub with: IndexMap<String, Value>,
    /// New attempts after a failure.
    pub retry: Option<Retry>,
    /// Longest time of one attempt.
    pub timeout: Option<TimeSpan>,
    /// Hosts at the same time.
    pub forks: Option<u32>,
}

/// Steps done over hosts, a batch at a time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedRolling {
    /// Batches in order; canaries come first.
    pub batches: Vec<Vec<String>>,
    /// How many of the batches are canaries.
    pub canaries: usize,
    /// Failed hosts that are tolerated.
    pub max_failures: usize,
    /// Time to wait after each batch.
    pub soak: Option<TimeSpan>,
    /// Components that take a host out of service.
    pub maintenance: Vec<ComponentUse>,
    /// Waits for the operator around each host.
    pub pause: Pauses,
    /// Gate before the first batch and after each.
    pub health: Vec<HealthGate>,
    /// Values computed for each host.
    pub vars: IndexMap<String, Value>,
    /// Cluster of the hosts.
    pub cluster: Option<String>,
    /// What is done for each host.
    pub steps: Vec<PlannedStep>,
}

impl Plan {
    /// All steps, for a viewer that draws the plan at once.
    #[must_use]
    pub fn outline(&self) -> Vec<StepOutline> {
        let mut outline = Vec::new();
        outline_of(&self.steps, &mut outline);
        outline
    }

    /// Components that its steps work on, in the order of their first step.
    pub(crate) fn components_in_order(&self) -> Vec<String> {
        let mut names = Vec::new();
        for component in self.outline().into_iter().filter_map(|step| step.component) {
            if !names.contains(&component) {
                names.push(component);
            }
        }
        names
    }

    /// Names of the components that it uses, sorted.
    #[must_use]
    pub fn components(&self) -> Vec<String> {
        let mut names = Vec::new();
        components_of(self, &mut names);
        names.sort();
        names.dedup();
        names
    }

    /// This plan and those of its sub-workflows, at any depth, each with its path; this one's is empty.
    #[must_use]
    pub fn all(&self) -> Vec<(&str, &Self)> {
        let mut plans = vec![("", self)];
        let mut next = 0;
        while let Some((_, plan)) = plans.get(next).copied() {
            plans.extend(plan.steps.iter().filter_map(|step| match &step.action {
                PlannedAction::Workflow(inner) => Some((step.path.as_str(), &**inner)),
                PlannedAction::Component(_) | PlannedAction::Rolling(_) => None,
            }));
            next += 1;
        }
        plans
    }

    /// Whether any step may change the platform.
    #[must_use]
    pub fn changes_platform(&self) -> bool {
        self.steps.iter().any(step_changes)
    }
}

/// Path of a precondition of the workflow at a path; the outermost one's is empty.
pub(crate) fn precondition_path(workflow: &str, condition: &Precondition) -> String {
    let above = if workflow.is_empty() { String::new() } else { format!("{workflow}/") };
    format!("{above}preconditions/{}", condition.name)
}

fn step_changes(step: &PlannedStep) -> bool {
    match &step.action {
        PlannedAction::Component(component) => component.operation.changes_platform(),
        PlannedAction::Rolling(rolling) => !rolling.maintenance.is_empty() || rolling.steps.iter().any(step_changes),
        PlannedAction::Workflow(plan) => plan.changes_platform(),
    }
}

fn outline_of(steps: &[PlannedStep], outline: &mut Vec<StepOutline>) {
    for step in steps {
        match &step.action {
            PlannedAction::Component(component) => outline.push(StepOutline {
                step: step.path.clone(),
                component: Some(component.component.clone()),
                operation: Some(component.operation),
                hosts: component.hosts.clone(),
            }),
            PlannedAction::Rolling(rolling) => {
                let hosts = rolling.batches.iter().flatten().cloned().collect();
                outline.push(StepOutline { step: step.path.clone(), component: None, operation: None, hosts });
                outline_of(&rolling.steps, outline);
            }
            PlannedAction::Workflow(plan) => {
                outline.push(StepOutline {
                    step: step.path.clone(),
                    component: None,
                    operation: None,
                    hosts: Vec::new(),
                });
                outline_of(&plan.steps, outline);
            }
        }
    }
}

fn components_of(plan: &Plan, names: &mut Vec<String>) {
    names.extend(plan.preconditions.iter().filter_map(|condition| condition.component.clone()).filter(|c| c != "*"));
    for step in &plan.steps {
        match &step.action {
            PlannedAction::Component(component) => names.push(component.component.clone()),
            PlannedAction::Rolling(rolling) => {
                names.extend(rolling.maintenance.iter().map(|part| part.component.clone()));
                names.extend(rolling.health.iter().map(|gate| gate.component.clone()));
                for step in &rolling.steps {
                    if let PlannedAction::Component(component) = &step.action {
                        names.push(component.component.clone());
                    }
                }
            }
            PlannedAction::Workflow(plan) => components_of(plan, names),
        }
    }
}
