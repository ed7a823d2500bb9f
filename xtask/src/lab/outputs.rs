//! What `runner`, tests and people use of the lab, in its `out` directory. Inventory and policy follow the demo's, so that
//! what is shipped runs on the lab as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::certificates::Authority;
use super::keys::Keys;
use super::parts::Parts;
use super::platform;
use super::release::Releases;
use super::site::{CANARY, Host, METRICS_VOLUME, Role, Site, VOLUMES, write};
use crate::workspace::root;

/// Where Prometheus answers, for hosts with a route to the network of Services.
const PROMETHEUS: &str = "http://10.96.0.90:9090";
/// Facts for tests.
const FACTS: &str = "lab.json";
/// The demo's inventory and policy.
const DEMO: &str = "workflows/inventories/demo";

/// How hosts are reached by `ssh`.
pub(crate) fn access(site: &Site, keys: &Keys<'_>) -> Result<()> {
    let out = site.out();
    let known_hosts = out.join("known_hosts");
    write(&known_hosts, keys.known_hosts()?)?;
    let mut text = String::new();
    for host in site.hosts() {
        text.push_str(&format!("Host {}\n  HostName {}\n", host.name, host.address));
    }
    text.push_str(&format!(
        "Host *\n  User ops\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
         GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n",
        site.ssh_port(),
        keys.login().display(),
        known_hosts.display()
    ));
    write(&out.join("ssh_config"), text)
}

/// How the cluster is reached.
pub(crate) fn cluster(site: &Site, authority: &Authority, parts: &Parts) -> Result<()> {
    let out = site.out();
    write(&out.join("kubeconfig"), platform::kubeconfig(site, authority)?)?;
    let programs = out.join("bin");
    fs::create_dir_all(&programs).with_context(|| format!("cannot create {}", programs.display()))?;
    for program in [&parts.kubectl, &parts.etcdctl] {
        let link = programs.join(program.file_name().context("a program without a name")?);
        let _ = fs::remove_file(&link);
        symlink(program, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

/// What `runner` needs.
pub(crate) fn runner(site: &Site, keys: &Keys<'_>, releases: &Releases) -> Result<()> {
    let out = site.out();
    for (name, value) in [
        ("inventory.json", inventory(site, keys, releases, &demo("inventory.json")?)?),
        ("policy.json", policy(site, releases, demo("policy.json")?)?),
        ("releases.json", releases.file.clone()),
    ] {
        write(&out.join(name), format!("{value:#}\n"))?;
    }
    Ok(())
}

fn demo(name: &str) -> Result<Value> {
    let path = root().join(DEMO).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// The host on which the volumes are looked after.
fn storage(site: &Site) -> Host {
    site.master()
}

fn volume() -> String {
    format!("{VOLUMES}/{METRICS_VOLUME}")
}

fn inventory(site: &Site, keys: &Keys<'_>, releases: &Releases, demo: &Value) -> Result<Value> {
    let names = |hosts: Vec<Host>| hosts.into_iter().map(|host| host.name).collect::<Vec<_>>();
    let mut hosts = serde_json::Map::new();
    for host in site.hosts() {
        let mut entry = json!({"address": host.address.to_string()});
        if host.role == Role::Node {
            entry["node"] = json!(host.name);
        }
        hosts.insert(host.name, entry);
    }
    let mut components = demo.get("components").cloned().context("the demo's inventory has no components")?;
    let mut set = |path: &str, value: Value| -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        let parent = components.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.with_context(|| format!("the demo's inventory has no {path}"))?.insert(name.to_owned(), value);
        Ok(())
    };
    set("/etcd/dependents/hosts", json!(site.names()))?;
    set("/docker", json!({"packages": releases.docker_packages()}))?;
    set("/metrics/url", json!(PROMETHEUS))?;
    set("/metrics/via", json!(site.master().name))?;
    set("/metrics/volume-host", json!(storage(site).name))?;
    set("/metrics/volume-path", json!(volume()))?;
    let mut access = json!({
        "user": "ops",
        "key": keys.login(),
        "known-hosts": site.out().join("known_hosts"),
        "become": true,
    });
    if site.ssh_port() != 22 {
        access["port"] = json!(site.ssh_port());
    }
    Ok(json!({
        "name": "lab",
        "connection": "ssh",
        "access": access,
        "hosts": hosts,
        "groups": {
            "masters": {"hosts": [site.master().name]},
            "nodes": {"hosts": names(site.workers())},
            "kubernetes": {"groups": ["masters", "nodes"]},
            "etcd": {"hosts": names(site.members())},
            "docker": {"groups": ["nodes"]},
            "flannel": {"groups": ["nodes"]},
            "ingress": {"groups": ["nodes"]},
            "metrics": {"groups": ["masters", "nodes"]},
        },
        "clusters": {"main": {"kubeconfig": site.out().join("kubeconfig")}},
        "components": components,
    }))
}

/// The demo's policy with the lab's hosts, and with the packages that Docker is made of here.
fn policy(site: &Site, releases: &Releases, mut demo: Value) -> Result<Value> {
    if let Some(file) = demo.as_object_mut() {
        // It names a file beside the demo's.
        file.shift_remove("$schema");
        file.insert("description".to_owned(), json!("What the shipped workflows need on the lab, and nothing else"));
    }
    let grants = demo.get_mut("grants").and_then(Value::as_array_mut).context("the demo's policy has no grants")?;
    for grant in grants {
        if let Some(hosts) = grant.get_mut("hosts") {
            let only_storage = *hosts == json!(["storage-1"]);
            *hosts = if only_storage { json!([storage(site).name]) } else { json!(site.names()) };
        }
        let docker = grant.get("plugin") == Some(&json!("docker"));
        if let Some(packages) = grant.get_mut("packages").filter(|_| docker) {
            *packages = json!(releases.docker_packages());
        }
    }
    Ok(demo)
}

/// Facts for tests. They are the last thing that is written: where they are, the lab was brought up to its end.
pub(crate) fn facts(site: &Site, keys: &Keys<'_>) -> Result<()> {
    let mut hosts = serde_json::Map::new();
    for host in site.hosts() {
        let mut roles = vec![match host.role {
            Role::Master => "master",
            Role::Node => "node",
        }];
        if host.member {
            roles.push("etcd");
        }
        let entry = json!({
            "address": host.address.to_string(), "internal-ip": host.internal.to_string(), "roles": roles,
        });
        hosts.insert(host.name, entry);
    }
    let facts = json!({
        "hosts": hosts,
        "canary": {"host": CANARY, "namespace": "shop", "name": "web"},
        "volume": {"host": storage(site).name, "path": volume()},
        "prometheus": {"host": site.master().name, "url": PROMETHEUS},
        "users": {
            "ops": {"key": keys.login()},
            "pat": {"key": keys.login(), "password-file": keys.password_file()},
        },
    });
    write(&site.out().join(FACTS), format!("{facts:#}\n"))
}

/// Whether a lab was brought up to its end.
pub(crate) fn are_complete(out: &Path) -> bool {
    out.join(FACTS).exists()
}
