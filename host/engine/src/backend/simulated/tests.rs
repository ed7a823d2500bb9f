//! The platform as a whole, through the contract.

mod data;
mod demo;
mod faults;
mod hosts;
mod kubernetes;
mod scale;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::artifacts::DirectoryStore;
use crate::contract::exec::{Command, Output};
use crate::contract::kubernetes::{ObjectKind, ObjectRef};
use crate::contract::packages::{ChangedConfiguration, InstallOrder, PackageVersion, Transaction};
use crate::contract::systemd::{UnitChange, UnitOrder, UnitRef, UnitStatus};
use crate::contract::types::EffectClass;
use crate::contract::{Backend as _, Caller, Failure, Place};

/// A small platform in a directory of its own.
struct Bench {
    platform: Simulated,
    seed: SeedFile,
    behaviours: Vec<Behaviours>,
    directory: TempDir,
}

/// One host that serves the API, three nodes, an agent that is their kubelet.
fn seed() -> Value {
    json!({
        "name": "bench",
        "templates": {"host": {
            "packages": {"agent": "1.0.0-1"},
            "files": {"/etc/resolv.conf": "nameserver 192.0.2.1\n", "/var/lib/data/a": "1", "/var/lib/data/.b": "2",
                "/srv/link": {"link": "/etc"}},
            "disks": {"/": {"size": "10GiB", "used": "1GiB"}},
        }},
        "hosts": {
            "master-1": {"address": "10.0.0.1", "packages": {"server": "1.33.13-1"}, "units": {"store.service": {}}},
            "node-[1:3]": {"like": "host", "address": "10.0.0.${n + 1}"},
        },
        "repositories": {
            "main": {"url": "http://packages.example/main", "packages": {
                "agent": {
                    "versions": {"1.0.0-1": {"conffiles": {"/etc/agent.conf": "a\n"}}, "2.0.0-1": {"conffiles": {"/etc/agent.conf": "b\n"}, "depends": ["library (>= 2)"]}},
                    "files": {"/usr/bin/agent": {"size": "1MiB"}},
                    "units": {"agent.service": {}},
                    "restarts": ["agent.service"],
                },
                "library": {"versions": {"2.0-1": {}}, "files": {"/usr/lib/library.so": {"size": "1MiB"}}},
                "server": {"versions": {"1.33.13-1": {}, "1.34.4-1": {}}, "units": {"server.service": {}}},
            }},
            "old": {"url": "http://packages.example/old", "enabled": false, "packages": {
                "agent": {"versions": {"0.9-1": {}}, "files": {"/usr/bin/agent": {"size": "1MiB"}}, "units": {"agent.service": {}}},
            }},
        },
        "clusters": {"main": {
            "servers": [{"host": "master-1", "unit": "server.service"}],
            "store": [{"host": "master-1", "unit": "store.service"}],
            "nodes": {"node-[1:3]": {"pod-cidr": "10.244.${n}.0/24", "allocatable": {"cpu": "2", "pods": "10"}}},
            "namespaces": ["shop"],
        }},
    })
}

fn behaviours() -> Value {
    json!({
        "component": "agent",
        "commands": [
            {"argv": ["agent", "--version"], "package": "agent", "stdout": "agent ${version('agent')} running ${unit('agent.service').version}\n"},
            {"argv": ["agent", "set", "{key}={value}"], "sets": [{"here": {"${args.key}": "${args.value}"}}], "stdout": {"was": "${here.?x.orValue(null)}"}},
            {"argv": ["agent", "fail"], "stderr": "no\n", "exit": 3, "sets": [{"here": {"failed": true}}]},
            {"argv": ["agent", "broken"], "stdout": "${nothing.here}"},
            {"argv": ["store", "save", "{path}"], "sets": [{"snapshot": "${args.path}", "note": {"by": "test"}}], "stdout": "saved"},
            {"argv": ["store", "load", "{path}"], "sets": [{"restore": "${args.path}"}], "order": "sets-first", "stdout": {"objects": "${snapshot(args.path).objects}", "revision": "${api().revision}"}},
        ],
        "units": [
            {"unit": "agent.service", "on": ["start"], "when": "exists('/etc/agent.bad')", "fails": "agent: bad configuration", "exit": 78},
            {"unit": "agent.service", "on": ["start"], "when": "host.node != ''", "sets": [
                {"object": {"kind": "Node", "name": "${host.node}"}, "patch": {"status": {
                    "nodeInfo": {"kubeletVersion": "v${version('agent')}"},
                    "conditions": [{"type": "Ready", "status": "True"}]}}}]},
            {"unit": "agent.service", "on": ["stop"], "when": "host.node != ''", "sets": [
                {"object": {"kind": "Node", "name": "${host.node}"}, "patch": {"status": {
                    "conditions": [{"type": "Ready", "status": "Unknown"}]}}}]},
        ],
        "http": [
            {"url": "http://{address}:8080/health", "when": "unit('agent.service').active == 'active'", "body": {"host": "${host.name}", "q": "${request.path}"}},
            {"url": "http://{address}:8080/health", "status": 503, "body": "down"},
            {"url": "http://{address}:8080/reset", "method": "POST", "sets": [{"here": {"reset": "${request.body}"}}], "status": "${200 + 2}"},
        ],
        "pods": [
            {"namespace": "shop", "labels": {"app": "picky"}, "ready": "exists('/srv/ready')", "message": "nothing in /srv"},
            {"namespace": "*", "labels": {"app": "marker"}, "on": ["start"], "sets": [{"file": "/run/marker/${pod.metadata.name}", "content": "${pod.status.phase}"}]},
            {"namespace": "*", "labels": {"app": "marker"}, "on": ["stop"], "sets": [{"remove": "/run/marker/${pod.metadata.name}"}]},
        ],
    })
}

