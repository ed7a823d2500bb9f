//! How a platform comes into being from its seed.

use indexmap::IndexMap;
use runner_types::{Segment, Timestamp, segments};
use serde_json::{Map, Value, json};

use super::facts::{Change, Memory};
use super::kubernetes::objects::{kind_of, name_of, namespace_of, set, terms};
use super::model::content::Blobs;
use super::model::files::{Disk, Entry};
use super::model::hosts::Host;
use super::model::packages::Package;
use super::model::units::{JournalLine, Unit};
use super::model::{Model, Scope, keys, version};
use super::rules::Rules;
use crate::backend::failure;
use crate::backend::objects::title;
use crate::contract::Failure;
use crate::contract::packages::{ChangedConfiguration, PackageVersion};
use runner_types::simulated::{ClusterSeed, DiskSeed, HostSeed, NodeSeed, PlatformSeed, Size};

/// More hosts than this a range does not make.
const MOST: u64 = 100_000;
/// Deeper than this templates are not like each other.
const LIKENESS: usize = 16;

/// The first facts of a platform.
pub(super) fn platform(seed: &PlatformSeed, rules: &Rules, blobs: &Blobs, now: Timestamp) -> Result<Change, Failure> {
    let nothing = Memory::new(terms);
    let mut model = Model::new(&nothing, rules, blobs, now);
    model.spared = true;
    for (component, state) in &seed.components {
        model.tx.set(&keys::component(component, None), state)?;
    }
    let mut hosts = Vec::new();
    for (pattern, host) in &seed.hosts {
        let whole = likeness(seed, host.clone(), 0)?;
        for (name, host) in expand(&model, pattern, &whole)? {
            model.bear_host(&name, &host)?;
            hosts.push(name);
        }
    }
    for (cluster, seed) in &seed.clusters {
        model.bear_cluster(cluster, seed)?;
    }
    // It comes to life: what runs has done what it does when it starts.
    for host in &hosts {
        for (name, unit) in model.tx.list::<Unit>(&keys::unit(host, ""))? {
            if unit.is_active() {
                model.unit_moment(host, &name, runner_types::simulated::UnitMoment::Start)?;
            }
        }
    }
    model.settle()?;
    Ok(model.into_change(true))
}

/// A host with what its templates give it.
fn likeness(seed: &PlatformSeed, host: HostSeed, depth: usize) -> Result<HostSeed, Failure> {
    let mut base = HostSeed::default();
    if depth > LIKENESS {
        return Err(failure::invalid("templates", "templates are like each other without end"));
    }
    for name in &host.like.0 {
        let template = seed.templates.get(name).cloned();
        let template =
            template.ok_or_else(|| failure::invalid("templates", format!("there is no template {name:?}")))?;
        base = likeness(seed, template, depth + 1)?.over(base);
    }
    Ok(host.over(base))
}

/// The range within a name: `node-[1:3]` is `node-`, 1 to 3, and nothing behind.
struct Range<'p> {
    before: &'p str,
    first: u64,
    last: u64,
    width: usize,
    after: &'p str,
}

impl<'p> Range<'p> {
    fn of(pattern: &'p str) -> Result<Option<Self>, Failure> {
        let wrong = || failure::invalid(pattern, format!("{pattern:?} is no range such as node-[1:100]"));
        let Some((before, rest)) = pattern.split_once('[') else {
            return Ok(None);
        };
        let (inner, after) = rest.split_once(']').ok_or_else(wrong)?;
        let (first, last) = inner.split_once(':').ok_or_else(wrong)?;
        let width = if first.starts_with('0') { first.len() } else { 0 };
        let first: u64 = first.parse().map_err(|_| wrong())?;
        let last: u64 = last.parse().map_err(|_| wrong())?;
        if last < first || last - first >= MOST {
            return Err(wrong());
        }
        Ok(Some(Self { before, first, last, width, after }))
    }
}

