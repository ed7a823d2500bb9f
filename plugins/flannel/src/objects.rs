//! The objects of a release, as flannel's own manifests have them, and what a site set by hand in the running ones.

use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::hash_config;
use runner_plugin_sdk::objects::{keep_fields, keep_named, keep_selector};
use runner_plugin_sdk::{Problem, refused};
use serde_json::{Value, json};

use crate::found::{CONFIG, DAEMON_SET, NAME, RBAC};
use crate::parameters::Update;

/// Fields of the workload that belong to the site: an update leaves them as it finds them.
const SITE_FIELDS: [&str; 6] = [
    "/spec/updateStrategy",
    "/spec/template/spec/nodeSelector",
    "/spec/template/spec/tolerations",
    "/spec/template/spec/imagePullSecrets",
    "/spec/template/spec/affinity",
    "/spec/template/spec/containers/0/resources",
];

/// Flannel's two configuration texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// What the container runtime reads, on each host.
    pub(crate) cni: String,
    /// What flanneld reads.
    pub(crate) net: String,
}

impl Config {
    /// The running configuration with the parameters put in; the texts stay as they are where nothing changes.
    pub(crate) fn wanted(parameters: &Update, running: Option<&Value>) -> Result<Self, Problem> {
        let mut cni = Text::of(running, "cni-conf.json", default_cni)?;
        if let Some(version) = &parameters.cni_version {
            cni.value.put("/cniVersion", json!(version));
        }
        let mut net = Text::of(running, "net-conf.json", || json!({"EnableNFTables": false}))?;
        match (net.value.text("/Network").map(str::to_owned), &parameters.network) {
            (Some(old), Some(new)) if old != *new => {
                let message = format!("the Pod network is {old} and cannot become {new} under running Pods");
                return Err(refused("network-change", "network", message));
            }
            (None, None) => {
                return Err(refused("no-network", "network", "no Pod network is configured; give `network`"));
            }
            (None, Some(new)) => net.value.put("/Network", json!(new)),
            (Some(_), _) => {}
        }
        if let Some(backend) = parameters.backend {
            net.value.put("/Backend/Type", json!(backend.name()));
        }
        if net.value.text("/Backend/Type").is_none() {
            return Err(refused("no-backend", "backend", "no backend is configured; give `backend`"));
        }
        Ok(Self { cni: cni.finish(), net: net.finish() })
    }
}

/// A configuration text that keeps its layout unless its value changes.
struct Text {
    before: Option<(String, Value)>,
    value: Value,
}

impl Text {
    fn of(running: Option<&Value>, key: &str, default: fn() -> Value) -> Result<Self, Problem> {
        let Some(text) = running.and_then(|config| config.text(&format!("/data/{key}"))) else {
            return Ok(Self { before: None, value: default() });
        };
        let value: Value = serde_json::from_str(text).map_err(|error| {
            refused("unreadable-configuration", CONFIG, format!("{key} of ConfigMap {CONFIG} is no JSON: {error}"))
        })?;
        Ok(Self { before: Some((text.to_owned(), value.clone())), value })
    }

    fn finish(self) -> String {
        match self.before {
            Some((text, value)) if value == self.value => text,
            Some(_) | None => format!("{:#}\n", self.value),
        }
    }
}

fn default_cni() -> Value {
    json!({
        "name": "cbr0",
        "cniVersion": "0.3.1",
        "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// All objects of the release, in the order in which they are applied.
pub(crate) fn release(parameters: &Update, config: &Config, running: Option<&Value>) -> Vec<Value> {
    let namespace = &parameters.namespace;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": namespace,
                     "labels": {"tier": "node", "k8s-app": "flannel", "app": "flannel"}},
        "data": {"cni-conf.json": config.cni, "net-conf.json": config.net},
    });
    let mut workload = daemon_set(parameters, running);
    hash_config(&mut workload, &[&config]);
    vec![
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace,
                         "labels": {"k8s-app": "flannel", "pod-security.kubernetes.io/enforce": "privileged"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": namespace, "labels": {"k8s-app": "flannel"}},
        }),
        json!({
            "apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": NAME, "labels": {"k8s-app": "flannel"}},
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
            ],
        }),
        json!({
            "apiVersion": RBAC, "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": {"k8s-app": "flannel"}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }),
        config,
        workload,
    ]
}

