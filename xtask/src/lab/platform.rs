//! The platform on the hosts: packages from the lab's repository, etcd, the control plane, the nodes. Each stage of a
//! host is done once; what an operator or runner changed since then stays.

use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::certificates::{Authority, kubelet};
use super::command::{output, side_by_side, until};
use super::files::Files;
use super::hosts::Hosts;
use super::needs::API_PORT;
use super::parts::Parts;
use super::release::Releases;
use super::site::{Host, POD_NETWORK, Role, SERVICE_NETWORK, Site};
use super::texts::fill;

/// Reads a file of tests/lab/platform.
macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("../../../tests/lab/platform/", $name))
    };
}

/// Where certificates and keys are on a host.
const PKI: &str = "/etc/kubernetes/pki";
/// Packages of the control plane and their units.
const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// How long a member, the API server or a node may take, in seconds. The machine may be busy with something else too.
const PATIENCE: u64 = 180;

/// What the platform is made with.
pub(crate) struct Platform<'a> {
    pub(crate) hosts: &'a Hosts<'a>,
    pub(crate) parts: &'a Parts,
    pub(crate) releases: &'a Releases,
    pub(crate) authority: &'a Authority,
}

impl Platform<'_> {
    fn site(&self) -> &Site {
        self.hosts.site
    }

    /// Installs every host's packages at the first release.
    pub(crate) fn packages(&self) -> Result<()> {
        side_by_side(&self.site().hosts(), |host| {
            self.hosts.once(host, "packages", || {
                let mut packages = Vec::new();
                if host.member {
                    packages.extend(self.releases.first("etcd", &["etcd-server", "etcd-client"])?);
                }
                match host.role {
                    Role::Master => {
                        packages.extend(self.releases.first("kubernetes", &CONTROL_PLANE)?);
                    }
                    Role::Node => {
                        packages.extend(self.releases.first("kubernetes", &["kubelet", "kube-proxy"])?);
                        packages.extend(self.releases.first("docker", &["docker.io", "containerd"])?);
                    }
                }
                packages.extend(self.releases.first("kubernetes", &["kubectl"])?);
                let script = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update >/dev/null; \
                              apt-get -q -y install --no-install-recommends \"$@\" >/dev/null";
                let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
                self.hosts.script(host, script, &packages, &[])?;
                Ok(())
            })
        })
    }

    /// Brings up etcd on its members.
    pub(crate) fn etcd(&self) -> Result<()> {
        let members = self.site().members();
        let cluster: Vec<String> =
            members.iter().map(|member| format!("{}=http://{}:2380", member.name, member.internal)).collect();
        let cluster = cluster.join(",");
        side_by_side(&members, |host| {
            self.hosts.once(host, "etcd", || {
                let address = host.internal.to_string();
                let values = [("NAME", host.name.as_str()), ("ADDRESS", &address), ("CLUSTER", &cluster)];
                let mut files = Files::new()?;
                files.add("/etc/etcd/etcd.conf.yml", 0o644, fill(text!("etcd.conf.yml"), &values)?)?;
                self.hosts.put(host, files)
            })?;
            // A first start waits for the other members.
            self.hosts.run(host, &["systemctl", "start", "--no-block", "etcd.service"])?;
            Ok(())
        })?;
        side_by_side(&members, |host| {
            until(&format!("etcd on {}", host.name), PATIENCE, || {
                self.hosts.run(host, &["etcdctl", "endpoint", "health", "--cluster"])
            })?;
            Ok(())
        })
    }

    /// Brings up the control plane.
    pub(crate) fn control_plane(&self) -> Result<()> {
        let master = self.site().master();
        self.hosts.once(&master, "control-plane", || {
            self.hosts.put(&master, self.files_of_master(&master)?)?;
            // The packages may have been started by hand before; what they read is new.
            let units = CONTROL_PLANE.map(|name| format!("{name}.service"));
            let words: Vec<&str> =
                ["systemctl", "restart"].into_iter().chain(units.iter().map(String::as_str)).collect();
            self.hosts.run(&master, &words)?;
            Ok(())
        })?;
        self.start(&master, &CONTROL_PLANE)?;
        until("the API server", PATIENCE, || self.kubectl(&["get", "--raw", "/readyz"]))?;
        Ok(())
    }

    fn files_of_master(&self, master: &Host) -> Result<Files> {
        let mut files = Files::new()?;
        self.certificates(&mut files, &["ca.crt", "ca.key", "sa.key"])?;
        for name in ["apiserver", "apiserver-kubelet-client", "admin", "controller-manager", "scheduler"] {
            self.certificates(&mut files, &[&format!("{name}.crt"), &format!("{name}.key")])?;
        }
        for user in ["admin", "controller-manager", "scheduler"] {
            self.kubeconfig(&mut files, user)?;
        }
        let address = master.internal.to_string();
        let members = self.site().members();
        let etcd: Vec<String> = members.iter().map(|member| format!("http://{}:2379", member.internal)).collect();
        let etcd = etcd.join(",");
        let values =
            [("ADDRESS", address.as_str()), ("ETCD", &etcd), ("PODS", POD_NETWORK), ("SERVICES", SERVICE_NETWORK)];
        for (name, text) in [
            ("kube-apiserver", text!("kube-apiserver")),
            ("kube-controller-manager", text!("kube-controller-manager")),
            ("kube-scheduler", text!("kube-scheduler")),
        ] {
            files.add(&format!("/etc/default/{name}"), 0o644, fill(text, &values)?)?;
        }
        Ok(files)
    }

    /// Brings up the nodes: Docker, containerd with all images, kubelet, kube-proxy.
    pub(crate) fn nodes(&self) -> Result<()> {
        let nodes = self.site().workers();
        side_by_side(&nodes, |host| {
            self.hosts.once(host, "node", || {
                self.hosts.put(host, self.files_of_node(host)?)?;
                let script = "mkdir -p /opt/cni/bin; cp -n /usr/lib/cni/* /opt/cni/bin; \
                              systemctl restart containerd.service docker.service";
                self.hosts.script(host, script, &[], &[])?;
                Ok(())
            })?;
            self.start(host, &["containerd", "docker"])?;
            self.images(host)?;
            self.start(host, &["kubelet", "kube-proxy"])
        })?;
        for node in &nodes {
            let name = format!("node/{}", node.name);
            until(&format!("node {}", node.name), PATIENCE, || self.kubectl(&["get", &name]))?;
        }
        Ok(())
    }

    fn files_of_node(&self, host: &Host) -> Result<Files> {
        let mut files = Files::new()?;
        self.certificates(&mut files, &["ca.crt", "kube-proxy.crt", "kube-proxy.key"])?;
        let own = kubelet(host);
        for (kind, mode) in [("crt", 0o644), ("key", 0o600)] {
            files.add(&format!("{PKI}/kubelet.{kind}"), mode, self.authority.read(&format!("{own}.{kind}"))?)?;
        }
        for user in ["kubelet", "kube-proxy"] {
            self.kubeconfig(&mut files, user)?;
        }
        let address = host.internal.to_string();
        let values = [("NAME", host.name.as_str()), ("ADDRESS", &address), ("PODS", POD_NETWORK)];
        files.add("/etc/default/kubelet", 0o644, fill(text!("kubelet"), &values)?)?;
        files.add("/etc/default/kube-proxy", 0o644, fill(text!("kube-proxy"), &values)?)?;
        files.add("/var/lib/kubelet/config.yaml", 0o644, text!("kubelet.yaml"))?;
        files.add("/etc/containerd/config.toml", 0o644, text!("containerd.toml"))?;
        files.add("/etc/docker/daemon.json", 0o644, text!("daemon.json"))?;
        Ok(files)
    }

    /// Gives a node's containerd the images that it does not have: no registry is reachable.
    fn images(&self, host: &Host) -> Result<()> {
        let containerd = ["ctr", "--namespace", "k8s.io", "images"];
        let have = self.hosts.run(host, &[&containerd[..], &["ls", "--quiet"]].concat())?;
        for (name, file) in &self.parts.images {
            if have.lines().any(|line| line == *name) {
                continue;
            }
            let archive = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut command = self.hosts.command(host, &[&containerd[..], &["import", "-"]].concat());
            let ended = command.stdin(archive).output().context("cannot run docker")?;
            if !ended.status.success() {
                bail!("host {}: image {name}: {}", host.name, String::from_utf8_lossy(&ended.stderr));
            }
        }
        Ok(())
    }

    /// Starts units of a host that do not run.
    fn start(&self, host: &Host, names: &[&str]) -> Result<()> {
        let units: Vec<String> = names.iter().map(|name| format!("{name}.service")).collect();
        let words: Vec<&str> = ["systemctl", "start"].into_iter().chain(units.iter().map(String::as_str)).collect();
        self.hosts.run(host, &words).map(drop).map_err(|error| {
            let mut words = vec!["journalctl", "--no-pager", "--lines=20", "--output=cat"];
            words.extend(units.iter().flat_map(|unit| ["--unit", unit.as_str()]));
            let said = self.hosts.run(host, &words).unwrap_or_default();
            error.context(said)
        })
    }

    fn certificates(&self, files: &mut Files, names: &[&str]) -> Result<()> {
        for name in names {
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            files.add(&format!("{PKI}/{name}"), mode, self.authority.read(name)?)?;
        }
        Ok(())
    }

    fn kubeconfig(&self, files: &mut Files, user: &str) -> Result<()> {
        let server = format!("https://{}:{API_PORT}", self.site().master().internal);
        let text = fill(text!("kubeconfig"), &[("USER", user), ("SERVER", &server), ("PKI", PKI)])?;
        files.add(&format!("/etc/kubernetes/{user}.conf"), 0o600, text)
    }

    /// Standard output of kubectl on this machine.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.parts.kubectl);
        command.arg("--kubeconfig").arg(self.site().out().join("kubeconfig"));
        output(command.args(arguments))
    }
}

/// The kubeconfig of this machine.
pub(crate) fn kubeconfig(site: &Site, authority: &Authority) -> Result<String> {
    let server = format!("https://{}:{API_PORT}", site.master().address);
    let pki = authority.directory().display().to_string();
    fill(text!("kubeconfig"), &[("USER", "admin"), ("SERVER", &server), ("PKI", &pki)])
}
