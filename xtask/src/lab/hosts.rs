//! The lab's hosts: containers in which systemd is the first process, each with sshd and accounts of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::command::{feed, output, side_by_side, succeeds, until};
use super::daemon::Daemon;
use super::files::Files;
use super::keys::Keys;
use super::needs::{self, API_PORT, INGRESS_PORT};
use super::progress::Progress;
use super::site::{Host, Role, SERVICE_NETWORK, Site, VOLUMES, write};

/// Name of the hosts' network within the engine.
const NETWORK: &str = "lab";
/// Label by which the hosts among the engine's containers are known; its value are the parts of which they are made.
const LABEL: &str = "runner-lab";
/// What a host does before it is systemd's.
const START: &str = include_str!("../../../tests/lab/hosts/start.sh");
/// How a host gets its accounts.
const ACCOUNTS: &str = include_str!("../../../tests/lab/hosts/accounts.sh");
/// Where a host notes which stages of its making are behind it.
const STAGES: &str = "/var/lib/lab-stages";
/// Directories in which a host itself runs containers: overlay file systems do not stack on one another.
const VOLUME_DIRECTORIES: [&str; 3] = ["/var/lib/containerd", "/var/lib/docker", "/var/lib/kubelet"];
/// Capabilities that a host gets where this machine has them. SYS_RESOURCE is not among them: machines that are virtual
/// themselves often lack it, and a host that never had it behaves alike everywhere.
const CAPABILITIES: [(&str, u32); 37] = [
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("DAC_READ_SEARCH", 2),
    ("FOWNER", 3),
    ("FSETID", 4),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("SETPCAP", 8),
    ("LINUX_IMMUTABLE", 9),
    ("NET_BIND_SERVICE", 10),
    ("NET_BROADCAST", 11),
    ("NET_ADMIN", 12),
    ("NET_RAW", 13),
    ("IPC_LOCK", 14),
    ("IPC_OWNER", 15),
    ("SYS_MODULE", 16),
    ("SYS_RAWIO", 17),
    ("SYS_CHROOT", 18),
    ("SYS_PTRACE", 19),
    ("SYS_PACCT", 20),
    ("SYS_ADMIN", 21),
    ("SYS_BOOT", 22),
    ("SYS_NICE", 23),
    ("SYS_TIME", 25),
    ("SYS_TTY_CONFIG", 26),
    ("MKNOD", 27),
    ("LEASE", 28),
    ("AUDIT_WRITE", 29),
    ("AUDIT_CONTROL", 30),
    ("SETFCAP", 31),
    ("MAC_OVERRIDE", 32),
    ("MAC_ADMIN", 33),
    ("SYSLOG", 34),
    ("WAKE_ALARM", 35),
    ("BLOCK_SUSPEND", 36),
    ("AUDIT_READ", 37),
];

/// The hosts of a lab, running or not.
pub(crate) struct Hosts<'a> {
    pub(crate) site: &'a Site,
    pub(crate) daemon: &'a Daemon,
}

/// What of the parts the hosts see.
pub(crate) struct Seen<'a> {
    /// File system of a host, a tar archive.
    pub(crate) image: &'a Path,
    /// Folders that every host sees, each with the path there.
    pub(crate) folders: Vec<(&'a Path, &'a str)>,
}

impl Seen<'_> {
    /// Name of the image within the engine.
    fn image_name(&self) -> String {
        format!("lab-host:{}", self.image.parent().map(part).unwrap_or_default())
    }

    /// The parts of which a host is made.
    fn parts(&self) -> String {
        let folders = self.folders.iter().map(|(folder, _)| part(folder));
        let parts: Vec<String> = [self.image_name()].into_iter().chain(folders).collect();
        parts.join(" ")
    }
}

