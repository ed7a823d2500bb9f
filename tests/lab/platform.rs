//! The lab, asked by its own means.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runner_tests::{Ended, Invocation};
use serde::Deserialize;
use serde_json::Value;

/// What `cargo xtask lab up` wrote about the lab.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Facts {
    hosts: BTreeMap<String, Host>,
    canary: Canary,
    volume: Volume,
    prometheus: Prometheus,
    users: BTreeMap<String, User>,
}

/// Somebody who may log in on every host.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    /// File with the password that sudo asks for; none: it does not ask.
    password_file: Option<PathBuf>,
}

/// A host of the lab.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Host {
    /// Loopback address on which its ports are published.
    pub(crate) address: String,
    /// Its address within the lab.
    pub(crate) internal_ip: String,
    /// `master`, `node`, `etcd`.
    pub(crate) roles: Vec<String>,
}

/// The application that must not lose a request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Canary {
    /// Host name of its Ingress.
    pub(crate) host: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its Deployment.
    pub(crate) name: String,
}

/// The Persistent Volume of Prometheus.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Volume {
    /// Host on which it lies.
    pub(crate) host: String,
    /// Its directory there.
    pub(crate) path: String,
}

/// Where Prometheus is reached.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Prometheus {
    /// From this host,
    pub(crate) host: String,
    /// by this URL.
    pub(crate) url: String,
}

/// The lab, up and running.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    out: PathBuf,
    facts: Facts,
    releases: Value,
}

impl Lab {
    /// The lab that the environment names.
    pub(crate) fn find() -> Result<Option<Self>> {
        let Some(directory) = std::env::var_os("RUNNER_LAB") else { return Ok(None) };
        let out = Path::new(&directory).join("out");
        let read = |name: &str| -> Result<Value> {
            let path = out.join(name);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not what it should be", path.display()))
        };
        let facts = serde_json::from_value(read("lab.json")?).context("lab.json is not what it should be")?;
        Ok(Some(Self { facts, releases: read("releases.json")?, out }))
    }

    /// A file that `lab up` wrote.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// Names of the hosts with a role.
    pub(crate) fn with(&self, role: &str) -> Vec<&str> {
        let has = |(_, host): &(&String, &Host)| host.roles.iter().any(|one| one == role);
        self.facts.hosts.iter().filter(has).map(|(name, _)| name.as_str()).collect()
    }

