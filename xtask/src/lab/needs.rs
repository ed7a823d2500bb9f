//! What a machine must have to host a lab, looked at before anything is changed.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::command::output;
use super::progress::Progress;
use super::site::{Role, Site};

/// Free disk space that three hosts with their images take, with room to work, in GiB. Building parts takes more, which
/// is looked at where they are built.
const DISK: u64 = 8;
/// Memory that three hosts take, with room to build their parts, in GiB.
const MEMORY: u64 = 4;
/// Port of the hosts' SSH servers, and the one where this machine's own server listens everywhere.
const SSH_PORTS: [u16; 2] = [22, 2222];
/// Port of the ingress on each node.
pub(crate) const INGRESS_PORT: u16 = 80;
/// Port of the API server on the master.
pub(crate) const API_PORT: u16 = 6443;

/// Where the kernel says how many things of a user may watch files.
const MOST_WATCHES: &str = "/proc/sys/fs/inotify/max_user_instances";
/// How many a host has, with room for Pods.
const WATCHES: usize = 24;
/// How many this machine itself may have.
const OTHER_WATCHES: usize = 128;

/// Programs that are used, each with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("dockerd", "docker.io"),
    ("docker", "docker-cli"),
    ("debootstrap", "debootstrap"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("ssh", "openssh-client"),
    ("gcc", "gcc"),
];

/// Why this machine can host no lab; empty: it can.
pub(crate) fn obstacles() -> Vec<String> {
    let mut found = Vec::new();
    if fs::metadata("/proc/self").map(|process| process.uid()).ok() != Some(0) {
        found.push("it needs root: its hosts are containers with systemd".to_owned());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| matches!(line, "ID=debian" | "ID=\"debian\"")) {
        found.push("it needs Debian: its engine and hosts are made of Debian's packages".to_owned());
    }
    if cfg!(not(target_arch = "x86_64")) {
        found.push("it needs an x86-64 processor: its packages are built for that".to_owned());
    }
    if let Some(free) = free_disk().filter(|free| *free < DISK) {
        found.push(format!("it needs {DISK} GiB of disk space; {free} GiB are free"));
    }
    if let Some(memory) = memory().filter(|memory| *memory < MEMORY) {
        found.push(format!("it needs {MEMORY} GiB of memory; this machine has {memory} GiB"));
    }
    found
}

/// Says what is needed, fails where that cannot be had, and installs programs that are missing.
pub(crate) fn meet(progress: &Progress) -> Result<()> {
    progress.say(&format!(
        "a lab needs root, Debian on x86-64, {DISK} GiB of disk, {MEMORY} GiB of memory, and Go where its parts are not \
         cached yet"
    ));
    let obstacles = obstacles();
    if !obstacles.is_empty() {
        bail!("this machine cannot host a lab:\n  {}", obstacles.join("\n  "));
    }
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress.step(&format!("installing {} by apt", missing.join(", ")), || install(&missing))
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]);
        command
    };
    output(apt().arg("update"))?;
    // Older Debian has the client in the engine's package.
    let known = |package: &&&str| {
        **package != "docker-cli" || output(Command::new("apt-cache").args(["show", package])).is_ok()
    };
    output(apt().args(["install", "--no-install-recommends"]).args(packages.iter().filter(known)))?;
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(usual).any(|directory| directory.join(program).is_file())
}

/// Free GiB where labs are kept.
fn free_disk() -> Option<u64> {
    let text = output(Command::new("df").args(["--output=avail", "--block-size=1G", "/var/lib"])).ok()?;
    text.lines().nth(1)?.trim().parse().ok()
}

/// GiB of memory, rounded up: a machine sold with 4 GiB has a little less.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1 << 20))
}

/// The port on which the hosts' SSH servers can be published.
pub(crate) fn free_ssh_port(site: &Site) -> Result<u16> {
    let [usual, other] = SSH_PORTS;
    let free = |port: u16| site.hosts().iter().all(|host| taken(host.address, port).is_none());
    if free(usual) {
        return Ok(usual);
    }
    if free(other) {
        return Ok(other);
    }
    let holders = site.hosts().iter().find_map(|host| taken(host.address, other)).unwrap_or_default();
    bail!("ports {usual} and {other} of the lab's loopback addresses are taken: {holders}");
}

