//! The objects of a release, and what a site set by hand in the running ones.

use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::hash_config;
use runner_plugin_sdk::objects::{Objects, keep_fields, keep_named, keep_selector};
use serde_json::{Value, json};

use crate::found::{CONFIG, CONFIG_KEY, NAME, NETWORKING, RBAC};
use crate::parameters::Update;

/// Fields of the workload that belong to the site: an update leaves them as it finds them. The probes are among them,
/// since what they ask has to be switched on in the site's configuration.
const WORKLOAD_FIELDS: [&str; 11] = [
    "/spec/updateStrategy",
    "/spec/minReadySeconds",
    "/spec/template/spec/nodeSelector",
    "/spec/template/spec/tolerations",
    "/spec/template/spec/imagePullSecrets",
    "/spec/template/spec/affinity",
    "/spec/template/spec/dnsPolicy",
    "/spec/template/spec/containers/0/args",
    "/spec/template/spec/containers/0/resources",
    "/spec/template/spec/containers/0/readinessProbe",
    "/spec/template/spec/containers/0/livenessProbe",
];

/// Fields of the Service that belong to the site.
const SERVICE_FIELDS: [&str; 8] = [
    "/spec/selector",
    "/spec/type",
    "/spec/ports",
    "/spec/externalIPs",
    "/spec/externalTrafficPolicy",
    "/spec/loadBalancerClass",
    "/spec/loadBalancerIP",
    "/metadata/annotations",
];

/// All objects of the release, in the order in which they are applied.
pub(crate) fn release(parameters: &Update, running: &Objects<'_>) -> Vec<Value> {
    let namespace = &parameters.namespace;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": namespace, "labels": labels()},
        "data": {CONFIG_KEY: configuration(parameters, running.find("ConfigMap", CONFIG))},
    });
    let mut workload = daemon_set(parameters, running.find("DaemonSet", NAME));
    hash_config(&mut workload, &[&config]);
    let mut class = json!({
        "apiVersion": NETWORKING, "kind": "IngressClass",
        "metadata": {"name": parameters.ingress_class, "labels": labels()},
        "spec": {"controller": "traefik.io/ingress-controller"},
    });
    // Whether it is the default class is the site's to say.
    keep_fields(&mut class, running.find("IngressClass", &parameters.ingress_class), &["/metadata/annotations"]);
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels()}}),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels()},
        }),
        cluster_role(running.find("ClusterRole", NAME)),
        json!({
            "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": NAME, "labels": labels()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }),
        class,
        config,
        service(parameters, running.find("Service", NAME)),
        workload,
    ]
}

/// Traefik's static configuration: the parameter, or what is there, or HTTP for Ingresses. The port is shared and a
/// stopping process goes on accepting for a while, so that an old and a new Pod of a node can overlap.
pub(crate) fn configuration(parameters: &Update, running: Option<&Value>) -> String {
    let running = running.and_then(|config| config.pointer("/data")?.get(CONFIG_KEY)?.as_str());
    match (&parameters.configuration, running) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => format!(
            "entryPoints:\n  \
               web:\n    \
                 address: \":{port}\"\n    \
                 reusePort: true\n    \
                 transport:\n      \
                   lifeCycle:\n        \
                     requestAcceptGraceTimeout: 5s\n\
             providers:\n  \
               kubernetesIngress:\n    \
                 ingressClass: {class}\n\
             ping:\n  \
               entryPoint: web\n",
            port = parameters.port,
            class = parameters.ingress_class,
        ),
    }
}

/// What reading Ingresses needs. Rules for Traefik's own resources are the site's, who decides whether it uses them.
fn cluster_role(running: Option<&Value>) -> Value {
    let mut rules = vec![
        json!({"apiGroups": [""], "resources": ["services", "secrets", "nodes"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"],
               "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["update"]}),
    ];
    let own = |rule: &&Value| rule.items("/apiGroups").iter().any(|group| group.as_str() == Some("traefik.io"));
    let running = running.map_or(&[][..], |role| role.items("/rules"));
    rules.extend(running.iter().filter(own).cloned());
    json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": NAME, "labels": labels()}, "rules": rules})
}

fn service(parameters: &Update, running: Option<&Value>) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": parameters.namespace, "labels": labels()},
        "spec": {"type": "ClusterIP", "selector": labels(),
                 "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": parameters.port}]},
    });
    keep_fields(&mut service, running, &SERVICE_FIELDS);
    service
}

