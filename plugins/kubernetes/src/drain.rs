//! Drain of a node through eviction: budgets are obeyed, and the list is taken again until it is empty.

use sdk::api::kubernetes::{Eviction, ObjectChange, evict};
use sdk::api::types::Conflict;
use sdk::api::{clock, progress};
use sdk::kubernetes::Cluster;
use sdk::{Failure, FailureKind, RetryAdvice};

use crate::cluster;
use crate::parameters::Maintenance;
use crate::pods::{Fate, Pod, unmanaged_message};

/// Milliseconds until an API server that did not answer is asked again.
const PAUSE: u32 = 2000;
/// Pods named in one message; more are counted.
const NAMED: usize = 10;

/// Evicts what can be evicted from a node; answers the Pods that went, as `namespace/name`.
pub(crate) fn drain(cluster: Cluster<'_>, node: &str, parameters: &Maintenance) -> Result<Vec<String>, Failure> {
    let begun = clock::elapsed();
    let total = parameters.drain_timeout.0.saturating_mul(1000);
    let mut gone = Vec::new();
    let mut last: Option<Failure> = None;
    let mut tried: Vec<String> = Vec::new();
    loop {
        let left = total.saturating_sub(clock::elapsed().saturating_sub(begun));
        let leaving = match leaving(cluster, node, parameters) {
            Ok(leaving) => leaving,
            Err(failure) if failure.kind == FailureKind::Unreachable && left > 0 => {
                last = Some(failure);
                clock::sleep(PAUSE.min(left));
                continue;
            }
            Err(failure) => return Err(explained(node, vec![failure], &[])),
        };
        if leaving.is_empty() {
            return Ok(gone);
        }
        if left == 0 {
            return Err(explained(node, last.into_iter().collect(), &leaving));
        }
        if leaving.iter().any(|pod| tried.contains(&pod.uid)) {
            // A Pod that was evicted is still listed: no use in asking as fast as it answers.
            clock::sleep(PAUSE.min(left));
        }
        tried = leaving.iter().map(|pod| pod.uid.clone()).collect();
        progress::show(&format!("draining node {node}: {} Pods to evict", leaving.len()), None, None);
        let round = judge(&leaving, evict(&orders(cluster, &leaving, parameters, left)));
        gone.extend(round.gone);
        if !round.failures.is_empty() {
            return Err(explained(node, round.failures, &[]));
        }
        last = round.again.or(last);
    }
}

fn leaving(cluster: Cluster<'_>, node: &str, parameters: &Maintenance) -> Result<Vec<Pod>, Failure> {
    let pods = cluster::pods(cluster, cluster::pods_on(cluster, node))?;
    let fate = |pod: &Pod| pod.fate(&parameters.managed_by);
    if let Some(message) = unmanaged_message(pods.iter().filter(|pod| fate(pod) == Fate::Unmanaged)) {
        let blockers = Conflict { blockers: Vec::new(), found: None };
        return Err(sdk::failure(FailureKind::Conflict(blockers), node, message));
    }
    Ok(pods.into_iter().filter(|pod| fate(pod) == Fate::Evicted).collect())
}

fn orders(cluster: Cluster<'_>, leaving: &[Pod], parameters: &Maintenance, left: u32) -> Vec<Eviction> {
    leaving
        .iter()
        .map(|pod| Eviction {
            cluster: cluster.0.to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            grace_seconds: parameters.grace_seconds,
            time_out: left,
        })
        .collect()
}

/// What one round of evictions came to.
#[derive(Debug, Default)]
struct Round {
    gone: Vec<String>,
    /// They end the drain.
    failures: Vec<Failure>,
    /// Worth another look at the list.
    again: Option<Failure>,
}

fn judge(leaving: &[Pod], answers: Vec<Result<ObjectChange, Failure>>) -> Round {
    let mut round = Round::default();
    for (pod, answer) in leaving.iter().zip(answers) {
        match answer {
            Ok(_) => round.gone.push(pod.title()),
            Err(mut failure) => match &failure.kind {
                // It went by itself; or another Pod has its name, which the next list shows.
                FailureKind::NotFound => round.gone.push(pod.title()),
                FailureKind::Conflict(conflict) if conflict.blockers.is_empty() && conflict.found.is_some() => {
                    round.gone.push(pod.title());
                }
                FailureKind::Unreachable => round.again = Some(failure),
                // Left out because the API server went silent, or because another item failed, which is said then.
                FailureKind::NotAttempted => round.again = round.again.or(Some(failure)),
                _ => {
                    if !failure.message.contains(&pod.name) {
                        failure.message = format!("Pod {}: {}", pod.title(), failure.message);
                    }
                    round.failures.push(failure);
                }
            },
        }
    }
    round
}

