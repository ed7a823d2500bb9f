//! Which hosts a lab has, how they are named and addressed, and where the lab keeps its things.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// Where a lab is kept unless `RUNNER_LAB_DIR` says otherwise.
const DIRECTORY: &str = "/var/lib/runner-lab";
/// Nodes of a lab unless asked for more.
const NODES: u8 = 2;
/// Nodes beyond which host addresses would run out of the loopback range that is taken.
const MOST_NODES: u8 = 50;
/// Hosts that hold a member of etcd: the first ones.
const MEMBERS: usize = 3;
/// The first two numbers of the hosts' addresses among themselves.
const NETWORK: [u8; 2] = [172, 30];
/// The first two numbers of the addresses where they are reached from this machine.
const LOOPBACK: [u8; 2] = [127, 0];
/// The third number of both, unless another lab has it.
const RANGE: u8 = 10;

/// Addresses of Pods.
pub(crate) const POD_NETWORK: &str = "10.244.0.0/16";
/// Addresses of Services.
pub(crate) const SERVICE_NETWORK: &str = "10.96.0.0/12";
/// Host name under which the ingress serves the canary.
pub(crate) const CANARY: &str = "shop.example.com";
/// Where the volumes that all hosts share are on each of them, as on a site with a file server.
pub(crate) const VOLUMES: &str = "/var/lib/runner-volumes";
/// The volume of Prometheus within it.
pub(crate) const METRICS_VOLUME: &str = "fj-esdp-system-prometheus-volume";

/// A lab: its hosts and its directory.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    directory: PathBuf,
    prefix: String,
    nodes: u8,
    range: u8,
    ssh_port: u16,
}

/// What of a lab can be chosen. What is left out is as it is, or as in the demo.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// How many nodes it has [a new lab: 2].
    #[arg(long)]
    nodes: Option<u8>,
    /// What host names begin with, such as east for east-node-1 [a new lab: nothing].
    #[arg(long)]
    prefix: Option<String>,
    /// Third number of its addresses, 127.0.RANGE.x and 172.30.RANGE.x, for labs side by side [a new lab: 10].
    #[arg(long)]
    range: Option<u8>,
}

/// What a host of the lab does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It runs the control plane.
    Master,
    /// It runs Pods.
    Node,
}

/// A host of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Whether it holds a member of etcd.
    pub(crate) member: bool,
    /// Where this machine reaches it.
    pub(crate) address: Ipv4Addr,
    /// Where other hosts reach it.
    pub(crate) internal: Ipv4Addr,
}

impl Site {
    /// The lab as it was set up, if there is one; else the one that is chosen. Refused when there is one and another is
    /// chosen.
    pub(crate) fn wanted(choice: &Choice) -> Result<Self> {
        let Choice { nodes, prefix, range } = choice;
        let Some(found) = Self::found()? else {
            let site = Self {
                directory: directory(),
                prefix: prefix.clone().unwrap_or_default(),
                nodes: nodes.unwrap_or(NODES),
                range: range.unwrap_or(RANGE),
                ssh_port: 0,
            };
            site.check()?;
            let ssh_port = super::needs::free_ssh_port(&site)?;
            return Ok(Self { ssh_port, ..site });
        };
        let same = nodes.is_none_or(|nodes| nodes == found.nodes)
            && prefix.as_ref().is_none_or(|prefix| *prefix == found.prefix)
            && range.is_none_or(|range| range == found.range);
        ensure!(
            same,
            "the lab in {} is another one ({}, at {}): `cargo xtask lab down` removes it first",
            found.directory.display(),
            found.names().join(", "),
            found.network()
        );
        Ok(found)
    }

