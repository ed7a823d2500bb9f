//! Evictions and budgets.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn evicted_pods_reappear_elsewhere_and_the_budget_holds() {
    let bench = Bench::new(json!([workload("Deployment", "web", 3, "web:1"), budget("web", "web", 2)]), json!([]));
    cordon(&bench, "node-1", true).await;
    let here = pods(&bench, "app=web", "spec.nodeName=node-1").await;
    assert!(!here.is_empty());
    let evictions = here.iter().map(|(pod, _)| eviction(pod)).collect();
    for answer in bench.platform.kubernetes().evict(&main(), &caller(), evictions).await.expect("no doubt") {
        assert!(answer.expect("evicted").changed);
    }
    assert!(pods(&bench, "app=web", "spec.nodeName=node-1").await.is_empty());
    assert_eq!(pods(&bench, "app=web", "").await.iter().filter(|(_, pod)| ready(pod)).count(), 3);
    let again =
        bench.platform.kubernetes().evict(&main(), &caller(), vec![eviction(&here[0].0)]).await.expect("no doubt");
    assert!(!one(again).expect("gone").changed);
    cordon(&bench, "node-1", false).await;
    let node = bench.object("Node", "", "node-1").await.expect("there");
    assert!(node.pointer("/spec/taints").is_none(), "{node}");
}

#[tokio::test]
async fn budgets_that_forbid_are_named() {
    let strict = [
        workload("Deployment", "web", 2, "web:1"),
        budget("web", "web", 2),
        workload("Deployment", "twice", 2, "x:1"),
        budget("one", "twice", 1),
        budget("two", "twice", 1),
    ];
    let bench = Bench::new(json!(strict), json!([]));
    let web = pods(&bench, "app=web", "").await;
    let blocked =
        one(bench.platform.kubernetes().evict(&main(), &caller(), vec![eviction(&web[0].0)]).await.expect("no doubt"))
            .expect_err("blocked");
    let FailureKind::Conflict(conflict) = blocked.kind else { panic!("{blocked:?}") };
    assert_eq!(conflict.blockers, ["PodDisruptionBudget shop/web"]);
    let twice = pods(&bench, "app=twice", "").await;
    let never = one(bench
        .platform
        .kubernetes()
        .evict(&main(), &caller(), vec![eviction(&twice[0].0)])
        .await
        .expect("no doubt"))
    .expect_err("never");
    let FailureKind::Conflict(conflict) = never.kind else { panic!("{never:?}") };
    assert_eq!(conflict.blockers, ["PodDisruptionBudget shop/one", "PodDisruptionBudget shop/two"]);
}

#[tokio::test]
async fn a_fault_makes_a_budget_never_allow() {
    let objects = json!([workload("Deployment", "web", 3, "web:1"), budget("web", "web", 1)]);
    let bench =
        Bench::new(objects, json!([{"fault": "budget", "cluster": "main", "namespace": "shop", "budget": "web"}]));
    let web = pods(&bench, "app=web", "").await;
    let blocked =
        one(bench.platform.kubernetes().evict(&main(), &caller(), vec![eviction(&web[0].0)]).await.expect("no doubt"));
    assert!(blocked.expect_err("blocked").message.contains("PodDisruptionBudget shop/web"));
}

#[tokio::test]
async fn a_silent_kubelet_makes_its_node_and_pods_not_ready() {
    let bench = Bench::new(json!([workload("Deployment", "web", 3, "web:1")]), json!([]));
    bench.stop("node-1", "agent.service").await.expect("stops");
    let node = bench.object("Node", "", "node-1").await.expect("there");
    assert!(!ready(&node));
    let here = pods(&bench, "app=web", "spec.nodeName=node-1").await;
    assert!(!here.is_empty() && here.iter().all(|(_, pod)| !ready(pod)));
    let stuck =
        one(bench.platform.kubernetes().evict(&main(), &caller(), vec![eviction(&here[0].0)]).await.expect("no doubt"));
    assert_eq!(stuck.expect_err("nobody ends it").kind, FailureKind::TimedOut);
    bench.install("node-1", &[("library", "2.0-1"), ("agent", "2.0.0-1")], false).await.expect("installed");
    bench.start("node-1", "agent.service").await.expect("starts");
    let node = bench.object("Node", "", "node-1").await.expect("there");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v2.0.0");
    assert!(pods(&bench, "app=web", "").await.iter().all(|(_, pod)| ready(pod)));
    assert_eq!(pods(&bench, "app=web", "").await.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is evicted in whatever order while nodes come and go, at no time are fewer Pods ready than the budget
    /// asks for.
    #[test]
    fn no_order_of_evictions_breaks_a_budget(
        replicas in 2u32..9,
        slack in 0u32..3,
        steps in prop::collection::vec((0usize..3, any::<bool>(), prop::collection::vec(0usize..9, 1..5)), 1..6),
    ) {
        let least = replicas.saturating_sub(slack).max(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new(json!([workload("Deployment", "web", replicas, "web:1"), budget("web", "web", least)]), json!([]));
            for (node, on, victims) in steps {
                cordon(&bench, &format!("node-{}", node + 1), on).await;
                let there = pods(&bench, "app=web", "").await;
                let evictions: Vec<Eviction> = victims.iter().filter_map(|index| there.get(*index)).map(|(pod, _)| eviction(pod)).collect();
                // One by one, to look between them; together they are the same transactions.
                for one in evictions {
                    let _ = bench.platform.kubernetes().evict(&main(), &caller(), vec![one]).await.expect("no doubt");
                    let ready = pods(&bench, "app=web", "").await.iter().filter(|(_, pod)| ready(pod)).count();
                    prop_assert!(ready >= least as usize, "{ready} of {least}");
                }
            }
            Ok(())
        })?;
    }
}
