//! Rolling blocks: hosts in batches, each taken out of service, worked on and brought back.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use runner_types::{
    ComponentUse, Connection, Decision, EventKind, HealthGate, Operation, Prompt, Scope as TargetScope, StepOutcome,
    Target,
};
use serde_json::{Map, Value, json};

use super::steps::{StepEnd, worse};
use super::unit::Unit;
use super::{Executor, Job};
use crate::contract::kubernetes::{ObjectKind, ObjectRef};
use crate::contract::{Caller, Place};
use crate::expression::Scope;
use crate::gate::{Asked, Reply, Stop, Wanted, ask};
use crate::planner::{Plan, PlannedAction, PlannedComponent, PlannedRolling, host_value};

impl Executor {
    /// Works through the batches of a rolling block.
    pub(super) async fn rolling(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        rolling: &PlannedRolling,
        scope: &Scope,
    ) -> StepEnd {
        let windows = match self.windows(path, rolling, scope).await {
            Ok(windows) => windows,
            Err(end) => return end,
        };
        if windows.values().all(|window| window.steps.is_empty()) {
            let hosts: Vec<String> = windows.into_keys().collect();
            return self.skip(path, &hosts, "nothing is to be done on any host".to_owned()).await;
        }
        if let Some(end) = self.gates(path, rolling, scope, 0, None).await {
            return end;
        }
        let has_work = |hosts: &Vec<String>| -> Vec<&Arc<Window>> {
            hosts.iter().filter_map(|host| windows.get(host)).filter(|window| !window.steps.is_empty()).collect()
        };
        let last = rolling.batches.iter().rposition(|hosts| !has_work(hosts).is_empty());
        let mut end = StepEnd::of(StepOutcome::Skipped);
        let mut failures = 0;
        for (number, hosts) in rolling.batches.iter().enumerate() {
            let batch = has_work(hosts);
            if batch.is_empty() {
                continue;
            }
            let what = Decision::Batch { number: u32::try_from(number).unwrap_or(u32::MAX), hosts: hosts.clone() };
            if let Err(stop) = self.decide(Some(path), None, what).await {
                return StepEnd::stopped(stop);
            }
            let (done, failed) = self.batch(plan, path, rolling, &batch).await;
            failures += failed;
            let outcome = done.outcome;
            end.join(done);
            if end.stop.is_some() {
                return end;
            }
            let is_canary = number < rolling.canaries;
            if failures > rolling.max_failures || (is_canary && failed > 0) {
                let limit = if is_canary { 0 } else { rolling.max_failures };
                let what = Decision::Threshold {
                    failures: u32::try_from(failures).unwrap_or(u32::MAX),
                    limit: u32::try_from(limit).unwrap_or(u32::MAX),
                };
                if let Err(stop) = self.decide(Some(path), None, what).await {
                    end.stop = Some(stop);
                }
                return end;
            }
            if let Some(stop) = self.soak(path, rolling, hosts, outcome).await {
                end.stop = Some(stop);
                return end;
            }
            let part = (Some(number) != last).then_some(batch.as_slice());
            if let Some(gate) = self.gates(path, rolling, scope, number + 1, part).await {
                end.join(gate);
                return end;
            }
        }
        // Failures within the tolerated number do not fail the block.
        if failures > 0 && failures <= rolling.max_failures {
            (end.outcome, end.changed) = (StepOutcome::Changed, true);
        }
        end
    }

    /// What is to be done on each host, decided before the first is touched.
    async fn windows(
        &self,
        path: &str,
        rolling: &PlannedRolling,
        scope: &Scope,
    ) -> Result<BTreeMap<String, Arc<Window>>, StepEnd> {
        let hosts: Vec<&String> = rolling.batches.iter().flatten().collect();
        let addresses = self.internal_addresses(path, rolling, &hosts).await?;
        let mut windows = BTreeMap::new();
        for name in hosts {
            let Some(host) = self.world.inventory.host(name) else {
                continue;
            };
            let address = match (&host.node, addresses.get(name)) {
                (Some(_), Some(found)) => Some(found.clone()),
                (Some(_), None) => None,
                (None, _) => Some(host.address.clone()),
            };
            let mut scope = scope.with("host", &host_value(host, address.as_deref()));
            let values = scope
                .resolve_all(&rolling.vars)
                .map_err(|error| self.wrong(path, "vars", format!("{name}: {error}")))?;
            if !values.is_empty() {
                let mut vars =
                    scope.evaluate("vars").ok().and_then(|vars| vars.as_object().cloned()).unwrap_or_default();
                vars.extend(values);
                scope.set("vars", &Value::Object(vars));
            }
            let mut steps = Vec::new();
            for (index, step) in rolling.steps.iter().enumerate() {
                let wanted = scope
                    .holds(step.when.as_ref())
                    .map_err(|error| self.wrong(&step.path, "condition", format!("{name}: {error}")))?;
                if wanted {
                    steps.push(index);
                }
            }
            windows.insert(name.clone(), Arc::new(Window { host: name.clone(), scope, steps }));
        }
        Ok(windows)
    }

