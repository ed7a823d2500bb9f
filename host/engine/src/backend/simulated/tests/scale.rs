//! Platforms of many hosts.

use super::*;
use crate::contract::kubernetes::{Eviction, PageOrder, PatchKind, PatchOrder, Selection};
use crate::contract::systemd::RestartOrder;

fn generated(directory: &Path, nodes: u32) -> Simulated {
    let store = Arc::new(DirectoryStore::open(&directory.join("store")).expect("a store"));
    let (seed, behaviours) = generate(Shape { nodes, pods: 3 }).expect("a platform");
    let platform = directory.join("platform");
    let seed = SeedFile::made(seed);
    match Simulated::with(&platform, &seed, vec![behaviours], Faults::default(), store) {
        Ok(platform) => platform,
        Err(error) => panic!("{error}"),
    }
}

/// Cordons, drains, updates and uncordons a node, as a plugin would.
async fn update(platform: &Simulated, n: u32) {
    let host = format!("node-{n}");
    let cordon = |cordoned: bool| PatchOrder {
        object: reference("Node", "", &host),
        patch: PatchKind::Merge,
        body: json!({"spec": {"unschedulable": cordoned}}).to_string(),
        subresource: None,
        precondition: None,
    };
    let kubernetes = platform.kubernetes();
    let cordoned = kubernetes.patch(&main(), &caller(), vec![cordon(true)]).await;
    one(cordoned.expect("no doubt")).expect("cordoned");
    let selection = Selection {
        cluster: "main".to_owned(),
        kind: kind("Pod"),
        namespace: None,
        labels: "app=web".to_owned(),
        fields: format!("spec.nodeName={host}"),
    };
    let order = PageOrder { selection, keep: Vec::new(), limit: 0, token: None };
    let pages = kubernetes.pages(&main(), &caller(), vec![order]).await;
    let page = one(pages.expect("no doubt")).expect("a page");
    let evictions = page.objects.iter().map(|pod| Eviction {
        cluster: "main".to_owned(),
        namespace: pod.id.namespace.clone().unwrap_or_default(),
        name: pod.id.name.clone(),
        uid: pod.id.uid.clone(),
        grace_seconds: None,
        time_out: 1000,
    });
    let evicted = kubernetes.evict(&main(), &caller(), evictions.collect()).await;
    for answer in evicted.expect("no doubt") {
        answer.expect("evicted");
    }
    let order = InstallOrder {
        host: host.clone(),
        packages: vec![PackageVersion { name: "agent".to_owned(), version: "2.0.0-1".to_owned() }],
        removals: Vec::new(),
        allow_downgrade: false,
        changed_configuration: ChangedConfiguration::Keep,
        time_out: 1000,
    };
    let installed = platform.packages().install(&on(&host), &caller(), vec![order]).await;
    one(installed.expect("no doubt")).expect("installed");
    let restart =
        RestartOrder { host: host.clone(), unit: "agent.service".to_owned(), key: String::new(), time_out: 1000 };
    let restarted = platform.systemd().restart(&on(&host), &caller(), vec![restart]).await;
    one(restarted.expect("no doubt")).expect("restarted");
    let uncordoned = kubernetes.patch(&main(), &caller(), vec![cordon(false)]).await;
    one(uncordoned.expect("no doubt")).expect("uncordoned");
}

fn log_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("platform")).expect("a directory");
    let logs = files.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("changes-"));
    logs.map(|entry| entry.metadata().map_or(0, |data| data.len())).sum()
}

/// What one node's update writes does not depend on how many nodes there are.
#[tokio::test]
async fn cost_grows_with_the_change_and_not_with_the_platform() {
    let mut written = Vec::new();
    for nodes in [10, 60] {
        let directory = tempfile::tempdir().expect("a directory");
        let platform = generated(directory.path(), nodes);
        for n in 1..=5 {
            update(&platform, n).await;
        }
        written.push(log_bytes(directory.path()));
        let facts = platform.facts("");
        drop(platform);
        assert_eq!(generated(directory.path(), nodes).facts(""), facts);
    }
    assert!(written[1] < written[0] * 2, "{written:?}");
}
