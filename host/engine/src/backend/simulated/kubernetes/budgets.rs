//! PodDisruptionBudgets.

use serde_json::{Value, json};

use super::objects::{controller, is_ending, name_of, namespace_of, number, text};
use super::workloads::{is_finished, is_ready, share};
use crate::backend::select::Labels;
use crate::backend::simulated::fault::{FaultKind, Occasion};
use crate::backend::simulated::model::Model;
use crate::backend::simulated::pattern::glob;
use crate::contract::Failure;

/// What the budgets say to an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing stands in the way.
    Allowed,
    /// Not now; the budget's name.
    Blocked(String),
    /// More than one budget selects the Pod: the API server never evicts it. Their names.
    Never(Vec<String>),
}

impl Model<'_> {
    /// Brings the numbers of a namespace's budgets up to date.
    pub(crate) fn count_budgets(&mut self, cluster: &str, namespace: &str) -> Result<(), Failure> {
        for budget in self.objects(cluster, "PodDisruptionBudget.policy", namespace)? {
            let Some(labels) = Labels::of_object(budget.pointer("/spec/selector")) else {
                continue;
            };
            let pods = self.selected_pods(cluster, namespace, &labels)?;
            let counted: Vec<&Value> = pods.iter().filter(|pod| !is_finished(pod)).collect();
            let healthy = counted.iter().filter(|pod| is_ready(pod) && !is_ending(pod)).count();
            let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
            let expected = self.expected(cluster, &counted)?;
            let desired = match (budget.pointer("/spec/minAvailable"), budget.pointer("/spec/maxUnavailable")) {
                (Some(least), _) => share(Some(least), "0", expected, true),
                (None, most) => (expected - share(most, "1", expected, true)).max(0),
            };
            let allowed = (healthy - desired).max(0);
            let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
            let status = json!({
                "observedGeneration": number(&budget, "/metadata/generation"),
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "disruptionsAllowed": allowed,
                "expectedPods": expected,
                "conditions": [super::workloads::state("DisruptionAllowed", allowed > 0, reason, "")],
            });
            self.store_status(cluster, &budget, status)?;
        }
        Ok(())
    }

    /// How many Pods there are meant to be: what their controllers ask for.
    fn expected(&self, cluster: &str, pods: &[&Value]) -> Result<i64, Failure> {
        let mut seen = std::collections::BTreeSet::new();
        let mut expected = 0;
        for pod in pods {
            let Some((kind, name, uid)) = controller(pod) else {
                expected += 1;
                continue;
            };
            let mut owner = self.object(cluster, &kind, namespace_of(pod), name)?;
            // A Deployment's Pods are counted by the Deployment: while it rolls it has two ReplicaSets.
            let above =
                owner.as_ref().and_then(controller).map(|(kind, name, uid)| (kind, name.to_owned(), uid.to_owned()));
            let mut uid = uid.to_owned();
            if let Some((kind, name, above)) = above {
                owner = self.object(cluster, &kind, namespace_of(pod), &name)?;
                uid = above;
            }
            if seen.insert(uid) {
                let owner = owner.unwrap_or_default();
                expected += match text(&owner, "/kind") {
                    "DaemonSet" => number(&owner, "/status/desiredNumberScheduled").unwrap_or(0),
                    "" => 1,
                    _ => number(&owner, "/spec/replicas").unwrap_or(1),
                };
            }
        }
        Ok(expected)
    }

    /// What the budgets say to the eviction of a Pod.
    pub(crate) fn judge(&mut self, cluster: &str, pod: &Value) -> Result<Verdict, Failure> {
        let namespace = namespace_of(pod);
        let mut selecting = Vec::new();
        for budget in self.objects(cluster, "PodDisruptionBudget.policy", namespace)? {
            let labels = Labels::of_object(budget.pointer("/spec/selector"));
            if labels.is_some_and(|labels| labels.fit(pod.pointer("/metadata/labels"))) {
                selecting.push(budget);
            }
        }
        let title = |budget: &Value| format!("PodDisruptionBudget {namespace}/{}", name_of(budget));
        let budget = match selecting.as_slice() {
            [] => return Ok(Verdict::Allowed),
            [one] => one,
            many => return Ok(Verdict::Never(many.iter().map(title).collect())),
        };
        let occasion = Occasion { function: "", host: None, cluster: Some(cluster) };
        let fault = self.fault(FaultKind::Budget, occasion, |fault| {
            let fits = |pattern: &Option<String>, text| pattern.as_deref().is_none_or(|p| glob(p, text));
            fits(&fault.namespace, namespace) && fits(&fault.budget, name_of(budget))
        })?;
        if fault.is_some() {
            return Ok(Verdict::Blocked(title(budget)));
        }
        let field = |name: &str| number(budget, &format!("/status/{name}")).unwrap_or(0);
        if matches!(text(pod, "/status/phase"), "Pending" | "Succeeded" | "Failed") {
            return Ok(Verdict::Allowed);
        }
        if !is_ready(pod) {
            let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
            let spared = field("currentHealthy") >= field("desiredHealthy") && field("desiredHealthy") > 0;
            if always || spared {
                return Ok(Verdict::Allowed);
            }
        }
        Ok(match field("disruptionsAllowed") > 0 {
            true => Verdict::Allowed,
            false => Verdict::Blocked(title(budget)),
        })
    }
}