    /// A host by its name.
    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        self.facts.hosts.get(name).with_context(|| format!("the lab has no host {name}"))
    }

    /// The node with this address within the lab.
    pub(crate) fn node_at(&self, internal_ip: &str) -> Result<&str> {
        let found = self.facts.hosts.iter().find(|(_, host)| host.internal_ip == internal_ip);
        Ok(found.with_context(|| format!("no host has the address {internal_ip}"))?.0)
    }

    /// The application that must not lose a request.
    pub(crate) fn canary(&self) -> &Canary {
        &self.facts.canary
    }

    /// The Persistent Volume of Prometheus.
    pub(crate) fn volume(&self) -> &Volume {
        &self.facts.volume
    }

    /// The versions of a component in a release, by part.
    pub(crate) fn versions(&self, release: &str, component: &str) -> Result<BTreeMap<String, String>> {
        let versions = &self.releases["releases"][release][component]["versions"];
        serde_json::from_value(versions.clone()).with_context(|| format!("no versions of {component} in {release}"))
    }

    /// File with the password for sudo of a user.
    pub(crate) fn password_file(&self, user: &str) -> Result<&Path> {
        let found = self.facts.users.get(user).and_then(|user| user.password_file.as_deref());
        found.with_context(|| format!("the lab has no password of {user}"))
    }

    /// A call of `runner` on the lab.
    pub(crate) fn runner(&self, state: &Path, arguments: &[&str]) -> Invocation {
        self.runner_by(&self.path("inventory.json"), state, arguments)
    }

    /// A call of `runner` on the lab, by another inventory.
    pub(crate) fn runner_by(&self, inventory: &Path, state: &Path, arguments: &[&str]) -> Invocation {
        let mut files = vec!["--inventory".into(), inventory.as_os_str().to_owned()];
        for (option, name) in [("--policy", "policy.json"), ("--releases", "releases.json")] {
            files.push(option.into());
            files.push(self.path(name).into_os_string());
        }
        Invocation::new(arguments.iter().copied()).args(files).env("RUNNER_STATE_DIR", state)
    }

    /// What `runner check` says, by an inventory.
    pub(crate) fn check(&self, inventory: &Path) -> Result<Ended> {
        Invocation::new(["check", "--inventory"]).args([inventory.as_os_str().to_owned()]).run()
    }

    /// The lab's inventory, changed, as a file in a folder.
    pub(crate) fn inventory(&self, folder: &Path, change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        let mut inventory = serde_json::from_str(&fs::read_to_string(self.path("inventory.json"))?)?;
        change(&mut inventory);
        let path = folder.join("inventory.json");
        fs::write(&path, inventory.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A shipped workflow on the lab, with values of `-e`.
    pub(crate) fn workflow(&self, state: &Path, workflow: &str, extras: &[&str]) -> Invocation {
        let values = extras.iter().flat_map(|extra| ["-e", extra]);
        let file = format!("workflows/{workflow}.json");
        self.runner(state, &["run", &file]).args(values)
    }

    /// Standard output of a shell's text on a host, as root.
    pub(crate) fn on(&self, host: &str, text: &str) -> Result<String> {
        let config = self.path("ssh_config");
        let mut command = Command::new("ssh");
        command.arg("-F").arg(config).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host]);
        command.arg(format!("sudo -n sh -c {}", quoted(text)));
        said(&mut command).with_context(|| format!("on {host}: {text}"))
    }

    /// Standard output of `kubectl`.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.path("bin/kubectl"));
        said(command.arg("--kubeconfig").arg(self.path("kubeconfig")).args(arguments))
    }

    /// Objects by `kubectl get`.
    pub(crate) fn objects(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl did not answer with JSON")
    }

    /// Answer of Prometheus to a query, at a moment (Unix seconds) if one is given: its result.
    pub(crate) fn prometheus(&self, query: &str, at: Option<u64>) -> Result<Value> {
        let Prometheus { host, url } = &self.facts.prometheus;
        let time = at.map_or_else(String::new, |time| format!("--data-urlencode time={time}"));
        let text = self.on(
            host,
            &format!(
                "curl --silent --show-error --max-time 10 --get {time} --data-urlencode {} {url}/api/v1/query",
                quoted(&format!("query={query}"))
            ),
        )?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("Prometheus said {text:?}"))?;
        ensure!(answer["status"] == "success", "Prometheus said {text}");
        Ok(answer["data"]["result"].clone())
    }

    /// Asks until something is so, or `patience` is over; the last error then.
    pub(crate) fn until<T>(&self, patience: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) if begun.elapsed() > patience => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// That the whole platform is at a release and well, told by apt, systemctl, docker, etcdctl, kubectl and HTTP.
    pub(crate) fn is_at(&self, release: &str) -> Result<()> {
        for (component, role) in [("etcd", "etcd"), ("docker", "node")] {
            for host in self.with(role) {
                self.packages_are(host, &self.versions(release, component)?)?;
            }
        }
        let kubernetes = self.versions(release, "kubernetes")?;
        let of = |parts: &[&str]| {
            kubernetes
                .clone()
                .into_iter()
                .filter(|(part, _)| parts.contains(&part.as_str()))
                .collect::<BTreeMap<_, _>>()
        };
        for (role, parts) in [
            ("master", &["kube-apiserver", "kube-controller-manager", "kube-scheduler"][..]),
            ("node", &["kubelet", "kube-proxy"][..]),
        ] {
            for host in self.with(role) {
                self.packages_are(host, &of(parts))?;
                let units: Vec<String> = parts.iter().map(|part| format!("{part}.service")).collect();
                self.units_run(host, &units)?;
            }
        }
        for host in self.with("node") {
            self.units_run(host, &["docker.service".into(), "containerd.service".into()])?;
            let engine = self.on(host, "docker version --format '{{.Server.Version}}'")?;
            let wanted = self.versions(release, "docker")?.get("docker.io").cloned().unwrap_or_default();
            ensure!(wanted.starts_with(engine.trim()), "docker on {host} is {engine:?} and not {wanted}");
        }
        for host in self.with("etcd") {
            self.units_run(host, &["etcd.service".into()])?;
        }
        self.etcd_is(&self.versions(release, "etcd")?)?;
        self.nodes_are(kubernetes.get("kubelet").context("no kubelet")?)?;
        self.images_are(release)
    }

    fn packages_are(&self, host: &str, wanted: &BTreeMap<String, String>) -> Result<()> {
        for (package, version) in wanted {
            let found = self
                .on(host, &format!("dpkg-query --show --showformat '${{db:Status-Status}} ${{Version}}' {package}"))?;
            ensure!(found == format!("installed {version}"), "{package} on {host} is {found:?} and not {version}");
        }
        Ok(())
    }

    fn units_run(&self, host: &str, units: &[String]) -> Result<()> {
        for unit in units {
            let found = self.on(host, &format!("systemctl is-active {unit} || true"))?;
            ensure!(found.trim() == "active", "{unit} on {host} is {}", found.trim());
        }
        Ok(())
    }

    fn etcd_is(&self, versions: &BTreeMap<String, String>) -> Result<()> {
        let wanted = versions.get("etcd-server").context("no version of etcd-server")?;
        for host in self.with("etcd") {
            let status = self.on(host, "etcdctl endpoint status --write-out=json")?;
            let status: Value = serde_json::from_str(&status)?;
            let found = status[0]["Status"]["version"].as_str().unwrap_or_default();
            ensure!(!found.is_empty() && wanted.starts_with(found), "etcd on {host} is {found:?} and not {wanted}");
            self.on(host, "etcdctl endpoint health")?;
        }
        Ok(())
    }

    fn nodes_are(&self, version: &str) -> Result<()> {
        let wanted = format!("v{}", version.split('-').next().unwrap_or_default());
        let nodes = self.objects(&["nodes"])?;
        let nodes = nodes["items"].as_array().context("no list of nodes")?;
        ensure!(nodes.len() == self.with("node").len(), "there are {} nodes", nodes.len());
        for node in nodes {
            let name = &node["metadata"]["name"];
            let found = &node["status"]["nodeInfo"]["kubeletVersion"];
            ensure!(found == wanted.as_str(), "the kubelet of {name} is {found} and not {wanted}");
            ensure!(node["spec"]["unschedulable"].is_null(), "{name} is cordoned");
            let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
            let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            ensure!(ready, "{name} is not ready");
        }
        Ok(())
    }

    /// That flannel, Traefik and Prometheus run the release's images, all Pods of them ready.
    fn images_are(&self, release: &str) -> Result<()> {
        for (component, kind, namespace, name, part) in [
            ("flannel", "daemonset", "kube-flannel", "kube-flannel-ds", "flannel"),
            ("ingress", "daemonset", "traefik", "traefik", "traefik"),
            ("metrics", "statefulset", "monitoring", "prometheus", "prometheus"),
        ] {
            let wanted = &self.releases["releases"][release][component]["images"][part];
            let object = self.objects(&[kind, "--namespace", namespace, name])?;
            let containers = object["spec"]["template"]["spec"]["containers"].as_array().context("no containers")?;
            let found: Vec<&Value> = containers.iter().map(|container| &container["image"]).collect();
            ensure!(found.contains(&wanted), "{namespace}/{name} runs {found:?} and not {wanted}");
            self.kubectl(&[
                "rollout",
                "status",
                "--timeout=120s",
                "--namespace",
                namespace,
                &format!("{kind}/{name}"),
            ])?;
        }
        let canary = self.canary();
        let deployment = format!("deployment/{}", canary.name);
        self.kubectl(&["rollout", "status", "--timeout=120s", "--namespace", &canary.namespace, &deployment])?;
        Ok(())
    }
}

/// What the recap says of a host.
pub(crate) fn recap<'e>(ended: &'e Ended, host: &str) -> Result<&'e str> {
    let mut lines = ended.stderr.lines();
    let line = lines.find(|line| line.starts_with(&format!("{host} ")) && line.contains("unreachable="));
    line.with_context(|| format!("no recap of {host} in\n{}", ended.stderr))
}

/// Standard output of a command that succeeds.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?} ended with {}: {}", command.get_program(), output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("no text")
}

/// One word of a shell's command.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
