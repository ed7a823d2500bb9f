//! Controllers.

use super::*;

#[tokio::test]
async fn a_deployment_rolls_out_a_new_image() {
    let bench = Bench::new(json!([workload("Deployment", "web", 3, "web:1")]), json!([]));
    let before = pods(&bench, "app=web", "").await;
    assert_eq!(before.len(), 3);
    assert!(before.iter().all(|(_, pod)| ready(pod)));
    let change = apply(&bench, &workload("Deployment", "web", 3, "web:2"), true, &["kubectl"]).await.expect("applied");
    assert!(change.changed);
    let after = pods(&bench, "app=web", "").await;
    assert_eq!(after.len(), 3);
    assert!(
        after.iter().all(|(_, pod)| ready(pod) && pod.pointer("/spec/containers/0/image") == Some(&json!("web:2")))
    );
    assert!(after.iter().all(|(pod, _)| before.iter().all(|(old, _)| old.id.name != pod.id.name)));
    let done = "object.status.observedGeneration == object.metadata.generation && object.status.updatedReplicas == 3 && object.status.availableReplicas == 3";
    wait(&bench, Subject::Object(reference("apps/v1 Deployment", "shop", "web")), done).await.expect("it is");
    assert!(!apply(&bench, &workload("Deployment", "web", 3, "web:2"), false, &[]).await.expect("again").changed);
}

#[tokio::test]
async fn a_daemon_runs_on_every_node_and_follows_its_template() {
    let bench = Bench::new(json!([daemons("log:1")]), json!([]));
    assert_eq!(pods(&bench, "app=log", "").await.len(), 3);
    apply(&bench, &daemons("log:2"), true, &["kubectl"]).await.expect("applied");
    let after = pods(&bench, "app=log", "").await;
    assert!(
        after.len() == 3
            && after
                .iter()
                .all(|(_, pod)| ready(pod) && pod.pointer("/spec/containers/0/image") == Some(&json!("log:2")))
    );
    let status = bench.object("apps/v1 DaemonSet", "shop", "log").await.expect("there")["status"].clone();
    assert_eq!((status["numberReady"].as_i64(), status["updatedNumberScheduled"].as_i64()), (Some(3), Some(3)));
    bench.stop("node-2", "agent.service").await.expect("stops");
    let status = bench.object("apps/v1 DaemonSet", "shop", "log").await.expect("there")["status"].clone();
    assert_eq!((status["numberReady"].as_i64(), status["numberUnavailable"].as_i64()), (Some(2), Some(1)));
    bench.start("node-2", "agent.service").await.expect("starts");
    let status = bench.object("apps/v1 DaemonSet", "shop", "log").await.expect("there")["status"].clone();
    assert_eq!(status["numberReady"].as_i64(), Some(3));
}

#[tokio::test]
async fn a_stateful_set_keeps_names_and_claims() {
    let mut set = workload("StatefulSet", "db", 2, "db:1");
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}}]);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": "example.com/x"});
    let bench = Bench::new(json!([class, set.clone()]), json!([]));
    let names = |pods: &[(Object, Value)]| pods.iter().map(|(pod, _)| pod.id.name.clone()).collect::<Vec<_>>();
    let before = pods(&bench, "app=db", "").await;
    assert_eq!(names(&before), ["db-0", "db-1"]);
    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    apply(&bench, &set, true, &["kubectl"]).await.expect("applied");
    let after = pods(&bench, "app=db", "").await;
    assert_eq!(names(&after), ["db-0", "db-1"]);
    assert!(after.iter().zip(&before).all(|((new, body), (old, _))| new.id.uid != old.id.uid && ready(body)));
    patch(&bench, "apps/v1 StatefulSet", "shop", "db", json!({"spec": {"replicas": 0}})).await.expect("patched");
    assert!(pods(&bench, "app=db", "").await.is_empty());
    assert_eq!(
        bench.object("PersistentVolumeClaim", "shop", "data-db-1").await.expect("kept")["status"]["phase"],
        "Bound"
    );
    wait(&bench, Subject::Selection(selection("Pod", "app=db", "")), "size(objects) == 0").await.expect("none is left");
}

#[tokio::test]
async fn without_room_a_pod_stays_pending_and_says_why() {
    let bench = Bench::new(json!([workload("Deployment", "web", 20, "web:1")]), json!([]));
    let all = pods(&bench, "app=web", "").await;
    let pending: Vec<&Value> =
        all.iter().map(|(_, pod)| pod).filter(|pod| pod["status"]["phase"] == "Pending").collect();
    assert_eq!((all.len(), pending.len()), (20, 8), "three nodes have room for four each");
    let message = pending[0].pointer("/status/conditions/0/message").and_then(Value::as_str).expect("a message");
    assert_eq!(message, "0/3 nodes are available: 3 Insufficient cpu.");
    patch(&bench, "apps/v1 Deployment", "shop", "web", json!({"spec": {"replicas": 12}})).await.expect("patched");
    assert!(pods(&bench, "app=web", "").await.iter().all(|(_, pod)| ready(pod)), "those that ran stayed");
}

#[tokio::test]
async fn behaviours_decide_whether_a_pod_is_ready_and_what_its_start_leaves() {
    let bench = Bench::new(
        json!([workload("Deployment", "picky", 1, "x:1"), workload("Deployment", "marker", 1, "x:1")]),
        json!([]),
    );
    let subject = || Subject::Selection(selection("Pod", "app=picky", ""));
    let condition = "objects.all(o, o.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True'))";
    let late = wait(&bench, subject(), condition).await.expect_err("it is not ready");
    assert_eq!(late.kind, FailureKind::TimedOut);
    assert!(late.message.contains("ready=False"), "{}", late.message);
    for host in ["node-1", "node-2", "node-3"] {
        let order = crate::contract::files::DirectoryOrder {
            host: host.to_owned(),
            path: "/srv/ready".to_owned(),
            attributes: None,
        };
        one(bench.platform.files().make_directory(&on(host), &caller(), vec![order]).await.expect("no doubt"))
            .expect("made");
    }
    wait(&bench, subject(), condition).await.expect("what it waited for has come");
    let marker = pods(&bench, "app=marker", "").await;
    let node = marker[0].1["spec"]["nodeName"].as_str().expect("bound").to_owned();
    let left = bench.platform.facts(&format!("host/{node}/file//run/marker/"));
    assert_eq!(left.len(), 1);
    patch(&bench, "apps/v1 Deployment", "shop", "marker", json!({"spec": {"replicas": 0}})).await.expect("patched");
    assert!(bench.platform.facts(&format!("host/{node}/file//run/marker/")).is_empty());
}