    /// The InternalIP of each host's node, by which people know it at the load balancer. A read of the host's own.
    async fn internal_addresses(
        &self,
        path: &str,
        rolling: &PlannedRolling,
        hosts: &[&String],
    ) -> Result<BTreeMap<String, String>, StepEnd> {
        let Some(cluster) = &rolling.cluster else {
            return Ok(BTreeMap::new());
        };
        if rolling.pause.before.is_none() && rolling.pause.after.is_none() {
            return Ok(BTreeMap::new());
        }
        let nodes: Vec<(String, String)> = hosts
            .iter()
            .filter_map(|name| Some(((*name).clone(), self.world.inventory.host(name)?.node.clone()?)))
            .collect();
        let place = Place::Cluster(cluster.clone());
        let Some(backend) = self.gate.platform.backend(&place) else {
            return Ok(BTreeMap::new());
        };
        let asked = nodes.iter().map(|(_, node)| ObjectRef {
            cluster: cluster.clone(),
            kind: ObjectKind { api_version: "v1".to_owned(), name: "Node".to_owned() },
            namespace: None,
            name: node.clone(),
        });
        let answers = backend.kubernetes().get(&place, &Caller::runner(), asked.collect()).await;
        let answers = answers.map_err(|cut| StepEnd::stopped(cut.stop))?;
        let mut found = BTreeMap::new();
        for ((host, node), answer) in nodes.into_iter().zip(answers) {
            let object = answer.map_err(|failure| {
                let failure = self.gate.masked(failure);
                let message = format!("the address of node {node} is not known: {}", failure.message);
                self.fail(path, StepOutcome::Failed, "node-address", message)
            })?;
            let body: Value = serde_json::from_str(&object.body).unwrap_or_default();
            let addresses = body.pointer("/status/addresses").and_then(Value::as_array);
            let internal = addresses
                .into_iter()
                .flatten()
                .find(|address| address.get("type").and_then(Value::as_str) == Some("InternalIP"))
                .and_then(|address| address.get("address").and_then(Value::as_str));
            if let Some(internal) = internal {
                found.insert(host, internal.to_owned());
            }
        }
        let values: Map<String, Value> =
            found.iter().map(|(host, address)| (host.clone(), json!({ "internal_ip": address }))).collect();
        self.decide(Some(path), None, Decision::Fixed { values }).await.map_err(StepEnd::stopped)?;
        Ok(found)
    }

    /// A batch, and how many of its hosts failed.
    async fn batch(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        rolling: &PlannedRolling,
        batch: &[&Arc<Window>],
    ) -> (StepEnd, usize) {
        let windows = batch.iter().map(|window| self.window(plan, path, rolling, window));
        let mut running: FuturesUnordered<_> = windows.collect();
        let (mut end, mut failures) = (StepEnd::of(StepOutcome::Skipped), 0);
        while let Some(one) = running.next().await {
            failures += usize::from(!one.outcome.is_success());
            end.join(one);
        }
        (end, failures)
    }

    /// One host: pause, out of service, its steps, back into service, pause. After a failure it stays as it is.
    async fn window(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        rolling: &PlannedRolling,
        window: &Arc<Window>,
    ) -> StepEnd {
        let path = format!("{path}/{}", window.host);
        self.record().windows.insert(path.clone(), Arc::clone(window));
        let entered = match self.out_of_service(plan, &path, rolling, window, "").await {
            Ok(entered) => entered,
            Err(end) => return end,
        };
        let mut end = StepEnd::of(StepOutcome::Ok);
        for index in &window.steps {
            let Some(step) = rolling.steps.get(*index) else {
                continue;
            };
            let PlannedAction::Component(component) = &step.action else {
                continue;
            };
            let component = PlannedComponent { hosts: vec![window.host.clone()], ..component.clone() };
            let one = self.component(&format!("{path}/{}", step.name), &component, &window.scope).await;
            let goes_on = one.stop.is_none() && one.outcome.is_success();
            end.join(one);
            if !goes_on {
                return end;
            }
        }
        match self.into_service(plan, &path, rolling, window, entered, "").await {
            Ok(outcome) => end.join(StepEnd::of(outcome)),
            Err(failed) => end.join(failed),
        }
        end
    }