/// Fails when another process or network is where the lab will be.
pub(crate) fn room(site: &Site) -> Result<()> {
    let mut wanted = Vec::new();
    for host in site.hosts() {
        wanted.push((host.address, site.ssh_port()));
        wanted.push((host.address, if host.role == Role::Master { API_PORT } else { INGRESS_PORT }));
    }
    let conflicts: Vec<String> = wanted.into_iter().filter_map(|(address, port)| taken(address, port)).collect();
    if !conflicts.is_empty() {
        bail!("in the way of the lab:\n  {}", conflicts.join("\n  "));
    }
    let routes = output(Command::new("ip").args(["-4", "route", "show", "root"]).arg(site.network()))?;
    if let Some(route) = routes.lines().next() {
        bail!("in the way of the lab: its network {} has a route on this machine: {}", site.network(), route.trim());
    }
    Ok(())
}

/// Raises the number of things that may watch files where the hosts would not have enough: they are all root's, and the
/// kernel counts by user.
pub(crate) fn watches(site: &Site, progress: &Progress) -> Result<()> {
    let wanted = OTHER_WATCHES + WATCHES * site.hosts().len();
    let now: usize = fs::read_to_string(MOST_WATCHES).unwrap_or_default().trim().parse().unwrap_or(wanted);
    if now < wanted {
        progress.say(&format!("raising {MOST_WATCHES} from {now} to {wanted}: each host watches files"));
        fs::write(MOST_WATCHES, wanted.to_string()).with_context(|| format!("cannot write {MOST_WATCHES}"))?;
    }
    Ok(())
}

/// Who has a port; none: it is free.
fn taken(address: Ipv4Addr, port: u16) -> Option<String> {
    match TcpListener::bind(SocketAddrV4::new(address, port)) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let holder = holder(address, port).unwrap_or_else(|| "a process that cannot be named".to_owned());
            Some(format!("{address}:{port} is taken by {holder}"))
        }
        Err(error) => Some(format!("{address}:{port} cannot be had: {error}")),
    }
}

/// The process that listens on a port of an address, or of all of them.
fn holder(address: Ipv4Addr, port: u16) -> Option<String> {
    let text = output(Command::new("ss").args(["-H", "-l", "-t", "-n", "-p", &format!("sport = :{port}")])).ok()?;
    named(&text, address, port)
}

/// The same as `ss` says it: `LISTEN 0 128 127.0.0.1:80 0.0.0.0:* users:(("nginx",pid=12,fd=6))`.
fn named(text: &str, address: Ipv4Addr, port: u16) -> Option<String> {
    let places = [address.to_string(), "0.0.0.0".to_owned(), "*".to_owned()].map(|host| format!("{host}:{port}"));
    let line = text.lines().find(|line| {
        let local = line.split_whitespace().nth(3).unwrap_or_default();
        places.iter().any(|place| place == local)
    })?;
    let (_, users) = line.split_once("users:((")?;
    let name = users.split('"').nth(1)?;
    let pid: String = users.split_once("pid=")?.1.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("{name} (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_s_port_is_not_taken_for_one_s_own() {
        let text = "LISTEN 0 4096 127.0.10.2:80 0.0.0.0:* users:((\"docker-proxy\",pid=7,fd=4))\n\
                    LISTEN 0 1 127.0.20.2:80 0.0.0.0:* users:((\"nginx\",pid=12,fd=6))\n";
        assert_eq!(named(text, Ipv4Addr::new(127, 0, 20, 2), 80).as_deref(), Some("nginx (process 12)"));
        assert_eq!(named(text, Ipv4Addr::new(127, 0, 30, 2), 80), None);
        let everywhere = "LISTEN 0 128 *:22 *:* users:((\"sshd\",pid=3,fd=3))\n";
        assert_eq!(named(everywhere, Ipv4Addr::new(127, 0, 10, 1), 22).as_deref(), Some("sshd (process 3)"));
    }

    #[test]
    fn a_port_in_use_is_named_with_its_process() {
        let address = Ipv4Addr::new(127, 0, 0, 1);
        let listener = TcpListener::bind(SocketAddrV4::new(address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = taken(address, port).unwrap();
        assert!(said.starts_with(&format!("127.0.0.1:{port} is taken by ")), "{said}");
        drop(listener);
        assert_eq!(taken(address, port), None);
    }
}
