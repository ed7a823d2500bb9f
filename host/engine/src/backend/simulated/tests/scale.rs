//! Platforms of many hosts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::facts::{Fact, Facts, Key, Memory};
use super::super::kubernetes::objects::terms;
use super::super::model::{Model, Scope};
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

/// Facts that count how many of them are handed out.
struct Counting {
    facts: Memory,
    read: AtomicUsize,
}

impl Counting {
    fn of(platform: &Simulated) -> Self {
        let mut facts = Memory::new(terms);
        for (key, fact) in platform.facts("") {
            facts.set(key.into(), Some(fact.into()));
        }
        Self { facts, read: AtomicUsize::new(0) }
    }

    fn count(&self, found: usize) {
        self.read.fetch_add(found, Ordering::Relaxed);
    }
}

impl Facts for Counting {
    fn get(&self, key: &str) -> Option<Fact> {
        self.count(1);
        self.facts.get(key)
    }
    fn below(&self, prefix: &str) -> Vec<(Key, Fact)> {
        let found = self.facts.below(prefix);
        self.count(found.len());
        found
    }
    fn page(&self, prefix: &str, after: &str, limit: usize) -> Vec<(Key, Fact)> {
        let found = self.facts.page(prefix, after, limit);
        self.count(found.len());
        found
    }
    fn indexed(&self, term: &str) -> Vec<Key> {
        let found = self.facts.indexed(term);
        self.count(found.len());
        found
    }
    fn terms(&self, key: &str, fact: &str) -> Vec<String> {
        self.facts.terms(key, fact)
    }
}

/// What a behaviour looks up for one node costs the same on a larger platform.
#[tokio::test]
async fn a_question_about_one_node_reads_no_other() {
    let questions = [
        ("pods_on('node-2').map(p, p.spec.nodeName)", json!(["node-2", "node-2", "node-2", "node-2"])),
        ("pods_on('')", json!([])),
        ("host_of('node-2')", json!("node-2")),
        ("host_of('nobody')", json!("")),
        ("node_at(pods_on('node-2')[0].status.podIP).metadata.name", json!("node-2")),
        ("node_at('192.0.2.1') == null && node_at('x') == null", json!(true)),
    ];
    let mut counts = Vec::new();
    for nodes in [4, 40] {
        let directory = tempfile::tempdir().expect("a directory");
        let platform = generated(directory.path(), nodes);
        let facts = Counting::of(&platform);
        let mut of_platform = Vec::new();
        for (question, answer) in &questions {
            let now = runner_types::Timestamp::from_unix_millis(0);
            let model = Model::new(&facts, &platform.shared.rules, &platform.shared.blobs, now);
            facts.read.store(0, Ordering::Relaxed);
            let found = model.evaluate(&Scope::on("agent", Some("node-1")), question);
            assert_eq!(found.map_err(|failure| failure.message).as_ref(), Ok(answer), "{question}");
            of_platform.push(facts.read.load(Ordering::Relaxed));
        }
        counts.push(of_platform);
    }
    assert_eq!(counts[0], counts[1]);
}

/// A node that is marked and cordoned makes its DaemonSets look at no other node.
#[tokio::test]
async fn a_change_of_one_node_reads_no_other() {
    let mut counts = Vec::new();
    for nodes in [4, 40] {
        let directory = tempfile::tempdir().expect("a directory");
        let platform = generated(directory.path(), nodes);
        let facts = Counting::of(&platform);
        let now = runner_types::Timestamp::from_unix_millis(0);
        let mut model = Model::new(&facts, &platform.shared.rules, &platform.shared.blobs, now);
        let order = PatchOrder {
            object: reference("Node", "", "node-2"),
            patch: PatchKind::Merge,
            body: json!({"metadata": {"labels": {"mark": "x"}}, "spec": {"unschedulable": true}}).to_string(),
            subresource: None,
            precondition: None,
        };
        let patched = model.patch(&order, "test").and_then(|change| model.settle().map(|()| change.changed));
        assert_eq!(patched.map_err(|failure| failure.message), Ok(true));
        counts.push(facts.read.load(Ordering::Relaxed));
    }
    assert_eq!(counts[0], counts[1]);
}