/// One failure that says everything: which Pods are still there and what holds them.
fn explained(node: &str, failures: Vec<Failure>, still: &[Pod]) -> Failure {
    let mut blockers: Vec<String> = failures
        .iter()
        .filter_map(|failure| match &failure.kind {
            FailureKind::Conflict(conflict) => Some(conflict.blockers.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    blockers.sort();
    blockers.dedup();
    let mut said: Vec<String> = failures.iter().map(|failure| failure.message.clone()).collect();
    if !still.is_empty() {
        let names: Vec<String> = still.iter().take(NAMED).map(Pod::title).collect();
        said.push(format!("the time is over and Pods are still there: {}", names.join(", ")));
    }
    let more = said.len().saturating_sub(NAMED);
    said.truncate(NAMED);
    if more > 0 {
        said.push(format!("{more} more"));
    }
    let held = if blockers.is_empty() { String::new() } else { format!(" (held by {})", blockers.join(", ")) };
    let message = format!(
        "node {node} is not drained and stays cordoned: {}{held}. Mend what is in the way and run it again",
        said.join("; ")
    );
    let mut kinds = failures.into_iter().map(|failure| failure.kind);
    let kind = match kinds.find(|kind| !matches!(kind, FailureKind::NotAttempted)) {
        Some(FailureKind::Conflict(_)) => FailureKind::Conflict(Conflict { blockers, found: None }),
        Some(kind) => kind,
        None => FailureKind::TimedOut,
    };
    Failure { kind, retry: RetryAdvice::AfterChange, subject: format!("Node {node}"), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{owned, pod};
    use sdk::failure;
    use serde_json::json;

    fn pods() -> Vec<Pod> {
        ["web-1", "web-2", "web-3", "web-4"]
            .map(|name| pod(json!({"metadata": {"name": name, "ownerReferences": owned("ReplicaSet")}})))
            .to_vec()
    }

    fn conflict(blockers: &[&str], found: Option<&str>) -> FailureKind {
        FailureKind::Conflict(Conflict {
            blockers: blockers.iter().map(|b| (*b).to_owned()).collect(),
            found: found.map(Into::into),
        })
    }

    #[test]
    fn what_went_by_itself_is_gone() {
        let answers = vec![
            Ok(ObjectChange { changed: true, id: None }),
            Err(failure(FailureKind::NotFound, "web-2", "not there")),
            Err(failure(conflict(&[], Some("other-uid")), "web-3", "another uid")),
            Err(failure(FailureKind::Unreachable, "main", "connection refused")),
        ];
        let round = judge(&pods(), answers);
        assert_eq!(round.gone, ["shop/web-1", "shop/web-2", "shop/web-3"]);
        assert!(round.failures.is_empty());
        assert_eq!(round.again.map(|failure| failure.kind), Some(FailureKind::Unreachable));
    }

    #[test]
    fn a_budget_in_the_way_is_named_and_the_node_stays_cordoned() {
        let answers = vec![
            Err(failure(conflict(&["PodDisruptionBudget shop/web"], None), "web-1", "the budget allows no eviction")),
            Err(failure(conflict(&["PodDisruptionBudget shop/web"], None), "web-2", "the budget allows no eviction")),
        ];
        let round = judge(&pods(), answers);
        assert_eq!(round.failures.len(), 2);
        let said = explained("node-1", round.failures, &[]);
        assert_eq!(said.kind, conflict(&["PodDisruptionBudget shop/web"], None));
        assert!(
            said.message.starts_with("node node-1 is not drained and stays cordoned: Pod shop/web-1:"),
            "{}",
            said.message
        );
        assert!(said.message.contains("(held by PodDisruptionBudget shop/web)"));
    }

    #[test]
    fn the_end_of_the_time_names_the_pods() {
        let said = explained("node-1", vec![], &pods());
        assert_eq!(said.kind, FailureKind::TimedOut);
        assert!(said.message.contains("shop/web-1, shop/web-2"), "{}", said.message);
    }
}