    /// The lab as it was set up, if there is one.
    pub(crate) fn found() -> Result<Option<Self>> {
        let directory = directory();
        let file = directory.join("site.json");
        if !file.exists() {
            return Ok(None);
        }
        let read = || -> Result<Self> {
            let value: Value = serde_json::from_slice(&fs::read(&file)?)?;
            let number = |name: &str| value.get(name).and_then(Value::as_u64).with_context(|| format!("no {name}"));
            let prefix = value.get("prefix").and_then(Value::as_str).context("no prefix")?;
            let site = Self {
                directory: directory.clone(),
                prefix: prefix.to_owned(),
                nodes: u8::try_from(number("nodes")?)?,
                range: u8::try_from(number("range")?)?,
                ssh_port: u16::try_from(number("ssh-port")?)?,
            };
            site.check()?;
            Ok(site)
        };
        let site = read().with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(site))
    }

    /// A lab of which only the directory is known: enough to remove it.
    pub(crate) fn unknown() -> Self {
        Self { directory: directory(), prefix: String::new(), nodes: NODES, range: RANGE, ssh_port: 0 }
    }

    /// The lab as it was set up; an error says how to get one.
    pub(crate) fn present() -> Result<Self> {
        Self::found()?
            .with_context(|| format!("there is no lab in {}: `cargo xtask lab up` makes one", directory().display()))
    }

    /// Remembers the hosts.
    pub(crate) fn save(&self) -> Result<()> {
        let value = json!({
            "nodes": self.nodes, "prefix": self.prefix, "range": self.range, "ssh-port": self.ssh_port,
        });
        write(&self.directory.join("site.json"), format!("{value:#}\n"))
    }

    fn check(&self) -> Result<()> {
        ensure!((2..=MOST_NODES).contains(&self.nodes), "a lab has from 2 to {MOST_NODES} nodes, not {}", self.nodes);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !self.prefix.bytes().all(plain) || self.prefix.starts_with('-') || self.prefix.len() > 40 {
            bail!("`{}` cannot begin a host name: lower-case letters, digits and `-` can", self.prefix);
        }
        Ok(())
    }

    /// All hosts, the master first.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        (0..=self.nodes)
            .map(|index| {
                let [a, b] = LOOPBACK;
                let [x, y] = NETWORK;
                Host {
                    name: if index == 0 {
                        self.host_name("master-1")
                    } else {
                        self.host_name(&format!("node-{index}"))
                    },
                    role: if index == 0 { Role::Master } else { Role::Node },
                    member: usize::from(index) < MEMBERS,
                    address: Ipv4Addr::new(a, b, self.range, index + 1),
                    internal: Ipv4Addr::new(x, y, self.range, index + 11),
                }
            })
            .collect()
    }

    /// Names of all hosts, the master's first.
    pub(crate) fn names(&self) -> Vec<String> {
        self.hosts().into_iter().map(|host| host.name).collect()
    }

    /// The host with the control plane.
    pub(crate) fn master(&self) -> Host {
        self.hosts().swap_remove(0)
    }

    /// The hosts that run Pods.
    pub(crate) fn workers(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.role == Role::Node).collect()
    }

    /// The hosts with etcd.
    pub(crate) fn members(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.member).collect()
    }

    fn host_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}-{name}", self.prefix) }
    }

    /// The hosts' network with its length.
    pub(crate) fn network(&self) -> String {
        let [x, y] = NETWORK;
        format!("{x}.{y}.{}.0/24", self.range)
    }

    /// This machine within that network.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        let [x, y] = NETWORK;
        Ipv4Addr::new(x, y, self.range, 1)
    }

    /// Port of the hosts' SSH servers on this machine.
    pub(crate) fn ssh_port(&self) -> u16 {
        self.ssh_port
    }

    /// The lab's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What `runner` and people use of the lab.
    pub(crate) fn out(&self) -> PathBuf {
        self.directory.join("out")
    }

    /// Keys and certificates.
    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.join("keys")
    }

    /// The lab's own files of a host, which it sees as /opt/lab.
    pub(crate) fn host_directory(&self, host: &Host) -> PathBuf {
        self.directory.join("hosts").join(&host.name)
    }

    /// The volumes that all hosts share.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.directory.join("volumes")
    }
}

fn directory() -> PathBuf {
    let chosen = env::var_os("RUNNER_LAB_DIR").map_or_else(|| DIRECTORY.into(), PathBuf::from);
    std::path::absolute(&chosen).unwrap_or(chosen)
}

/// Writes a file and the directories above it, in one move, so that one cut short leaves nothing half.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let work = || -> std::io::Result<()> {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = parent.join(name);
        fs::write(&new, content)?;
        fs::rename(new, path)
    };
    work().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(nodes: u8, prefix: &str) -> Site {
        Site { directory: "/nowhere".into(), prefix: prefix.to_owned(), nodes, range: RANGE, ssh_port: 22 }
    }

    #[test]
    fn hosts_are_named_and_addressed_in_order() {
        let hosts = site(3, "").hosts();
        let seen: Vec<_> = hosts
            .iter()
            .map(|host| (host.name.as_str(), host.address.to_string(), host.internal.to_string()))
            .collect();
        assert_eq!(seen[0], ("master-1", "127.0.10.1".into(), "172.30.10.11".into()));
        assert_eq!(seen[3], ("node-3", "127.0.10.4".into(), "172.30.10.14".into()));
        let members: Vec<bool> = hosts.iter().map(|host| host.member).collect();
        assert_eq!(members, [true, true, true, false]);
        assert_eq!(site(2, "east").names(), ["east-master-1", "east-node-1", "east-node-2"]);
    }

    #[test]
    fn what_no_lab_can_have_is_refused() {
        assert!(site(2, "").check().is_ok());
        for (nodes, prefix) in [(1, ""), (51, ""), (2, "-a"), (2, "A"), (2, "a.b")] {
            assert!(site(nodes, prefix).check().is_err(), "{nodes} {prefix}");
        }
    }
}
