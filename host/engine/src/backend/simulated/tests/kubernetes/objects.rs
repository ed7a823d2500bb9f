//! The API.

use super::*;

#[tokio::test]
async fn the_api_follows_its_units_and_its_version() {
    let bench = Bench::new(json!([]), json!([]));
    let server = || async {
        one(bench.platform.kubernetes().servers(&main(), &caller(), vec!["main".to_owned()]).await.expect("no doubt"))
    };
    let serves =
        |kinds: &[crate::contract::kubernetes::ServedKind]| kinds.iter().any(|kind| kind.kind.name == "ResourceClaim");
    let first = server().await.expect("it answers");
    assert_eq!(first.version, "v1.33.13");
    assert!(!serves(&first.kinds));
    bench.install("master-1", &[("server", "1.34.4-1")], false).await.expect("installed");
    assert_eq!(server().await.expect("it answers").version, "v1.33.13", "the old one still runs");
    bench.stop("master-1", "server.service").await.expect("stops");
    assert_eq!(server().await.expect_err("it is down").kind, FailureKind::Unreachable);
    bench.start("master-1", "server.service").await.expect("starts");
    let then = server().await.expect("it answers");
    assert_eq!(then.version, "v1.34.4");
    assert!(serves(&then.kinds));
    bench.stop("master-1", "store.service").await.expect("stops");
    assert!(server().await.is_err(), "its data is not there");
}

#[tokio::test]
async fn objects_are_created_patched_paged_and_removed() {
    let bench = Bench::new(json!([]), json!([]));
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
    let create = |body: Value| CreateOrder {
        cluster: "main".to_owned(),
        key: String::new(),
        body: body.to_string(),
        secrets: Vec::new(),
    };
    let kubernetes = bench.platform.kubernetes();
    for name in ["c", "a", "b"] {
        one(kubernetes.create(&main(), &caller(), vec![create(map(name))]).await.expect("no doubt")).expect("created");
    }
    let twice = one(kubernetes.create(&main(), &caller(), vec![create(map("a"))]).await.expect("no doubt"))
        .expect_err("exists");
    assert!(matches!(twice.kind, FailureKind::Conflict(_)));
    let nowhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "none"}});
    assert_eq!(
        one(kubernetes.create(&main(), &caller(), vec![create(nowhere)]).await.expect("no doubt"))
            .expect_err("none")
            .kind,
        FailureKind::NotFound
    );
    let unknown = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}});
    assert_eq!(apply(&bench, &unknown, false, &[]).await.expect_err("not served").kind, FailureKind::NotFound);

    let mut token = None;
    let mut seen = Vec::new();
    loop {
        let order =
            PageOrder { selection: selection("ConfigMap", "", ""), keep: vec!["/data".to_owned()], limit: 2, token };
        let page = one(kubernetes.pages(&main(), &caller(), vec![order]).await.expect("no doubt")).expect("a page");
        assert!(page.objects.iter().all(|object| object.body == r#"{"data":{"a":"1"}}"#));
        seen.extend(page.objects.into_iter().map(|object| object.id.name));
        token = page.token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);

    let stale = PatchOrder {
        precondition: Some(Precondition { uid: None, resource_version: Some("1".to_owned()) }),
        object: reference("ConfigMap", "shop", "a"),
        patch: PatchKind::Merge,
        body: "{}".to_owned(),
        subresource: None,
    };
    assert!(matches!(
        one(kubernetes.patch(&main(), &caller(), vec![stale]).await.expect("no doubt")).expect_err("stale").kind,
        FailureKind::Conflict(_)
    ));
    assert!(!patch(&bench, "ConfigMap", "shop", "a", json!({"data": {"a": "1"}})).await.expect("same").changed);
    let removal = || RemovalOrder {
        object: reference("ConfigMap", "shop", "a"),
        propagation: Propagation::Foreground,
        grace_seconds: None,
        precondition: None,
    };
    assert!(
        one(kubernetes.remove(&main(), &caller(), vec![removal()]).await.expect("no doubt")).expect("removed").changed
    );
    assert!(
        !one(kubernetes.remove(&main(), &caller(), vec![removal()]).await.expect("no doubt")).expect("nothing").changed
    );
    // Reads show nothing of who owns what.
    assert!(bench.object("ConfigMap", "shop", "b").await.expect("there").pointer("/metadata/managedFields").is_none());
}

#[tokio::test]
async fn no_namespace_is_chosen_for_an_object_that_names_none() {
    let bench = Bench::new(json!([]), json!([]));
    let kubernetes = bench.platform.kubernetes();
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}});
    apply(&bench, &map, false, &[]).await.expect("applied");
    map["metadata"].as_object_mut().expect("metadata").shift_remove("namespace");
    let mut refused = vec![apply(&bench, &map, false, &[]).await.map(drop)];
    let order =
        CreateOrder { cluster: "main".to_owned(), key: String::new(), body: map.to_string(), secrets: Vec::new() };
    let created = one(kubernetes.create(&main(), &caller(), vec![order]).await.expect("no doubt"));
    refused.push(created.map(drop));
    for namespace in [None, Some(String::new())] {
        let object = ObjectRef { namespace, ..reference("ConfigMap", "", "a") };
        let asked = vec![object.clone()];
        refused.push(one(kubernetes.get(&main(), &caller(), asked).await.expect("no doubt")).map(drop));
        let wait = WaitOrder {
            subject: Subject::Object(object.clone()),
            condition: "true".to_owned(),
            keep: Vec::new(),
            time_out: 1,
            forecast: None,
        };
        refused.push(one(kubernetes.wait_for(&main(), &caller(), vec![wait]).await.expect("no doubt")).map(drop));
        let patch = PatchOrder {
            object: object.clone(),
            patch: PatchKind::Merge,
            body: "{}".to_owned(),
            subresource: None,
            precondition: None,
        };
        refused.push(one(kubernetes.patch(&main(), &caller(), vec![patch]).await.expect("no doubt")).map(drop));
        let removal =
            RemovalOrder { object, propagation: Propagation::Background, grace_seconds: None, precondition: None };
        refused.push(one(kubernetes.remove(&main(), &caller(), vec![removal]).await.expect("no doubt")).map(drop));
    }
    for answer in refused {
        assert_eq!(answer.expect_err("refused").kind, FailureKind::Invalid);
    }
    assert!(bench.object("ConfigMap", "default", "a").await.is_some(), "nothing was removed");
    let namespace = vec![reference("Namespace", "", "shop")];
    one(kubernetes.get(&main(), &caller(), namespace).await.expect("no doubt")).expect("it needs none");
}

