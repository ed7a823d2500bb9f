//! The lab's own container engine: its own containerd and dockerd, with socket, data and pid file in the lab's
//! directory. It touches neither packet filter nor routing of this machine, so a Docker of the user's goes on beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::command::{output, succeeds};
use super::site::Site;

/// How long a daemon may take to answer.
const START: Duration = Duration::from_secs(90);
/// How long a daemon may take to end: it stops its containers first.
const STOP: Duration = Duration::from_secs(60);
/// Control group of all hosts of a lab.
const CGROUP: &str = "/runner-lab";
/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where its weight is set, by version of control groups, and what it is: a group weighs as much as one process unless
/// told otherwise, and a lab that gets a hundredth of a busy machine loses members and leases.
const WEIGHTS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/cpu/runner-lab/cpu.shares", "32768"), ("/sys/fs/cgroup/runner-lab/cpu.weight", "3000")];
/// Lines of a daemon's log that an error quotes.
const LOG_LINES: usize = 15;

/// The lab's container engine.
pub(crate) struct Daemon {
    /// Sockets, pid files and logs: worthless after a boot of this machine.
    run: PathBuf,
    /// What is kept.
    data: PathBuf,
}

impl Daemon {
    pub(crate) fn of(site: &Site) -> Self {
        Self { run: site.directory().join("run"), data: site.directory().join("engine") }
    }

    /// A command to the engine.
    pub(crate) fn docker<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.run.join("docker.sock").display()));
        command.args(arguments);
        // A user's settings may name another engine or another output.
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", self.run.join("client"));
        command
    }

    /// Whether it answers.
    pub(crate) fn answers(&self) -> bool {
        self.run.join("docker.sock").exists() && succeeds(&mut self.docker(["version"]))
    }

    /// Starts what of it does not run; true: it had to be started.
    pub(crate) fn start(&self) -> Result<bool> {
        if self.process("dockerd").is_some() && self.answers() {
            return Ok(false);
        }
        self.forget_earlier_boot()?;
        fs::create_dir_all(&self.run).with_context(|| format!("cannot create {}", self.run.display()))?;
        if self.process("containerd").is_none() {
            let settings = self.run.join("containerd.toml");
            super::site::write(&settings, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
            let mut command = Command::new("containerd");
            command.arg("--config").arg(settings);
            command.arg("--root").arg(self.data.join("containerd"));
            command.arg("--state").arg(self.run.join("containerd"));
            command.arg("--address").arg(self.run.join("containerd.sock"));
            self.spawn("containerd", command)?;
        }
        if self.process("dockerd").is_none() {
            // One that was cut off leaves its pid behind, and dockerd takes whoever has it now for itself.
            remove(&self.run.join("docker.pid"))?;
            let mut command = Command::new("dockerd");
            command.arg("--host").arg(format!("unix://{}", self.run.join("docker.sock").display()));
            command.arg("--containerd").arg(self.run.join("containerd.sock"));
            command.arg("--data-root").arg(self.data.join("docker"));
            command.arg("--exec-root").arg(self.run.join("docker"));
            command.arg("--pidfile").arg(self.run.join("docker.pid"));
            command.args(["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
            command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", CGROUP]);
            // A user's own settings are for the user's own daemon.
            command.arg("--config-file").arg(self.run.join("daemon.json"));
            super::site::write(&self.run.join("daemon.json"), "{}\n")?;
            self.spawn("dockerd", command)?;
        }
        self.wait()?;
        Ok(true)
    }

    /// Gives the hosts their share of the processor, once there are any.
    pub(crate) fn weigh() {
        for (file, weight) in WEIGHTS {
            if Path::new(file).exists() {
                // It is only slower without.
                let _ = fs::write(file, weight);
            }
        }
    }

    fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        while !self.answers() {
            for name in ["containerd", "dockerd"] {
                if self.process(name).is_none() {
                    bail!("the lab's {name} ended at once:\n{}", self.log(name));
                }
            }
            if begun.elapsed() > START {
                bail!("the lab's dockerd does not answer after {} s:\n{}", START.as_secs(), self.log("dockerd"));
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Ends it. Containers that it still has are stopped.
    pub(crate) fn stop(&self) -> Result<()> {
        for name in ["dockerd", "containerd"] {
            let Some(pid) = self.process(name) else { continue };
            output(Command::new("kill").arg(pid.to_string()))?;
            let begun = Instant::now();
            while self.process(name).is_some() {
                if begun.elapsed() > STOP {
                    output(Command::new("kill").arg("-KILL").arg(pid.to_string()))?;
                }
                sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Removes the hosts' control groups; another lab's hosts keep them.
    pub(crate) fn forget_weight() {
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([CGROUPS.into()]) {
            let _ = fs::remove_dir(hierarchy.join(CGROUP.trim_start_matches('/')));
        }
    }

    /// After a boot of this machine, what is in the directory of running things describes nothing any more.
    fn forget_earlier_boot(&self) -> Result<()> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read this machine's boot id")?;
        let marker = self.run.join("boot-id");
        if fs::read_to_string(&marker).is_ok_and(|marked| marked == boot) {
            return Ok(());
        }
        if self.run.exists() {
            super::mounts::detach_below(&self.run)?;
            fs::remove_dir_all(&self.run).with_context(|| format!("cannot remove {}", self.run.display()))?;
        }
        super::site::write(&marker, boot)
    }

    fn spawn(&self, name: &str, command: Command) -> Result<()> {
        let path = self.run.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        // A session of its own: it outlives the terminal that it was started from.
        let mut detached = Command::new("setsid");
        detached.arg(command.get_program()).args(command.get_args()).current_dir("/");
        detached.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        detached.spawn().with_context(|| format!("cannot start {name}"))?;
        let begun = Instant::now();
        while self.process(name).is_none() && begun.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Process of a daemon of this lab, found by what it was started with: a pid file outlives its process.
    fn process(&self, name: &str) -> Option<u32> {
        let own = self.run.join(if name == "dockerd" { "docker.pid" } else { "containerd.sock" });
        let own = own.to_str()?;
        let entries = fs::read_dir("/proc").ok()?;
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
            let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
            let mut words = line.split(|byte| *byte == 0);
            let program = words.next().map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
            Path::new(&program).file_name().is_some_and(|file| file == name) && words.any(|word| word == own.as_bytes())
        })
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.run.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// Removes a file if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