fn daemon_set(parameters: &Update, running: Option<&Value>) -> Value {
    let cni_file = parameters.cni_config.as_str();
    let cni_folder = cni_file.rsplit_once('/').map_or("/etc/cni/net.d", |(folder, _)| folder);
    let mut init = Vec::new();
    let mut volumes = vec![
        json!({"name": "run", "hostPath": {"path": "/run/flannel"}}),
        json!({"name": "cni", "hostPath": {"path": cni_folder}}),
        json!({"name": "flannel-cfg", "configMap": {"name": CONFIG}}),
        json!({"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}}),
    ];
    if let Some(image) = &parameters.images.cni_plugin {
        init.push(json!({
            "name": "install-cni-plugin", "image": image, "command": ["cp"],
            "args": ["-f", "/flannel", "/opt/cni/bin/flannel"],
            "volumeMounts": [{"name": "cni-plugin", "mountPath": "/opt/cni/bin"}],
        }));
        let running = running.and_then(|workload| volume_path(workload, "cni-plugin"));
        let folder = parameters.cni_directory.as_deref().or(running).unwrap_or("/opt/cni/bin");
        volumes.insert(1, json!({"name": "cni-plugin", "hostPath": {"path": folder}}));
    }
    init.push(json!({
        "name": "install-cni", "image": parameters.images.flannel, "command": ["cp"],
        "args": ["-f", "/etc/kube-flannel/cni-conf.json", cni_file.replace(cni_folder, "/etc/cni/net.d")],
        "volumeMounts": [{"name": "cni", "mountPath": "/etc/cni/net.d"},
                         {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"}],
    }));
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": DAEMON_SET, "namespace": parameters.namespace,
                     "labels": {"tier": "node", "app": "flannel", "k8s-app": "flannel"}},
        "spec": {
            "selector": {"matchLabels": {"app": "flannel"}},
            "template": {
                "metadata": {"labels": {"tier": "node", "app": "flannel"}},
                "spec": {
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}}},
                    "hostNetwork": true,
                    "priorityClassName": "system-node-critical",
                    "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
                    "serviceAccountName": NAME,
                    "initContainers": init,
                    "containers": [{
                        "name": "kube-flannel", "image": parameters.images.flannel,
                        "command": ["/opt/bin/flanneld"],
                        "args": arguments(parameters, running),
                        "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
                        "securityContext": {"privileged": false, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
                        "env": environment(parameters),
                        "volumeMounts": [{"name": "run", "mountPath": "/run/flannel"},
                                         {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"},
                                         {"name": "xtables-lock", "mountPath": "/run/xtables.lock"}],
                    }],
                    "volumes": volumes,
                },
            },
        },
    });
    keep_selector(&mut workload, running);
    keep_fields(&mut workload, running, &SITE_FIELDS);
    keep_named(&mut workload, running, "/spec/template/spec/containers/0/env");
    workload
}

fn arguments(parameters: &Update, running: Option<&Value>) -> Value {
    let running = running.and_then(|workload| workload.pointer("/spec/template/spec/containers/0/args"));
    match (&parameters.arguments, running) {
        (Some(arguments), _) => json!(arguments),
        (None, Some(arguments)) => arguments.clone(),
        (None, None) => json!(["--ip-masq", "--kube-subnet-mgr"]),
    }
}

/// The variables of flannel's manifests.
fn environment(parameters: &Update) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut variables = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        json!({"name": "EVENT_QUEUE_DEPTH", "value": "5000"}),
    ];
    if let Some(server) = &parameters.api_server {
        variables.push(json!({"name": "KUBERNETES_SERVICE_HOST", "value": server.host}));
        variables.push(json!({"name": "KUBERNETES_SERVICE_PORT", "value": server.port.to_string()}));
    }
    variables
}

