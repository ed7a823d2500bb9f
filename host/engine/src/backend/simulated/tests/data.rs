//! Data: artifacts, and snapshots of a cluster.

use super::*;
use crate::contract::FailureKind;
use crate::contract::artifacts::{DataOrder, DataRef, PutOrder, RestoreOrder, Source, Tree};
use crate::contract::files::{Attributes, FileRef, Precondition};
use crate::contract::types::Artifact;

async fn put(bench: &Bench, source: Source) -> Result<Artifact, Failure> {
    let order = PutOrder { host: "node-1".to_owned(), source, name: "x".to_owned(), labels: Vec::new() };
    one(bench.platform.artifacts().put(&on("node-1"), &caller(), vec![order]).await.expect("no doubt"))
}

async fn restore(bench: &Bench, digest: &str, path: &str) -> Result<bool, Failure> {
    let order = RestoreOrder {
        digest: digest.to_owned(),
        host: "node-2".to_owned(),
        path: path.to_owned(),
        precondition: Precondition::Anything,
        attributes: Some(Attributes { mode: Some(0o700), owner: None, group: None, context: None }),
    };
    let answers = bench.platform.artifacts().restore(&on("node-2"), &caller(), vec![order]).await;
    one(answers.expect("no doubt")).map(|change| change.changed)
}

async fn hash(bench: &Bench, host: &str, path: &str) -> String {
    let asked = FileRef { host: host.to_owned(), path: path.to_owned() };
    one(bench.platform.files().hash(&on(host), &caller(), vec![asked]).await.expect("no doubt")).expect("a hash")
}

#[tokio::test]
async fn a_file_goes_into_the_store_and_comes_back() {
    let bench = Bench::new(json!([]), json!([]));
    let stored = put(&bench, Source::File("/usr/bin/agent".to_owned())).await.expect("stored");
    assert_eq!(stored.size, 1 << 20);
    assert_eq!(stored.digest, hash(&bench, "node-1", "/usr/bin/agent").await);
    assert!(restore(&bench, &stored.digest, "/root/agent").await.is_err(), "there is no /root");
    assert_eq!(restore(&bench, &stored.digest, "/etc/agent.bin").await, Ok(true));
    assert_eq!(restore(&bench, &stored.digest, "/etc/agent.bin").await, Ok(false));
    assert_eq!(hash(&bench, "node-2", "/etc/agent.bin").await, stored.digest);
    let missing = put(&bench, Source::File("/none".to_owned())).await.expect_err("there is none");
    assert_eq!(missing.kind, FailureKind::NotFound);
    let unknown = restore(&bench, &"0".repeat(64), "/etc/y").await.expect_err("not stored");
    assert_eq!(unknown.kind, FailureKind::NotFound);
}

#[tokio::test]
async fn a_tree_keeps_what_it_holds() {
    let bench = Bench::new(json!([]), json!([]));
    let tree = |exclude: &[&str]| {
        Source::Tree(Tree {
            path: "/var/lib/data".to_owned(),
            exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect(),
        })
    };
    let all = put(&bench, tree(&[])).await.expect("stored");
    let some = put(&bench, tree(&[".*"])).await.expect("stored");
    assert_ne!(all.digest, some.digest);
    assert_eq!(restore(&bench, &all.digest, "/srv/data").await, Ok(true));
    assert_eq!(restore(&bench, &all.digest, "/srv/data").await, Ok(false));
    assert_eq!(hash(&bench, "node-2", "/srv/data/.b").await, hash(&bench, "node-1", "/var/lib/data/.b").await);
    let conflict = restore(&bench, &some.digest, "/srv/data").await.expect_err("it is not empty");
    assert!(matches!(conflict.kind, FailureKind::Conflict(_)));
    // However the platform keeps the bytes.
    let made = put(&bench, Source::Tree(Tree { path: "/usr/bin".to_owned(), exclude: Vec::new() })).await;
    assert_eq!(restore(&bench, &made.expect("stored").digest, "/usr/bin").await, Ok(false));
    // An archive that is a file stays a file.
    assert_eq!(restore(&bench, &some.digest, "/srv/other").await, Ok(true));
}

#[tokio::test]
async fn small_data_needs_no_host() {
    let bench = Bench::new(json!([]), json!([]));
    let order = DataOrder { name: "x".to_owned(), data: b"data".to_vec(), labels: Vec::new() };
    let stored =
        one(bench.platform.artifacts().put_data(&Place::Runner, &caller(), vec![order]).await.expect("no doubt"))
            .expect("stored");
    let back =
        bench.platform.artifacts().get_data(&Place::Runner, &caller(), vec![DataRef { digest: stored.digest }]).await;
    assert_eq!(one(back.expect("no doubt")).expect("there").data, b"data");
}

#[tokio::test]
async fn a_snapshot_brings_the_objects_back() {
    let map = |data: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": data, "namespace": "shop"}, "data": {"x": data}});
    let bench = Bench::new(json!([map("first")]), json!([]));
    assert_eq!(bench.say("master-1", &["store", "save", "/var/snapshot.db"]).await, "saved");
    let nodes = bench.object("Node", "", "node-1").await;
    let body = map("second").to_string();
    let create = crate::contract::kubernetes::CreateOrder {
        cluster: "main".to_owned(),
        key: String::new(),
        body,
        secrets: Vec::new(),
    };
    one(bench.platform.kubernetes().create(&main(), &caller(), vec![create]).await.expect("no doubt"))
        .expect("created");
    let removal = crate::contract::kubernetes::RemovalOrder {
        object: reference("ConfigMap", "shop", "first"),
        propagation: crate::contract::kubernetes::Propagation::Background,
        grace_seconds: None,
        precondition: None,
    };
    one(bench.platform.kubernetes().remove(&main(), &caller(), vec![removal]).await.expect("no doubt"))
        .expect("removed");

    // The API is down meanwhile, and the file went through the store.
    bench.stop("master-1", "server.service").await.expect("stops");
    let order = PutOrder {
        host: "master-1".to_owned(),
        source: Source::File("/var/snapshot.db".to_owned()),
        name: "s".to_owned(),
        labels: Vec::new(),
    };
    let stored = one(bench.platform.artifacts().put(&on("master-1"), &caller(), vec![order]).await.expect("no doubt"))
        .expect("stored");
    let order = RestoreOrder {
        digest: stored.digest,
        host: "master-1".to_owned(),
        path: "/var/again.db".to_owned(),
        precondition: Precondition::Absent,
        attributes: None,
    };
    one(bench.platform.artifacts().restore(&on("master-1"), &caller(), vec![order]).await.expect("no doubt"))
        .expect("restored");
    let said: Value =
        serde_json::from_str(&bench.say("master-1", &["store", "load", "/var/again.db"]).await).expect("JSON");
    assert!(said["revision"].as_u64() > Some(1000), "{said}");
    assert!(bench.object("ConfigMap", "shop", "first").await.is_none(), "the API does not answer");
    bench.start("master-1", "server.service").await.expect("starts");
    assert!(bench.object("ConfigMap", "shop", "first").await.is_some());
    assert!(bench.object("ConfigMap", "shop", "second").await.is_none());
    assert_eq!(bench.object("Node", "", "node-1").await, nodes);
    let failed = bench.run("master-1", &["store", "load", "/etc/hostname"], EffectClass::WriteIdempotent).await;
    assert!(failed.is_err());
}