    /// Pauses before, and takes a host out of service; answers what the components need to bring it back. `why` is told
    /// with the pause.
    pub(super) async fn out_of_service<'r>(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        rolling: &'r PlannedRolling,
        window: &Window,
        why: &str,
    ) -> Result<Vec<Entered<'r>>, StepEnd> {
        self.pause(plan, path, "pause-before", rolling.pause.before.as_ref(), window, why).await?;
        let mut entered = Vec::new();
        for part in &rolling.maintenance {
            let unit = self.window_unit(rolling, path, window, part, Job::Enter)?;
            let ended = self.unit(&unit).await;
            // Also when it failed half-way: the operator is to look at the host. One that was refused was not begun.
            if !matches!(ended.outcome, StepOutcome::Refused | StepOutcome::Declined) {
                self.record().out_of_service(&window.host, true);
            }
            if !ended.outcome.is_success() {
                return Err(StepEnd::of_unit(ended));
            }
            let outputs = ended.report.map(|report| Value::Object(report.outputs).to_string());
            entered.push(Entered { part, outputs });
        }
        Ok(entered)
    }

    /// Brings a host back into service, and pauses after; answers the worst outcome.
    pub(super) async fn into_service(
        self: &Arc<Self>,
        plan: &Plan,
        path: &str,
        rolling: &PlannedRolling,
        window: &Window,
        entered: Vec<Entered<'_>>,
        why: &str,
    ) -> Result<StepOutcome, StepEnd> {
        let mut outcome = StepOutcome::Ok;
        for Entered { part, outputs } in entered.into_iter().rev() {
            let unit = self.window_unit(rolling, path, window, part, Job::Leave(outputs))?;
            let ended = self.unit(&unit).await;
            if !ended.outcome.is_success() {
                return Err(StepEnd::of_unit(ended));
            }
            outcome = worse(outcome, ended.outcome);
        }
        self.record().out_of_service(&window.host, false);
        self.pause(plan, path, "pause-after", rolling.pause.after.as_ref(), window, why).await?;
        Ok(outcome)
    }

    fn window_unit(
        &self,
        rolling: &PlannedRolling,
        path: &str,
        window: &Window,
        part: &ComponentUse,
        job: Job,
    ) -> Result<Unit, StepEnd> {
        let mode = job.mode().unwrap_or_default();
        let path = format!("{path}/{}-{mode}", part.component);
        let with =
            window.scope.resolve_all(&part.with).map_err(|error| self.wrong(&path, "parameters", error.to_string()))?;
        let parameters = self.parameters_of(&part.component, Operation::Maintenance, &with, &path)?;
        Ok(Unit {
            step: path,
            component: part.component.clone(),
            job,
            target: Target::Host(window.host.clone()),
            hosts: vec![window.host.clone()],
            cluster: rolling.cluster.clone(),
            parameters,
            backup: None,
            retry: None,
            timeout: None,
            informs: false,
        })
    }

    /// Waits for the operator; an error when the window ends here.
    async fn pause(
        &self,
        plan: &Plan,
        path: &str,
        key: &str,
        prompt: Option<&Prompt>,
        window: &Window,
        why: &str,
    ) -> Result<(), StepEnd> {
        let Some(prompt) = prompt else {
            return Ok(());
        };
        match self.asked(plan, path, &window.scope, Question { key, prompt, wanted: Wanted::Pause, why }).await? {
            None | Some(Reply::Entered | Reply::Yes) => Ok(()),
            Some(Reply::No | Reply::Chosen(_)) => Err(StepEnd::stopped(Stop::Cancelled)),
        }
    }

    /// Asks a question of the workflow; none when it does not apply or an input makes it unnecessary.
    pub(super) async fn asked(
        &self,
        plan: &Plan,
        path: &str,
        scope: &Scope,
        question: Question<'_>,
    ) -> Result<Option<Reply>, StepEnd> {
        let Question { key, prompt, wanted, why } = question;
        let wrong = |error: crate::expression::ExpressionError| self.wrong(path, key, error.to_string());
        if !scope.holds(prompt.when.as_ref()).map_err(wrong)? {
            return Ok(None);
        }
        let message = scope.render(&prompt.message).map_err(wrong)?;
        if let Some(skip) = prompt.skip_when.as_ref().filter(|_| plan.skips(prompt)) {
            let what = Decision::Answered {
                prompt: key.to_owned(),
                message,
                answer: skip.equals.clone(),
                by: runner_types::AnsweredBy::Input { name: skip.input.clone() },
            };
            self.decide(Some(path).filter(|path| !path.is_empty()), None, what).await.map_err(StepEnd::stopped)?;
            return Ok(None);
        }
        let heading = prompt.heading.as_ref().map(|heading| scope.render(heading)).transpose().map_err(wrong)?;
        let (step, key, why) = (path.to_owned(), key.to_owned(), why.to_owned());
        let asked = Asked { step, component: None, key, heading, message, why, wanted };
        // One question at a time: hosts of a batch would talk over each other.
        let _turn = self.terminal.lock().await;
        ask(&self.gate, None, asked).await.map(Some).map_err(StepEnd::stopped)
    }

    /// Lets a batch that changed something settle. Simulated hosts have nothing to wait for: what follows from an effect
    /// on them has come about when the effect is answered.
    async fn soak(&self, path: &str, rolling: &PlannedRolling, hosts: &[String], outcome: StepOutcome) -> Option<Stop> {
        let time = rolling.soak.filter(|_| !matches!(outcome, StepOutcome::Ok | StepOutcome::Skipped))?;
        let is_simulated = |name: &String| {
            self.world.inventory.host(name).is_some_and(|host| host.connection == Connection::Simulated)
        };
        if hosts.iter().all(is_simulated) {
            return None;
        }
        self.gate.observer.observe(EventKind::Soaking { step: path.to_owned(), hosts: hosts.to_vec(), time });
        tokio::select! {
            () = tokio::time::sleep(time.get()) => None,
            () = self.gate.cancelled() => Some(Stop::Cancelled),
        }
    }

    /// The health gates of a block after so many batches; `Some` when one does not pass. `part` is the batch that was
    /// done, where more are to come: what each gate says of all hosts then costs more the more hosts there are, as often
    /// as there are batches.
    async fn gates(
        self: &Arc<Self>,
        path: &str,
        rolling: &PlannedRolling,
        scope: &Scope,
        batches: usize,
        part: Option<&[&Arc<Window>]>,
    ) -> Option<StepEnd> {
        for gate in &rolling.health {
            match scope.holds(gate.when.as_ref()) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => return Some(self.wrong(path, "condition", error.to_string())),
            }
            match self.gate_unit(&format!("{path}/gate-{batches}"), rolling, gate, scope) {
                Err(end) => return Some(end),
                Ok(unit) => {
                    let ended = match part.and_then(|batch| self.part_of(&unit, batch)) {
                        // What one host shows is its own: the others would tell no more of it.
                        Some(hosts) if self.verifies_each_host(&unit.component) => {
                            self.verify(Unit { hosts, ..unit }).await
                        }
                        Some(part) => vec![self.unit_by_part(&unit, part).await],
                        None => self.verify(unit).await,
                    };
                    let mut end = StepEnd::of(StepOutcome::Ok);
                    for one in ended {
                        end.outcome = worse(end.outcome, one.outcome);
                        end.stop = end.stop.or(one.stop);
                    }
                    if !end.outcome.is_success() || end.stop.is_some() {
                        return Some(end);
                    }
                }
            }
        }
        None
    }

    /// The hosts of a gate that are in a batch; none where the component cannot judge these alone, or has none of them.
    fn part_of(&self, gate: &Unit, batch: &[&Arc<Window>]) -> Option<Vec<String>> {
        let manifest = self.components.get(&gate.component)?.manifest();
        let verify = manifest.operation(Operation::Verify)?;
        if !verify.any_hosts && verify.scope != TargetScope::Host {
            return None;
        }
        let is_done = |host: &&String| batch.iter().any(|window| window.host == **host);
        let part: Vec<String> = gate.hosts.iter().filter(is_done).cloned().collect();
        (!part.is_empty()).then_some(part)
    }

    fn gate_unit(
        &self,
        path: &str,
        rolling: &PlannedRolling,
        gate: &HealthGate,
        scope: &Scope,
    ) -> Result<Unit, StepEnd> {
        let path = format!("{path}/{}", gate.component);
        let with = scope.resolve_all(&gate.with).map_err(|error| self.wrong(&path, "parameters", error.to_string()))?;
        Ok(Unit {
            parameters: self.parameters_of(&gate.component, Operation::Verify, &with, &path)?,
            step: path,
            component: gate.component.clone(),
            job: Job::Verify(gate.depth),
            target: rolling.cluster.clone().map_or(Target::Hosts, Target::Cluster),
            hosts: self.hosts_of_component(&gate.component),
            cluster: rolling.cluster.clone(),
            backup: None,
            retry: gate.retry.clone(),
            timeout: gate.timeout,
            informs: false,
        })
    }
}

/// A component that took a host out of service.
pub(super) struct Entered<'r> {
    part: &'r ComponentUse,
    /// What it reported then, as JSON: it is given that to bring the host back.
    outputs: Option<String>,
}

/// A question of the workflow.
pub(super) struct Question<'a> {
    /// Its key in the journal.
    pub(super) key: &'a str,
    pub(super) prompt: &'a Prompt,
    pub(super) wanted: Wanted,
    /// Why it is asked at this point; empty where the prompt says it all.
    pub(super) why: &'a str,
}

/// One host's turn: which of the block's steps are to be done on it.
#[derive(Debug)]
pub(super) struct Window {
    host: String,
    scope: Scope,
    steps: Vec<usize>,
}