fn volume_path<'a>(workload: &'a Value, name: &str) -> Option<&'a str> {
    let volumes = workload.items("/spec/template/spec/volumes");
    volumes.iter().find(|volume| volume.text("/name") == Some(name))?.text("/hostPath/path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(extra: Value) -> Update {
        let mut parameters = json!({
            "versions": {"flannel": "v0.26.7"}, "images": {"flannel": "ghcr.io/flannel-io/flannel:v0.26.7"},
        });
        for (name, value) in extra.as_object().into_iter().flatten() {
            parameters.put(&format!("/{name}"), value.clone());
        }
        serde_json::from_value(parameters).unwrap()
    }

    fn running_config() -> Value {
        json!({"data": {
            "cni-conf.json": "{ \"name\": \"cbr0\", \"cniVersion\": \"0.3.1\", \"plugins\": [] }",
            "net-conf.json": "{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":7}}",
        }})
    }

    #[test]
    fn a_running_configuration_stays_as_it_is() {
        let running = running_config();
        let config = Config::wanted(&parameters(json!({})), Some(&running)).unwrap();
        assert_eq!(Some(config.cni.as_str()), running.text("/data/cni-conf.json"));
        assert_eq!(Some(config.net.as_str()), running.text("/data/net-conf.json"));
    }

    #[test]
    fn parameters_change_only_what_they_name() {
        let wanted = parameters(json!({"backend": "host-gw", "cni-version": "0.4.0"}));
        let config = Config::wanted(&wanted, Some(&running_config())).unwrap();
        let net: Value = serde_json::from_str(&config.net).unwrap();
        assert_eq!(net, json!({"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw", "VNI": 7}}));
        assert!(config.cni.contains("\"cniVersion\": \"0.4.0\""));
    }

    #[test]
    fn another_network_is_refused() {
        let wanted = parameters(json!({"network": "10.9.0.0/16"}));
        let refusal = Config::wanted(&wanted, Some(&running_config()));
        assert!(matches!(refusal, Err(Problem::Refused(f)) if f[0].code == "network-change"));
        assert!(Config::wanted(&parameters(json!({})), None).is_err());
        let fresh = parameters(json!({"network": "10.9.0.0/16", "backend": "vxlan"}));
        assert!(Config::wanted(&fresh, None).unwrap().net.contains("10.9.0.0/16"));
    }

    #[test]
    fn what_a_site_set_by_hand_survives() {
        let running = json!({"spec": {"template": {"spec": {
            "nodeSelector": {"net": "yes"},
            "containers": [{"args": ["--iface=eth1"], "env": [{"name": "SITE", "value": "1"}, {"name": "POD_NAME", "value": "x"}]}],
        }}}});
        let workload = daemon_set(&parameters(json!({})), Some(&running));
        let container = workload.pointer("/spec/template/spec/containers/0").unwrap();
        assert_eq!(container.pointer("/args"), Some(&json!(["--iface=eth1"])));
        let names: Vec<_> = container.items("/env").iter().filter_map(|variable| variable.text("/name")).collect();
        assert_eq!(names, ["POD_NAME", "POD_NAMESPACE", "EVENT_QUEUE_DEPTH", "SITE"]);
        assert_eq!(container.text("/env/0/valueFrom/fieldRef/fieldPath"), Some("metadata.name"));
        assert_eq!(workload.text("/spec/template/spec/nodeSelector/net"), Some("yes"));
    }

    #[test]
    fn the_cni_plugin_comes_from_an_image_only_where_one_is_given() {
        let without = daemon_set(&parameters(json!({})), None);
        assert_eq!(without.items("/spec/template/spec/initContainers").len(), 1);
        let images = json!({"images": {"flannel": "f:1", "cni-plugin": "p:1"}, "cni-directory": "/usr/lib/cni"});
        let with = daemon_set(&parameters(images), None);
        assert_eq!(with.items("/spec/template/spec/initContainers").len(), 2);
        assert_eq!(volume_path(&with, "cni-plugin"), Some("/usr/lib/cni"));
    }

    #[test]
    fn a_change_of_the_configuration_changes_the_pods() {
        let hash = |extra: Value| {
            let wanted = parameters(extra);
            let config = Config::wanted(&wanted, Some(&running_config())).unwrap();
            let objects = release(&wanted, &config, None);
            objects[5].text("/spec/template/metadata/annotations/runner~1config-hash").map(str::to_owned)
        };
        assert!(hash(json!({})).is_some());
        assert_ne!(hash(json!({})), hash(json!({"backend": "host-gw"})));
    }
}
