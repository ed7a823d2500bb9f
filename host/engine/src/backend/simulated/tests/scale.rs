//! Platforms of many hosts.

use std::sync::Arc;
use std::time::Instant;

use super::super::*;
use crate::artifacts::DirectoryStore;
use crate::contract::kubernetes::{
    Eviction, ObjectKind, ObjectRef, PageOrder, PatchKind, PatchOrder, Selection,
};
use crate::contract::packages::{ChangedConfiguration, InstallOrder, PackageVersion};
use crate::contract::systemd::RestartOrder;
use crate::contract::{Backend as _, Place};

fn open(directory: &std::path::Path, shape: Shape) -> Simulated {
    let store = Arc::new(DirectoryStore::open(&directory.join("store")).expect("a store"));
    let (seed, behaviours) = generate(shape).expect("a platform");
    let seed = SeedFile::made(seed);
    Simulated::with(
        &directory.join("platform"),
        &seed,
        vec![behaviours],
        Faults::default(),
        store,
    )
    .expect("it opens")
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
        / 1024
}

/// Cordons, drains, updates and uncordons one node, as a plugin would.
async fn update(platform: &Simulated, n: u32) {
    let mut t = Instant::now();
    let mut lap = |w: &str| {
        if std::env::var("LAPS").is_ok() && n % 50 == 0 {
            println!("lap {n} {w} {:?}", t.elapsed());
        }
        t = Instant::now();
    };
    let host = format!("node-{n}");
    let cluster = Place::Cluster("main".to_owned());
    let node = ObjectRef {
        cluster: "main".to_owned(),
        kind: ObjectKind {
            api_version: "v1".to_owned(),
            name: "Node".to_owned(),
        },
        namespace: None,
        name: host.clone(),
    };
    let cordon = |on: bool| PatchOrder {
        object: node.clone(),
        patch: PatchKind::Merge,
        body: format!("{{\"spec\":{{\"unschedulable\":{on}}}}}"),
        subresource: None,
        precondition: None,
    };
    assert!(
        platform
            .kubernetes()
            .patch(&cluster, vec![cordon(true)])
            .await
            .expect("no doubt")[0]
            .is_ok()
    );
    lap("cordon");
    let selection = Selection {
        cluster: "main".to_owned(),
        kind: ObjectKind {
            api_version: "v1".to_owned(),
            name: "Pod".to_owned(),
        },
        namespace: None,
        labels: "app=web".to_owned(),
        fields: format!("spec.nodeName={host}"),
    };
    let pages = platform
        .kubernetes()
        .pages(
            &cluster,
            vec![PageOrder {
                selection,
                keep: Vec::new(),
                limit: 0,
                token: None,
            }],
        )
        .await
        .expect("no doubt");
    let page = pages.into_iter().next().expect("one").expect("a page");
    lap("list");
    let evictions = page
        .objects
        .iter()
        .map(|pod| Eviction {
            cluster: "main".to_owned(),
            namespace: pod.id.namespace.clone().unwrap_or_default(),
            name: pod.id.name.clone(),
            uid: pod.id.uid.clone(),
            grace_seconds: None,
            time_out: 1000,
        })
        .collect();
    for answer in platform
        .kubernetes()
        .evict(&cluster, evictions)
        .await
        .expect("no doubt")
    {
        answer.expect("evicted");
    }
    lap("evict");
    let place = Place::Host(host.clone());
    let order = InstallOrder {
        host: host.clone(),
        packages: vec![PackageVersion {
            name: "agent".to_owned(),
            version: "2.0.0-1".to_owned(),
        }],
        removals: Vec::new(),
        allow_downgrade: false,
        changed_configuration: ChangedConfiguration::Keep,
        time_out: 1000,
    };
    platform
        .packages()
        .install(&place, vec![order])
        .await
        .expect("no doubt")[0]
        .as_ref()
        .expect("installed");
    lap("install");
    let restart = RestartOrder {
        host,
        unit: "agent.service".to_owned(),
        key: String::new(),
        time_out: 1000,
    };
    platform
        .systemd()
        .restart(&place, vec![restart])
        .await
        .expect("no doubt")[0]
        .as_ref()
        .expect("restarted");
    lap("restart");
    assert!(
        platform
            .kubernetes()
            .patch(&cluster, vec![cordon(false)])
            .await
            .expect("no doubt")[0]
            .is_ok()
    );
}

#[tokio::test]
async fn cost_grows_with_the_change() {
    let sizes: Vec<u32> = std::env::var("SIZES")
        .map(|s| s.split(',').filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_else(|_| vec![10, 30]);
    for nodes in sizes {
        let directory = tempfile::tempdir().expect("a directory");
        let begin = Instant::now();
        let platform = open(directory.path(), Shape { nodes, pods: 3 });
        let opened = begin.elapsed();
        let begin = Instant::now();
        for n in 1..=nodes {
            update(&platform, n).await;
        }
        let all = begin.elapsed();
        println!(
            "{nodes}: opened in {opened:?}, updated in {all:?}, {:?} a node, {} MiB",
            all / nodes,
            rss()
        );
        let facts = platform.facts("");
        drop(platform);
        let begin = Instant::now();
        let again = open(directory.path(), Shape { nodes, pods: 3 });
        println!("{nodes}: opened again in {:?}", begin.elapsed());
        assert_eq!(again.facts(""), facts);
    }
}
