//! What must hold before anything is changed. All findings are collected, not only the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use runner_types::{Decision, Operation, Place, Precondition, Report, StepOutcome, Target};
use serde_json::{Map, Value, json};

use super::rests::backs_out;
use super::steps::{StepEnd, worse};
use super::unit::Unit;
use super::{Executor, Job};
use crate::expression::Scope;
use crate::planner::{Plan, precondition_path};

impl Executor {
    /// Looks at every precondition of a workflow, at its path. `scope` learns the versions found, as `components`.
    pub(super) async fn preconditions(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        scope: &mut Scope,
        components: &mut Map<String, Value>,
    ) -> Option<StepEnd> {
        let mut bad: Option<StepEnd> = None;
        for condition in &plan.preconditions {
            let path = precondition_path(path, condition);
            match self.precondition(plan, condition, &path, scope, components).await {
                Ok(()) => {}
                Err(end) => {
                    let stop = end.stop.is_some();
                    bad = Some(match bad {
                        None => end,
                        Some(earlier) => StepEnd { outcome: worse(earlier.outcome, end.outcome), ..end },
                    });
                    if stop {
                        return bad;
                    }
                }
            }
        }
        scope.set("components", &Value::Object(components.clone()));
        bad
    }

    async fn precondition(
        self: &Arc<Self>,
        plan: &Plan,
        condition: &Precondition,
        path: &str,
        scope: &mut Scope,
        components: &mut Map<String, Value>,
    ) -> Result<(), StepEnd> {
        scope.set("components", &Value::Object(components.clone()));
        let wrong = |error: crate::expression::ExpressionError| self.wrong(path, "condition", error.to_string());
        if !scope.holds(condition.when.as_ref()).map_err(wrong)? {
            return Ok(());
        }
        let names = match condition.component.as_deref() {
            Some("*") => plan.components_in_order(),
            Some(name) => vec![name.to_owned()],
            None => Vec::new(),
        };
        let decides = condition.check.is_some();
        let mut failed = Vec::new();
        let mut worst = StepOutcome::Ok;
        for name in &names {
            let inner = scope.with("component", &Value::from(name.as_str()));
            let with = inner.resolve_all(&condition.with).map_err(wrong)?;
            let mut unit = self.verify_unit(&format!("{path}/{name}"), name, condition, &with)?;
            if backs_out(plan, name) {
                unit.backup = self.set_of(name).await;
            }
            let (mut reports, mut texts) = (Vec::new(), Vec::new());
            let all = self.verify(unit).await;
            let count = all.len();
            for ended in all {
                if let Some(stop) = ended.stop {
                    return Err(StepEnd::stopped(stop));
                }
                texts.extend(ended.findings.iter().map(|finding| finding.message.clone()));
                match ended.report {
                    Some(report) => reports.push(report),
                    // It could not even be looked at.
                    None => worst = worse(worst, ended.outcome),
                }
            }
            if reports.len() == count {
                components.insert(name.clone(), found(&reports, &texts));
            }
            failed.extend(texts);
        }
        scope.set("components", &Value::Object(components.clone()));
        scope.set("failed", &json!(failed));
        let held = match &condition.check {
            Some(check) if worst.is_success() => scope.holds(Some(check)).map_err(wrong)?,
            _ => failed.is_empty() && worst.is_success(),
        };
        let message = if held { None } else { Some(self.message(condition, scope, &failed)) };
        let what = Decision::Gate { name: condition.name.clone(), held, message: message.clone() };
        self.decide(Some(path), None, what).await.map_err(StepEnd::stopped)?;
        let Some(message) = message else {
            return Ok(());
        };
        let outcome = if worst.is_success() { StepOutcome::Refused } else { worst };
        if decides || condition.message.is_some() || worst.is_success() {
            return Err(self.fail(path, outcome, &condition.name, message));
        }
        Err(StepEnd::of(outcome))
    }

    fn message(&self, condition: &Precondition, scope: &Scope, failed: &[String]) -> String {
        let own = condition
            .message
            .as_ref()
            .map(|message| scope.render(message).unwrap_or_else(|error| format!("{} ({error})", condition.name)));
        match (own, failed.is_empty()) {
            (Some(message), _) => message,
            (None, true) => format!("the precondition {:?} does not hold", condition.name),
            (None, false) => failed.join("; "),
        }
    }

    fn verify_unit(
        &self,
        path: &str,
        component: &str,
        condition: &Precondition,
        with: &Map<String, Value>,
    ) -> Result<Unit, StepEnd> {
        let parameters = self.parameters_of(component, Operation::Verify, with, path)?;
        let cluster = self.only_cluster();
        Ok(Unit {
            step: path.to_owned(),
            component: component.to_owned(),
            job: Job::Verify(condition.verify.unwrap_or_default()),
            target: cluster.clone().map_or(Target::Hosts, Target::Cluster),
            hosts: self.hosts_of_component(component),
            cluster,
            parameters,
            backup: None,
            retry: None,
            timeout: None,
            informs: condition.check.is_some(),
        })
    }
}

/// What expressions see of a verified component.
fn found(reports: &[Report], failed: &[String]) -> Value {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut hosts: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for version in reports.iter().flat_map(|report| &report.versions) {
        let known = versions.entry(&version.part).or_default();
        if !known.contains(&version.version.as_str()) {
            known.push(&version.version);
        }
        if let Place::Host(host) = &version.place {
            hosts.entry(host).or_default().insert(&version.part, &version.version);
        }
    }
    json!({ "versions": versions, "hosts": hosts, "failed": failed })
}