/// A part's folder is named by what the part is made from.
fn part(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Hosts<'_> {
    /// A command on a host, as root.
    pub(crate) fn command(&self, host: &Host, words: &[&str]) -> Command {
        let mut command = self.daemon.docker(["exec", "--interactive", &host.name]);
        command.args(words);
        command
    }

    /// Standard output of a command on a host that must succeed.
    pub(crate) fn run(&self, host: &Host, words: &[&str]) -> Result<String> {
        output(&mut self.command(host, words)).with_context(|| format!("host {}", host.name))
    }

    /// The same of a shell script with arguments and standard input.
    pub(crate) fn script(&self, host: &Host, script: &str, arguments: &[&str], input: &[u8]) -> Result<String> {
        let words: Vec<&str> = ["sh", "-ceu", script, "sh"].into_iter().chain(arguments.iter().copied()).collect();
        feed(&mut self.command(host, &words), input).with_context(|| format!("host {}", host.name))
    }

    /// Writes files onto a host.
    pub(crate) fn put(&self, host: &Host, files: Files) -> Result<()> {
        feed(&mut self.command(host, &["tar", "-xpf", "-", "-C", "/"]), &files.into_archive()?)
            .with_context(|| format!("host {}", host.name))?;
        Ok(())
    }

    /// Does a stage of a host's making unless it is behind it.
    pub(crate) fn once(&self, host: &Host, stage: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let marker = format!("{STAGES}/{stage}");
        if succeeds(&mut self.command(host, &["test", "-e", &marker])) {
            return Ok(());
        }
        work()?;
        self.run(host, &["mkdir", "-p", &marker])?;
        Ok(())
    }

    /// Brings all hosts up, with their accounts, and waits until they have started.
    pub(crate) fn up(&self, seen: &Seen<'_>, keys: &Keys<'_>, progress: &Progress) -> Result<()> {
        let states = self.states()?;
        let parts = seen.parts();
        let missing: Vec<&str> =
            states.iter().filter(|(_, state)| state.is_none()).map(|(host, _)| host.name.as_str()).collect();
        if !missing.is_empty() {
            if missing.len() < states.len() {
                progress.say(&format!("of an earlier lab {} is missing: all hosts are made anew", missing.join(", ")));
            }
            self.remove()?;
            needs::room(self.site)?;
            progress.step("making the hosts", || self.create(seen))?;
        } else if states.iter().any(|(host, _)| self.label(host).is_ok_and(|label| label != parts)) {
            progress.say("the hosts are made of older parts: `cargo xtask lab down` before `up` makes them anew");
        }
        for (host, _) in &states {
            self.describe(host)?;
        }
        side_by_side(&self.site.hosts(), |host| {
            if self.state(host)?.as_deref() != Some("running") {
                output(&mut self.daemon.docker(["start", &host.name]))?;
            }
            Daemon::weigh();
            until(&format!("the start of host {}", host.name), 60, || self.started(host))?;
            self.once(host, "accounts", || {
                self.put(host, keys.of_host(host)?)?;
                self.script(host, ACCOUNTS, &[keys.login_public()?.trim()], keys.password()?.trim().as_bytes())?;
                Ok(())
            })
        })
    }

    /// Whether systemd has brought a host up, and nothing failed.
    fn started(&self, host: &Host) -> Result<()> {
        // Whether units failed is another matter: the lab's own are looked after where they are installed.
        let script = "case $(systemctl is-system-running) in running | degraded) ;; *) exit 1 ;; esac";
        self.script(host, script, &[], &[])?;
        Ok(())
    }

    /// State of every host as the engine names it; none: there is no such container.
    pub(crate) fn states(&self) -> Result<Vec<(Host, Option<String>)>> {
        let state = |host: Host| -> Result<_> {
            let state = self.state(&host)?;
            Ok((host, state))
        };
        self.site.hosts().into_iter().map(state).collect()
    }

    /// The parts of which a host was made.
    fn label(&self, host: &Host) -> Result<String> {
        let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
        let label = output(&mut self.daemon.docker(["inspect", "--format", &format, &host.name]))?;
        Ok(label.trim().to_owned())
    }

    fn state(&self, host: &Host) -> Result<Option<String>> {
        let filter = format!("name=^/{}$", host.name);
        let text = output(&mut self.daemon.docker(["ps", "--all", "--filter", &filter, "--format", "{{.State}}"]))?;
        Ok(text.lines().next().map(str::to_owned))
    }

    /// The lab's files of a host, as they should be by now.
    fn describe(&self, host: &Host) -> Result<()> {
        let directory = self.site.host_directory(host);
        let all = self.site.hosts();
        let lines: Vec<String> = all.iter().map(|host| format!("{} {}\n", host.internal, host.name)).collect();
        write(&directory.join("hosts"), format!("127.0.0.1 localhost\n{}", lines.concat()))?;
        write(&directory.join("hostname"), format!("{}\n", host.name))?;
        // Nobody answers there: hosts know each other by /etc/hosts, and nothing else has to be found.
        let resolver = format!("nameserver {}\nsearch example.com\n", self.site.gateway());
        write(&directory.join("resolv.conf"), resolver)?;
        write(&directory.join("start"), START)?;
        let last = all.last().filter(|_| host.role == Role::Master);
        let route = last.map(|node| format!("{SERVICE_NETWORK} via {}\n", node.internal)).unwrap_or_default();
        write(&directory.join("service-route"), route)
    }

    fn create(&self, seen: &Seen<'_>) -> Result<()> {
        let image = seen.image_name();
        if !succeeds(&mut self.daemon.docker(["image", "inspect", &image])) {
            let mut command = self.daemon.docker(["import"]);
            output(command.arg(seen.image).arg(&image))?;
        }
        output(&mut self.daemon.docker(["network", "create", "--subnet", &self.site.network(), NETWORK]))?;
        fs::create_dir_all(self.site.volumes())?;
        let capabilities = capabilities()?;
        side_by_side(&self.site.hosts(), |host| {
            self.describe(host)?;
            output(&mut self.creation(host, &image, &capabilities, seen))?;
            output(&mut self.daemon.docker(["start", &host.name]))?;
            Ok(())
        })
    }

    fn creation(&self, host: &Host, image: &str, capabilities: &[&str], seen: &Seen<'_>) -> Command {
        let Host { name, role, address, internal, .. } = host;
        let mut command = self.daemon.docker(["create", "--name", name, "--hostname", name, "--restart=always"]);
        // What systemd takes for being switched off; another signal it would sit out.
        command.args(["--stop-signal=SIGRTMIN+3", "--stop-timeout=20"]);
        command.arg("--label").arg(format!("{LABEL}={}", seen.parts()));
        command.args(["--network", NETWORK, "--ip", &internal.to_string()]);
        let service = match role {
            Role::Master => API_PORT,
            Role::Node => INGRESS_PORT,
        };
        command.arg(format!("--publish={address}:{}:22", self.site.ssh_port()));
        command.arg(format!("--publish={address}:{service}:{service}"));
        command.args(capabilities.iter().map(|name| format!("--cap-add={name}")));
        command.args(["seccomp", "apparmor", "systempaths"].map(|kind| format!("--security-opt={kind}=unconfined")));
        command.args(["--cgroupns=private", "--tmpfs=/run", "--tmpfs=/tmp:exec,mode=1777"]);
        command.args(VOLUME_DIRECTORIES.map(|directory| format!("--volume={directory}")));
        command.arg(format!("--volume={}:/opt/lab:ro", self.site.host_directory(host).display()));
        command.arg(format!("--volume={}:{VOLUMES}", self.site.volumes().display()));
        command.args(seen.folders.iter().map(|(here, there)| format!("--volume={}:{there}:ro", here.display())));
        command.args([image, "sh", "/opt/lab/start"]);
        command
    }

    /// Removes all hosts, their volumes and their network.
    pub(crate) fn remove(&self) -> Result<()> {
        let list = |words: &[&str]| output(&mut self.daemon.docker(words));
        let containers = list(&["ps", "--all", "--quiet", "--filter", &format!("label={LABEL}")])?;
        if !containers.trim().is_empty() {
            output(self.daemon.docker(["rm", "--force", "--volumes"]).args(containers.lines()))?;
        }
        let networks = list(&["network", "ls", "--quiet", "--filter", &format!("name=^{NETWORK}$")])?;
        for network in networks.lines() {
            output(&mut self.daemon.docker(["network", "rm", network]))?;
        }
        Ok(())
    }
}

/// Capabilities that this machine can give.
fn capabilities() -> Result<Vec<&'static str>> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read this process' capabilities")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("no bounding set of capabilities")?;
    let bounding = u64::from_str_radix(line.trim(), 16).context("a bounding set that is no number")?;
    Ok(CAPABILITIES.iter().filter(|(_, bit)| bounding >> bit & 1 == 1).map(|(name, _)| *name).collect())
}
