//! PodDisruptionBudgets: whether a drain can ever get past them.

use sdk::json::At;
use sdk::kubernetes::Object;
use serde_json::Value;

use crate::pods::Pod;
use crate::selectors::{Labels, selects};

/// Fields of a budget that are looked at.
pub(crate) const FIELDS: [&str; 7] = [
    "/spec/selector",
    "/spec/minAvailable",
    "/spec/maxUnavailable",
    "/status/expectedPods",
    "/status/disruptionsAllowed",
    "/status/currentHealthy",
    "/status/desiredHealthy",
];

/// What is known of a budget.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) namespace: String,
    pub(crate) name: String,
    selector: Option<Value>,
    limit: Limit,
    expected: Option<u64>,
    allowed: Option<i64>,
    healthy: Option<(i64, i64)>,
}

#[derive(Debug, Clone)]
enum Limit {
    MinAvailable(Amount),
    MaxUnavailable(Amount),
    None,
}

#[derive(Debug, Clone, Copy)]
enum Amount {
    Pods(u64),
    Percent(u64),
}

impl Amount {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Self::Pods),
            Value::String(text) => match text.strip_suffix('%') {
                Some(percent) => percent.parse().ok().map(Self::Percent),
                None => text.parse().ok().map(Self::Pods),
            },
            _ => None,
        }
    }

    /// Of so many Pods; Kubernetes rounds a share up in both directions.
    fn of_total(self, total: u64) -> u64 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => total.saturating_mul(percent).div_ceil(100),
        }
    }
}

impl Budget {
    /// Reads a budget of which at least [`FIELDS`] are known.
    pub(crate) fn of(object: &Object) -> Self {
        let body = &object.body;
        let amount = |pointer: &str| body.pointer(pointer).and_then(Amount::of);
        let limit = match (amount("/spec/minAvailable"), amount("/spec/maxUnavailable")) {
            (Some(amount), _) => Limit::MinAvailable(amount),
            (None, Some(amount)) => Limit::MaxUnavailable(amount),
            (None, None) => Limit::None,
        };
        Self {
            namespace: object.id.namespace.clone().unwrap_or_default(),
            name: object.id.name.clone(),
            selector: body.pointer("/spec/selector").cloned(),
            limit,
            expected: body.pointer("/status/expectedPods").and_then(Value::as_u64).filter(|expected| *expected > 0),
            allowed: body.number("/status/disruptionsAllowed"),
            healthy: body.number("/status/currentHealthy").zip(body.number("/status/desiredHealthy")),
        }
    }

    /// `PodDisruptionBudget namespace/name`, as the API server's refusals are reported.
    pub(crate) fn title(&self) -> String {
        format!("PodDisruptionBudget {}/{}", self.namespace, self.name)
    }

    /// Whether it protects Pods with these labels in that namespace.
    pub(crate) fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespace == namespace && selects(self.selector.as_ref(), labels)
    }

    /// How many Pods it protects when that are all of so many, so that it allows no eviction even when every one of
    /// them is healthy.
    fn never_allows(&self, selected: Option<u64>) -> Option<u64> {
        let total = self.expected.or(selected)?;
        let never = match self.limit {
            Limit::MinAvailable(amount) => amount.of_total(total) >= total,
            Limit::MaxUnavailable(amount) => amount.of_total(total) == 0,
            Limit::None => false,
        };
        never.then_some(total)
    }

    /// Why it allows none at this time, although it could.
    fn blocked_now(&self) -> Option<String> {
        let (healthy, desired) = self.healthy?;
        (self.allowed == Some(0)).then(|| format!("{healthy} Pods are healthy and {desired} must stay so"))
    }
}

/// What budgets say about Pods that a drain would evict.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Subject and sentence for each budget or Pod that makes a drain impossible.
    pub(crate) never: Vec<(String, String)>,
    /// The same for budgets that only have to be waited for.
    pub(crate) not_now: Vec<(String, String)>,
}