fn open(directory: &Path, seed: &SeedFile, behaviours: &[Behaviours], faults: Value) -> Simulated {
    let store = Arc::new(DirectoryStore::open(&directory.join("store")).expect("a store"));
    let faults = serde_json::from_value(json!({ "faults": faults })).expect("faults");
    let platform = directory.join("platform");
    match Simulated::with(&platform, seed, behaviours.to_vec(), faults, store) {
        Ok(platform) => platform,
        Err(error) => panic!("{error}"),
    }
}

impl Bench {
    fn new(objects: Value, faults: Value) -> Self {
        let mut text = seed();
        text["clusters"]["main"]["objects"] = objects;
        let seed = SeedFile::made(serde_json::from_value(text).expect("a seed"));
        let behaviours = vec![serde_json::from_value(behaviours()).expect("behaviours")];
        let directory = tempfile::tempdir().expect("a directory");
        let platform = open(directory.path(), &seed, &behaviours, faults);
        Self { platform, seed, behaviours, directory }
    }

    /// Closes the platform and opens it again, as another process would.
    fn reopen(self, faults: Value) -> Self {
        let Self { platform, seed, behaviours, directory } = self;
        drop(platform);
        let platform = open(directory.path(), &seed, &behaviours, faults);
        Self { platform, seed, behaviours, directory }
    }

    async fn run(&self, host: &str, argv: &[&str], effect: EffectClass) -> Result<Output, Failure> {
        let command = Command {
            host: host.to_owned(),
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            effect,
            key: String::new(),
            stdin: Vec::new(),
            time_out: 1000,
            forecast: None,
            options: None,
        };
        let answers = self.platform.exec().run(&on(host), &caller(), vec![command]).await;
        one(answers.expect("no doubt"))
    }

    async fn say(&self, host: &str, argv: &[&str]) -> String {
        let output = self.run(host, argv, EffectClass::WriteIdempotent).await;
        String::from_utf8(output.expect("it succeeds").stdout.data).expect("text")
    }

    async fn unit(&self, host: &str, unit: &str) -> UnitStatus {
        let asked = UnitRef { host: host.to_owned(), unit: unit.to_owned() };
        let answers = self.platform.systemd().status(&on(host), &caller(), vec![asked]).await;
        one(answers.expect("no doubt")).expect("a status")
    }

    async fn start(&self, host: &str, unit: &str) -> Result<UnitChange, Failure> {
        let answers = self.platform.systemd().start(&on(host), &caller(), vec![order(host, unit)]).await;
        one(answers.expect("no doubt"))
    }

    async fn stop(&self, host: &str, unit: &str) -> Result<UnitChange, Failure> {
        let answers = self.platform.systemd().stop(&on(host), &caller(), vec![order(host, unit)]).await;
        one(answers.expect("no doubt"))
    }

    async fn install(
        &self,
        host: &str,
        packages: &[(&str, &str)],
        allow_downgrade: bool,
    ) -> Result<Transaction, Failure> {
        let packages = packages
            .iter()
            .map(|(name, version)| PackageVersion { name: (*name).to_owned(), version: (*version).to_owned() });
        let order = InstallOrder {
            host: host.to_owned(),
            packages: packages.collect(),
            removals: Vec::new(),
            allow_downgrade,
            changed_configuration: ChangedConfiguration::Keep,
            time_out: 1000,
        };
        let answers = self.platform.packages().install(&on(host), &caller(), vec![order]).await;
        one(answers.expect("no doubt"))
    }

    async fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let answers = self.platform.kubernetes().get(&main(), &caller(), vec![reference(kind, namespace, name)]).await;
        let found = one(answers.expect("no doubt")).ok()?;
        serde_json::from_str(&found.body).ok()
    }
}

fn order(host: &str, unit: &str) -> UnitOrder {
    UnitOrder { host: host.to_owned(), unit: unit.to_owned(), time_out: 1000 }
}

fn on(host: &str) -> Place {
    Place::Host(host.to_owned())
}

fn caller() -> Caller {
    Caller::runner()
}

fn main() -> Place {
    Place::Cluster("main".to_owned())
}

/// The only answer.
fn one<T>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// A kind as `apps/v1 Deployment` or `Pod`.
fn kind(text: &str) -> ObjectKind {
    let (api_version, name) = text.split_once(' ').unwrap_or(("v1", text));
    ObjectKind { api_version: api_version.to_owned(), name: name.to_owned() }
}

fn reference(of: &str, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        cluster: "main".to_owned(),
        kind: kind(of),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name.to_owned(),
    }
}
