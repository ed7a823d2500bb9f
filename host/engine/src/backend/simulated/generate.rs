//! Platforms of any size, for benches and tests.

use indexmap::IndexMap;
use serde_json::{Value, json};

use runner_types::simulated::Behaviours;
use runner_types::simulated::PlatformSeed;

/// How large a platform is to be.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Hosts that are nodes; one more serves the API.
    pub nodes: u32,
    /// Pods of applications on each node.
    pub pods: u32,
}

/// A platform of hosts with an agent package in versions `1.0.0-1` and `2.0.0-1`, an inventory-like naming (`node-1`, …),
/// and a cluster `main` in which every ten nodes' applications have a namespace and a budget of their own.
///
/// # Errors
/// Never, unless the format changed under it.
pub fn generate(shape: Shape) -> serde_json::Result<(PlatformSeed, Behaviours)> {
    let spaces = shape.nodes.div_ceil(10).max(1);
    let mut objects = Vec::new();
    for space in 1..=spaces {
        let nodes = shape.nodes.saturating_sub((space - 1) * 10).min(10);
        objects.extend(application(space, nodes * shape.pods));
    }
    objects.push(agent());
    let namespaces: Vec<String> = (1..=spaces).map(|space| format!("apps-{space}")).collect();
    let seed = json!({
        "name": format!("generated-{}", shape.nodes),
        "templates": {"host": {
            "packages": {"agent": "1.0.0-1"},
            "files": {"/etc/resolv.conf": "nameserver 192.0.2.1\n", "/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n"},
        }},
        "hosts": {
            "master-1": {"like": "host", "address": "10.255.0.1"},
            (format!("node-[1:{}]", shape.nodes)): {"like": "host", "address": "10.1.${n / 250}.${n % 250 + 1}"},
        },
        "repositories": {"all": {"url": "http://packages.example/all", "packages": {"agent": {
            "versions": {"1.0.0-1": {}, "2.0.0-1": {}},
            "files": {"/usr/bin/agent": {"size": "30MiB"}},
            "conffiles": {"/etc/agent.conf": "level = info\n"},
            "units": {"agent.service": {}},
        }}}},
        "clusters": {"main": {
            "version": "v1.33.13",
            "nodes": {(format!("node-[1:{}]", shape.nodes)): {"pod-cidr": "10.${100 + n / 250}.${n % 250}.0/24"}},
            "namespaces": namespaces,
            "objects": objects,
        }},
    });
    let behaviours = json!({
        "component": "agent",
        "commands": [{"argv": ["agent", "--version"], "package": "agent", "stdout": "agent ${version('agent')}\n"}],
        "units": [
            {"unit": "agent.service", "on": ["start"], "when": "host.node != ''", "sets": [
                {"object": {"kind": "Node", "name": "${host.node}"}, "patch": {"status": {
                    "nodeInfo": {"kubeletVersion": "v${version('agent')}"},
                    "conditions": [{"type": "Ready", "status": "True", "reason": "AgentReady"}],
                }}},
            ]},
            {"unit": "agent.service", "on": ["stop"], "when": "host.node != ''", "sets": [
                {"object": {"kind": "Node", "name": "${host.node}"}, "patch": {"status": {
                    "conditions": [{"type": "Ready", "status": "Unknown", "reason": "AgentGone"}],
                }}},
            ]},
        ],
    });
    Ok((serde_json::from_value(seed)?, serde_json::from_value(behaviours)?))
}

fn application(space: u32, replicas: u32) -> [Value; 2] {
    let namespace = format!("apps-{space}");
    let labels: IndexMap<&str, &str> = IndexMap::from([("app", "web")]);
    [
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]},
                },
            },
        }),
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        }),
    ]
}

fn agent() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "log-agent", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"app": "log-agent"}},
            "template": {
                "metadata": {"labels": {"app": "log-agent"}},
                "spec": {"containers": [{"name": "agent", "image": "log-agent:1"}]},
            },
        },
    })
}