/// On the host network, without declared ports: these would keep a node from running the old and the new Pod at once.
/// Without `minReadySeconds`: with a surge, the controller of Kubernetes 1.34 does not look again once they are over.
fn daemon_set(parameters: &Update, running: Option<&Value>) -> Value {
    let probe = json!({"httpGet": {"path": "/ping", "port": parameters.port}, "periodSeconds": 5});
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": parameters.namespace, "labels": labels()},
        "spec": {
            "selector": {"matchLabels": labels()},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "hostNetwork": true,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "terminationGracePeriodSeconds": 60,
                    "containers": [{
                        "name": NAME, "image": parameters.images.traefik,
                        "args": [format!("--configfile=/etc/traefik/{CONFIG_KEY}")],
                        "env": environment(parameters),
                        "readinessProbe": probe, "livenessProbe": probe,
                        "securityContext": {"allowPrivilegeEscalation": false,
                                            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/traefik", "readOnly": true}],
                    }],
                    "volumes": [{"name": "config", "configMap": {"name": CONFIG}}],
                },
            },
        },
    });
    keep_selector(&mut workload, running);
    keep_fields(&mut workload, running, &WORKLOAD_FIELDS);
    keep_named(&mut workload, running, "/spec/template/spec/containers/0/env");
    keep_named(&mut workload, running, "/spec/template/spec/containers/0/volumeMounts");
    keep_named(&mut workload, running, "/spec/template/spec/volumes");
    workload
}

fn environment(parameters: &Update) -> Vec<Value> {
    parameters.api_server.as_ref().map_or_else(Vec::new, |server| {
        vec![
            json!({"name": "KUBERNETES_SERVICE_HOST", "value": server.host}),
            json!({"name": "KUBERNETES_SERVICE_PORT", "value": server.port.to_string()}),
        ]
    })
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "traefik"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(extra: Value) -> Update {
        let mut parameters = json!({
            "versions": {"traefik": "v3.6.12"}, "images": {"traefik": "docker.io/library/traefik:v3.6.12"},
        });
        for (name, value) in extra.as_object().into_iter().flatten() {
            parameters.put(&format!("/{name}"), value.clone());
        }
        serde_json::from_value(parameters).unwrap()
    }

    #[test]
    fn the_configuration_is_the_site_s_unless_one_is_given() {
        let running = json!({"data": {"traefik.yml": "log: {level: DEBUG}\n"}});
        assert_eq!(configuration(&parameters(json!({})), Some(&running)), "log: {level: DEBUG}\n");
        let given = parameters(json!({"configuration": "ping: {}\n"}));
        assert_eq!(configuration(&given, Some(&running)), "ping: {}\n");
        let fresh = configuration(&parameters(json!({"port": 8000, "ingress-class": "edge"})), None);
        assert!(fresh.contains("    address: \":8000\"\n    reusePort: true\n"), "{fresh}");
        assert!(fresh.contains("  kubernetesIngress:\n    ingressClass: edge\n"), "{fresh}");
    }

    #[test]
    fn probes_are_asked_only_where_the_site_answers_them() {
        let running = json!({"spec": {"template": {"spec": {"containers": [{"args": ["--configFile=/x"]}]}}}});
        let workload = daemon_set(&parameters(json!({})), Some(&running));
        assert_eq!(workload.pointer("/spec/template/spec/containers/0/readinessProbe"), None);
        assert_eq!(workload.text("/spec/template/spec/containers/0/args/0"), Some("--configFile=/x"));
        assert_eq!(workload.text("/spec/template/spec/containers/0/image"), Some("docker.io/library/traefik:v3.6.12"));
        let fresh = daemon_set(&parameters(json!({"port": 8000})), None);
        assert_eq!(fresh.number("/spec/template/spec/containers/0/readinessProbe/httpGet/port"), Some(8000));
        assert_eq!(fresh.number("/spec/updateStrategy/rollingUpdate/maxSurge"), Some(1));
    }

    #[test]
    fn rights_for_traefik_s_own_resources_are_kept_and_no_others() {
        let running = json!({"rules": [
            {"apiGroups": ["traefik.io"], "resources": ["ingressroutes"], "verbs": ["get"]},
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        ]});
        let role = cluster_role(Some(&running));
        let groups: Vec<_> = role.items("/rules").iter().filter_map(|rule| rule.text("/apiGroups/0")).collect();
        assert_eq!(groups, ["", "discovery.k8s.io", "networking.k8s.io", "networking.k8s.io", "traefik.io"]);
    }

    #[test]
    fn a_service_keeps_how_it_is_reached() {
        let running =
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "selector": {"app": "t"}}});
        let service = service(&parameters(json!({})), Some(&running));
        assert_eq!(service.text("/spec/type"), Some("NodePort"));
        assert_eq!(service.number("/spec/ports/0/nodePort"), Some(30080));
        assert_eq!(service.text("/spec/selector/app"), Some("t"));
    }
}