#[tokio::test]
async fn what_is_created_says_by_which_effect_and_is_created_once() {
    struct Nobody;
    impl Listener for Nobody {
        fn show(&self, _message: &str) {}
        fn cancelled(&self) -> futures::future::BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }
    let bench = Bench::new(json!([]), json!([]));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}});
    let create = async |attempt: u32| {
        let target = runner_types::Target::Cluster("main".to_owned());
        let call = runner_types::CallId { step: "s".to_owned(), target, attempt, index: 3 };
        let caller = Caller::plugin("flannel", "run-1", call, vec![7], Arc::new(Nobody));
        let order =
            CreateOrder { cluster: "main".to_owned(), key: String::new(), body: map.to_string(), secrets: Vec::new() };
        one(bench.platform.kubernetes().create(&main(), &caller, vec![order]).await.expect("no doubt"))
    };
    let first = create(1).await.expect("created");
    let object = bench.object("ConfigMap", "shop", "a").await.expect("there");
    assert_eq!(object["metadata"]["annotations"]["runner/effect"], "run-1: s @ main #1.3, item 7");
    assert_eq!(create(1).await, Ok(first), "the same effect, asked for again");
    assert!(matches!(create(2).await.expect_err("another effect").kind, FailureKind::Conflict(_)));
    let marked = json!({"name": "a", "namespace": "shop", "annotations": {"runner/effect": "x"}});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": marked});
    let conflict = apply(&bench, &other, false, &[]).await.expect_err("another manager's");
    assert!(conflict.message.contains("runner-flannel: .metadata.annotations.runner/effect"), "{}", conflict.message);
}

#[tokio::test]
async fn what_an_object_owns_goes_with_it_or_stays_as_asked() {
    let bench = Bench::new(json!([workload("Deployment", "web", 2, "web:1")]), json!([]));
    let remove = |propagation| RemovalOrder {
        object: reference("apps/v1 Deployment", "shop", "web"),
        propagation,
        grace_seconds: None,
        precondition: None,
    };
    one(bench
        .platform
        .kubernetes()
        .remove(&main(), &caller(), vec![remove(Propagation::Orphan)])
        .await
        .expect("no doubt"))
    .expect("removed");
    assert_eq!(pods(&bench, "app=web", "").await.len(), 2);
    apply(&bench, &workload("Deployment", "other", 2, "x:1"), false, &[]).await.expect("applied");
    let other =
        RemovalOrder { object: reference("apps/v1 Deployment", "shop", "other"), ..remove(Propagation::Background) };
    one(bench.platform.kubernetes().remove(&main(), &caller(), vec![other]).await.expect("no doubt")).expect("removed");
    assert!(pods(&bench, "app=other", "").await.is_empty());
}
