//! Leader election: a Pod that is evicted must be missed by controllers that work.

use sdk::Answers;
use sdk::api::kubernetes::{ObjectRef, Subject, WaitOrder, wait_for};
use sdk::api::progress;
use sdk::json::At;
use sdk::kubernetes::{Cluster, Object};
use sdk::{Failure, FailureKind};
use serde_json::json;

use crate::cluster;

/// Leases by which one of several leads; each is renewed every two seconds and taken over after fifteen
/// (kube-controller-manager's `--leader-elect-retry-period` and `--leader-elect-lease-duration`).
const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
const NAMESPACE: &str = "kube-system";
/// Seconds within which somebody must lead: several times what taking over needs.
const PATIENCE: u32 = 90;

/// Waits until whoever leads has shown it since this was asked. While nobody does, a Pod that goes stays in the endpoints
/// of its Services, and requests are sent to it. A lease that is not there means that leader election is off.
pub(crate) fn await_leaders(cluster: Cluster<'_>, node: &str) -> Result<(), Failure> {
    let leases = LEASES.map(|name| cluster.namespaced("coordination.k8s.io/v1", "Lease", NAMESPACE, name));
    let seen = cluster::steadily(PATIENCE, || cluster.get(&leases))?;
    let orders: Vec<WaitOrder> =
        leases.into_iter().zip(&seen).filter_map(|(at, seen)| order(at, seen.as_ref()?)).collect();
    if orders.is_empty() {
        return Ok(());
    }
    progress::show("waiting for the controllers' leader", None, None);
    cluster::steadily(PATIENCE, || wait_for(&orders).all()).map_err(|failure| explained(failure, node))?;
    Ok(())
}

fn order(at: ObjectRef, seen: &Object) -> Option<WaitOrder> {
    let renewed = seen.body.text("/spec/renewTime")?;
    Some(WaitOrder {
        subject: Subject::Object(at),
        condition: format!(
            "object != null && has(object.spec.renewTime) && object.spec.renewTime != {}",
            json!(renewed)
        ),
        keep: vec!["/spec/holderIdentity".to_owned()],
        time_out: PATIENCE * 1000,
        forecast: Some(json!({"spec": {"renewTime": ""}}).to_string()),
    })
}

fn explained(mut failure: Failure, node: &str) -> Failure {
    if failure.kind == FailureKind::TimedOut {
        failure.message = format!(
            "node {node} is not drained, because nobody leads ({} in {NAMESPACE} were not all renewed within {PATIENCE} s): \
             its Pods would not be missed; see to {} on the masters, then run the same again",
            LEASES.map(|name| format!("Lease {name}")).join(" and "),
            LEASES.join(" and ")
        );
    }
    failure
}