/// All that a name with a range stands for; `${n}` in texts becomes the number's.
fn expand<T: Clone + serde::Serialize + serde::de::DeserializeOwned>(
    model: &Model<'_>,
    pattern: &str,
    value: &T,
) -> Result<Vec<(String, T)>, Failure> {
    let Some(range) = Range::of(pattern)? else {
        return Ok(vec![(pattern.to_owned(), value.clone())]);
    };
    let Range { before, first, last, width, after } = range;
    let wrong = |error: serde_json::Error| failure::invalid(pattern, error.to_string());
    let template = serde_json::to_value(value).map_err(wrong)?;
    let mut all = Vec::new();
    for n in first..=last {
        let mut scope = Scope::on("platform", None);
        scope.set("n", n);
        let filled = numbered(model, &scope, &template)?;
        let name = format!("{before}{n:0width$}{after}");
        all.push((name, serde_json::from_value(filled).map_err(wrong)?));
    }
    Ok(all)
}

/// Fills in texts that speak of `n`; all others stay as they are.
fn numbered(model: &Model<'_>, scope: &Scope, value: &Value) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => {
            let speaks = |piece: &Segment<'_>| matches!(piece, Segment::Expr(expr) if expr.split(|c: char| !c.is_alphanumeric()).any(|word| word == "n"));
            match segments(text) {
                Ok(pieces) if pieces.iter().any(speaks) => Value::String(model.render(scope, text)?),
                _ => value.clone(),
            }
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| numbered(model, scope, item)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let mut filled = Map::new();
            for (name, value) in fields {
                filled.insert(name.clone(), numbered(model, scope, value)?);
            }
            Value::Object(filled)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

impl Model<'_> {
    fn bear_host(&mut self, name: &str, seed: &HostSeed) -> Result<(), Failure> {
        let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
        let host = Host {
            address: or(&seed.address, name),
            hostname: or(&seed.hostname, name),
            node: None,
            cluster: None,
            os: or(&seed.os, "debian"),
            os_version: or(&seed.os_version, "12"),
            kernel: or(&seed.kernel, "6.1.0-42-amd64"),
            architecture: or(&seed.architecture, "x86_64"),
            processors: seed.processors.unwrap_or(4),
            memory: seed.memory.unwrap_or(8192),
            boots: 1,
        };
        for address in [&host.address, &host.hostname] {
            self.tx.set(&keys::address(address), name)?;
        }
        self.tx.set(&keys::host(name), &host)?;
        let mut disks = seed.disks.clone();
        if !disks.contains_key("/") {
            disks.insert("/".to_owned(), DiskSeed { size: Size(40 << 30), used: Size(6 << 30) });
        }
        for (mount, disk) in &disks {
            let disk = Disk { size: disk.size.0, used: disk.used.0 };
            self.tx.set(&keys::disk(name, mount), &disk)?;
        }
        self.bear_packages(name, seed)?;
        for (path, file) in &seed.files {
            self.put(name, path, &Entry::seeded(file, path, self.now))?;
        }
        self.bear_units(name, seed)?;
        for (component, state) in &seed.components {
            self.tx.set(&keys::component(component, Some(name)), state)?;
        }
        for (unit, lines) in &seed.journal {
            let lines: Vec<JournalLine> =
                lines.iter().map(|text| JournalLine { time: self.now, priority: 6, text: text.clone() }).collect();
            self.tx.set(&keys::journal(name, unit), &lines)?;
        }
        Ok(())
    }

    fn bear_packages(&mut self, host: &str, seed: &HostSeed) -> Result<(), Failure> {
        for (name, version) in &seed.packages {
            let wanted = PackageVersion { name: name.clone(), version: version.clone() };
            self.unpack(host, &wanted, Package::default(), ChangedConfiguration::Keep, &mut Vec::new())?;
            let key = keys::package(host, name);
            let mut package: Package = self.tx.get(&key)?.unwrap_or_default();
            package.broken = false;
            package.held = seed.held.contains(name);
            self.tx.set(&key, &package)?;
        }
        for name in seed.held.iter().filter(|name| !seed.packages.contains_key(*name)) {
            self.set_held(host, std::slice::from_ref(name), true)?;
        }
        Ok(())
    }

    fn bear_units(&mut self, host: &str, seed: &HostSeed) -> Result<(), Failure> {
        for (name, unit) in &seed.units {
            for (drop_in, text) in &unit.drop_ins {
                let path = format!("/etc/systemd/system/{name}.d/{drop_in}");
                let content = self.blobs.keep(text.clone().into_bytes())?;
                self.put(host, &path, &Entry::file(content, self.now))?;
            }
            let mut known = self.unit(host, name)?.unwrap_or_else(|| Unit::new(None, true));
            if let Some(enabled) = unit.enabled {
                known.enabled = enabled;
            }
            if let Some(active) = &unit.active {
                known.active.clone_from(active);
            }
            self.tx.set(&keys::unit(host, name), &known)?;
        }
        for (name, mut unit) in self.tx.list::<Unit>(&keys::unit(host, ""))? {
            let said = seed.units.get(&name).and_then(|unit| unit.active.as_deref());
            if said.is_none() && unit.enabled {
                unit.active = "active".to_owned();
            }
            unit.stale = false;
            unit.since = Some(self.now);
            if unit.is_active() {
                unit.starts = 1;
                if let Some(package) = &unit.package {
                    let installed = self.installed(host, package)?.unwrap_or_default();
                    unit.version = version::upstream(&installed).to_owned();
                }
            }
            self.tx.set(&keys::unit(host, &name), &unit)?;
        }
        Ok(())
    }

    fn bear_cluster(&mut self, cluster: &str, seed: &ClusterSeed) -> Result<(), Failure> {
        let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"].map(str::to_owned);
        for name in namespaces.iter().chain(&seed.namespaces) {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.put_whole(cluster, namespace)?;
        }
        for (pattern, node) in &seed.nodes {
            for (name, node) in expand(self, pattern, node)? {
                self.bear_node(cluster, &name, &node)?;
            }
        }
        let managers: &IndexMap<String, String> = &seed.managers;
        for object in &seed.objects {
            let pattern = name_of(object).to_owned();
            for (name, mut object) in expand(self, &pattern, object)? {
                set(&mut object, "/metadata/name", name.as_str().into());
                let known = title(&kind_of(&object), namespace_of(&object), &name);
                let manager = managers.get(&known).map_or("kubectl", String::as_str);
                let status = object.get("status").cloned();
                let mut owned = Self::owned_object(&object, manager);
                if let Some(status) = status {
                    set(&mut owned, "/status", status);
                }
                self.put_whole(cluster, owned)?;
            }
        }
        Ok(())
    }

    fn bear_node(&mut self, cluster: &str, name: &str, seed: &NodeSeed) -> Result<(), Failure> {
        let host_name = seed.host.clone().unwrap_or_else(|| name.to_owned());
        let Some(mut host) = self.host(&host_name)? else {
            return Err(failure::invalid(name, format!("node {name} is host {host_name:?}, which is not there")));
        };
        let address = seed.internal_ip.clone().unwrap_or_else(|| host.address.clone());
        host.node = Some(name.to_owned());
        host.cluster = Some(cluster.to_owned());
        self.tx.set(&keys::host(&host_name), &host)?;
        self.tx.set(&keys::address(&address), &host_name)?;
        self.tx.set(&keys::node_host(cluster, name), &host_name)?;
        let mut allocatable = Map::new();
        for (resource, default) in [("cpu", "4"), ("memory", "8Gi"), ("pods", "110")] {
            let value = seed.allocatable.get(resource).map_or(default, String::as_str);
            allocatable.insert(resource.to_owned(), value.into());
        }
        let mut node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            }},
            "spec": {},
            "status": {
                "allocatable": allocatable,
                "capacity": allocatable,
                "addresses": [
                    {"type": "InternalIP", "address": address},
                    {"type": "Hostname", "address": name},
                ],
                "conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusNeverUpdated"}],
                "nodeInfo": {
                    "osImage": format!("{} {}", host.os, host.os_version),
                    "kernelVersion": host.kernel,
                    "architecture": "amd64",
                    "operatingSystem": "linux",
                },
            },
        });
        for (label, value) in &seed.labels {
            set(&mut node, &format!("/metadata/labels/{}", label.replace('/', "~1")), value.as_str().into());
        }
        for (annotation, value) in &seed.annotations {
            set(&mut node, &format!("/metadata/annotations/{}", annotation.replace('/', "~1")), value.as_str().into());
        }
        if !seed.taints.is_empty() {
            set(&mut node, "/spec/taints", seed.taints.clone().into());
        }
        if seed.unschedulable {
            set(&mut node, "/spec/unschedulable", true.into());
        }
        if let Some(range) = &seed.pod_cidr {
            set(&mut node, "/spec/podCIDR", range.as_str().into());
            set(&mut node, "/spec/podCIDRs", json!([range]));
        }
        self.put_whole(cluster, node)?;
        Ok(())
    }
}
