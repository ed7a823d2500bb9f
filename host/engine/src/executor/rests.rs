//! What a plan wants of backup sets, seen before anything is done. Pure.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use runner_types::{Digest, Operation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::backups::Hosts;
use crate::expression::Scope;
use crate::planner::{Plan, PlannedAction, PlannedComponent, PlannedStep, World};

/// What a plan's updates or backouts of one component want of its backup set.
#[derive(Debug, Default)]
pub(super) struct Want {
    /// Hosts that they work on.
    pub(super) hosts: Hosts,
    /// Digests of the parameters of the updates.
    pub(super) goals: BTreeSet<Digest>,
    /// Path of the first.
    pub(super) path: String,
    /// The set is made by the plan itself, or by an update before: it is not there when the run begins.
    pub(super) later: bool,
}

/// What a plan wants, by component in the order of the steps.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) updates: IndexMap<String, Want>,
    pub(super) backouts: IndexMap<String, Want>,
}

impl Wants {
    pub(super) fn of(plan: &Plan, world: &World) -> Self {
        let mut wants = Self::default();
        // For each update the backups that have been made whenever it begins.
        let mut made: BTreeMap<String, Vec<Vec<Hosts>>> = BTreeMap::new();
        each(plan, &mut |seen| {
            let name = &seen.component.component;
            let updated = wants.updates.contains_key(name);
            let of = match seen.component.operation {
                Operation::Update => &mut wants.updates,
                Operation::Backout => &mut wants.backouts,
                Operation::Backup | Operation::Verify | Operation::Maintenance => return,
            };
            let want = of.entry(name.clone()).or_insert_with(|| Want {
                path: seen.path.to_owned(),
                later: updated,
                ..Want::default()
            });
            // A condition may leave out hosts that the component is not on.
            let own = hosts_of_component(world, name);
            let hosts = seen.hosts.iter().filter(|host| !seen.conditional || own.contains(host));
            want.hosts.extend(hosts.map(|host| (seen.component.cluster.clone(), (*host).clone())));
            want.goals.insert(goal(seen.scope, seen.component));
            if seen.component.operation == Operation::Update {
                let backups =
                    seen.made.iter().filter(|backup| backup.component == *name).map(|backup| hosts_of(backup));
                made.entry(name.clone()).or_default().push(backups.collect());
            }
        });
        for (name, want) in &mut wants.updates {
            let is_made = |backups: &Vec<Hosts>| backups.iter().any(|backup| want.hosts.is_subset(backup));
            want.later = made.get(name).is_some_and(|updates| updates.iter().all(is_made));
        }
        wants
    }
}

/// Hosts of a component: its group's where there is one, else all.
pub(super) fn hosts_of_component(world: &World, component: &str) -> Vec<String> {
    let inventory = &world.inventory;
    match inventory.groups.get(component) {
        Some(hosts) => hosts.clone(),
        None => inventory.hosts.keys().cloned().collect(),
    }
}

/// Each place of a backout in a plan: component, path of its unit, host.
pub(super) fn backouts(plan: &Plan) -> Vec<(&str, String, &str)> {
    let mut places = Vec::new();
    each(plan, &mut |seen| {
        if seen.component.operation == Operation::Backout {
            for host in seen.hosts {
                let path = match seen.block {
                    Some((block, name)) => format!("{block}/{host}/{name}"),
                    None => seen.path.to_owned(),
                };
                places.push((seen.component.component.as_str(), path, host.as_str()));
            }
        }
    });
    places
}

/// Whether the plan backs the component out.
pub(super) fn backs_out(plan: &Plan, component: &str) -> bool {
    let mut found = false;
    each(plan, &mut |seen| {
        found |= seen.component.operation == Operation::Backout && seen.component.component == component;
    });
    found
}

/// The parameters of a step as far as they are known beforehand, sorted.
fn goal(scope: &Scope, step: &PlannedComponent) -> Digest {
    let known = |value: &Value| scope.resolve(value).unwrap_or_else(|_| value.clone());
    let mut with: Value =
        step.with.iter().map(|(name, value)| (name.clone(), known(value))).collect::<Map<_, _>>().into();
    with.sort_all_objects();
    Digest::from_bytes(&Sha256::digest(with.to_string()).into())
}

fn hosts_of(step: &PlannedComponent) -> Hosts {
    step.hosts.iter().map(|host| (step.cluster.clone(), host.clone())).collect()
}

/// A component's step where it stands in a plan.
struct Seen<'p, 'a> {
    component: &'p PlannedComponent,
    path: &'p str,
    /// Path of its rolling block, and its name in that.
    block: Option<(&'p str, &'p str)>,
    hosts: Vec<&'p String>,
    /// It, or something that it stands in, may be skipped.
    conditional: bool,
    /// Backups that have been made whenever it begins.
    made: &'a [&'p PlannedComponent],
    /// What is known before the run.
    scope: &'p Scope,
}

fn each<'p>(plan: &'p Plan, see: &mut dyn FnMut(Seen<'p, '_>)) {
    each_step(plan, false, &[], see);
}

fn each_step<'p>(plan: &'p Plan, conditional: bool, made: &[&'p PlannedComponent], see: &mut dyn FnMut(Seen<'p, '_>)) {
    for step in &plan.steps {
        let mut made = made.to_vec();
        before(&plan.steps, step).into_iter().for_each(|needed| backups(needed, &mut made));
        let conditional = conditional || step.when.is_some();
        match &step.action {
            PlannedAction::Component(component) => see(Seen {
                component,
                path: &step.path,
                block: None,
                hosts: component.hosts.iter().collect(),
                conditional,
                made: &made,
                scope: &plan.scope,
            }),
            PlannedAction::Rolling(rolling) => {
                for inner in &rolling.steps {
                    if let PlannedAction::Component(component) = &inner.action {
                        see(Seen {
                            component,
                            path: &inner.path,
                            block: Some((&step.path, &inner.name)),
                            hosts: rolling.batches.iter().flatten().collect(),
                            conditional: conditional || inner.when.is_some(),
                            made: &made,
                            scope: &plan.scope,
                        });
                    }
                }
            }
            PlannedAction::Workflow(inner) => each_step(inner, conditional, &made, see),
        }
    }
}

/// The steps of a list that have ended well whenever this one begins.
fn before<'p>(steps: &'p [PlannedStep], step: &PlannedStep) -> Vec<&'p PlannedStep> {
    let mut found: Vec<&PlannedStep> = Vec::new();
    let mut needs: Vec<&String> = step.needs.iter().collect();
    while let Some(need) = needs.pop() {
        let Some(needed) = steps.iter().find(|other| other.name == *need) else {
            continue;
        };
        if !found.iter().any(|known| known.name == needed.name) {
            needs.extend(&needed.needs);
            found.push(needed);
        }
    }
    found
}

/// The backups that a step makes for all their hosts whenever it ends well. A rolling block makes a set for each host.
fn backups<'p>(step: &'p PlannedStep, made: &mut Vec<&'p PlannedComponent>) {
    if step.when.is_some() {
        return;
    }
    match &step.action {
        PlannedAction::Component(component) if component.operation == Operation::Backup => made.push(component),
        PlannedAction::Component(_) | PlannedAction::Rolling(_) => {}
        PlannedAction::Workflow(plan) => plan.steps.iter().for_each(|step| backups(step, made)),
    }
}