/// Holds budgets against the Pods that a drain would evict. `all` are the Pods of the cluster, where they are known:
/// they stand for what a budget counts as long as it has no status.
pub(crate) fn judge(budgets: &[Budget], evicted: &[&Pod], all: Option<&[Pod]>) -> Verdict {
    let mut verdict = Verdict::default();
    for budget in budgets {
        let covers = |pod: &Pod| budget.covers(&pod.namespace, &pod.labels);
        if !evicted.iter().any(|pod| covers(pod)) {
            continue;
        }
        let selected = all.map(|all| all.iter().filter(|pod| !pod.finished && covers(pod)).count() as u64);
        if let Some(total) = budget.never_allows(selected) {
            let title = budget.title();
            let sentence = format!("{title} never allows an eviction: it protects {total} of {total} Pods");
            verdict.never.push((title, sentence));
        } else if let Some(why) = budget.blocked_now() {
            verdict.not_now.push((budget.title(), format!("{} allows no eviction now: {why}", budget.title())));
        }
    }
    for pod in evicted {
        let over: Vec<String> =
            budgets.iter().filter(|budget| budget.covers(&pod.namespace, &pod.labels)).map(Budget::title).collect();
        if over.len() > 1 {
            let sentence = format!(
                "Pod {} is covered by more than one budget ({}), and Kubernetes evicts no such Pod",
                pod.title(),
                over.join(", ")
            );
            verdict.never.push((format!("Pod {}", pod.title()), sentence));
        }
    }
    verdict
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pods::tests::{owned, pod};
    use sdk::api::kubernetes::Identity;
    use serde_json::json;

    /// A budget from its manifest; its selector is that of `app: web` unless given.
    pub(crate) fn budget(name: &str, mut body: Value) -> Budget {
        if body.pointer("/spec/selector").is_none() {
            body.put("/spec/selector", json!({"matchLabels": {"app": "web"}}));
        }
        let id = Identity {
            namespace: Some("shop".into()),
            name: name.into(),
            uid: "b".into(),
            resource_version: "1".into(),
        };
        Budget::of(&Object { id, body })
    }

    fn web(name: &str) -> Pod {
        pod(json!({"metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owned("ReplicaSet")}}))
    }

    fn judged(budgets: &[Budget], pods: &[Pod]) -> Verdict {
        let evicted: Vec<&Pod> = pods.iter().collect();
        judge(budgets, &evicted, Some(pods))
    }

    #[test]
    fn a_budget_that_protects_every_pod_never_allows() {
        let pods = [web("web-1"), web("web-2"), web("web-3")];
        let status = json!({"expectedPods": 3, "disruptionsAllowed": 0, "currentHealthy": 3, "desiredHealthy": 3});
        for (spec, never) in [
            (json!({"minAvailable": 3}), true),
            (json!({"minAvailable": 4}), true),
            (json!({"minAvailable": 2}), false),
            (json!({"minAvailable": "100%"}), true),
            (json!({"minAvailable": "67%"}), true),
            (json!({"minAvailable": "66%"}), false),
            (json!({"maxUnavailable": 0}), true),
            (json!({"maxUnavailable": "0%"}), true),
            (json!({"maxUnavailable": "1%"}), false),
            (json!({"maxUnavailable": 1}), false),
            (json!({}), false),
        ] {
            let known = judged(&[budget("web", json!({"spec": spec, "status": status}))], &pods);
            assert_eq!(!known.never.is_empty(), never, "{spec}");
            let unseen = judged(&[budget("web", json!({"spec": spec}))], &pods);
            assert_eq!(!unseen.never.is_empty(), never, "{spec} without status");
        }
        let said = judged(&[budget("web", json!({"spec": {"minAvailable": 3}}))], &pods);
        assert_eq!(said.never[0].1, "PodDisruptionBudget shop/web never allows an eviction: it protects 3 of 3 Pods");
    }

    #[test]
    fn the_pods_of_one_node_do_not_stand_for_all() {
        let pods = [web("web-1")];
        let unseen = budget("web", json!({"spec": {"minAvailable": 1}}));
        let evicted: Vec<&Pod> = pods.iter().collect();
        assert_eq!(judge(&[unseen], &evicted, None), Verdict::default());
        let seen = budget("web", json!({"spec": {"minAvailable": 1}, "status": {"expectedPods": 1}}));
        assert_eq!(judge(&[seen], &evicted, None).never.len(), 1);
    }

    #[test]
    fn unhealthy_pods_only_have_to_be_waited_for() {
        let status = json!({"expectedPods": 3, "disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2});
        let verdict = judged(&[budget("web", json!({"spec": {"minAvailable": 2}, "status": status}))], &[web("web-1")]);
        assert!(verdict.never.is_empty());
        assert_eq!(
            verdict.not_now[0].1,
            "PodDisruptionBudget shop/web allows no eviction now: 2 Pods are healthy and 2 must stay so"
        );
    }

    #[test]
    fn a_budget_over_other_pods_is_in_nobodys_way() {
        let other = budget("db", json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}}));
        assert_eq!(judged(&[other], &[web("web-1")]), Verdict::default());
    }

    #[test]
    fn two_budgets_over_one_pod_block_it() {
        let budgets = [
            budget("one", json!({"spec": {"minAvailable": 1}})),
            budget("two", json!({"spec": {"maxUnavailable": 1}})),
        ];
        let verdict = judged(&budgets, &[web("web-1"), web("web-2")]);
        assert_eq!(verdict.never.len(), 2);
        assert!(verdict.never[0].1.contains("PodDisruptionBudget shop/one, PodDisruptionBudget shop/two"));
    }
}
