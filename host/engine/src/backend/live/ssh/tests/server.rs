//! An sshd for one test, on a port of the loopback interface.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use runner_types::{Inventory, ResolvedHost, load};
use tempfile::TempDir;

use super::super::SshShell;
use crate::backend::live::secrets::Secrets;

const SSHD: &str = "/usr/sbin/sshd";

pub(in super::super) struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

pub(in super::super) fn no_secrets() -> Arc<Secrets> {
    Arc::new(Secrets::new(&IndexMap::new(), Path::new(".")))
}

impl Server {
    /// None where there is no sshd to try with.
    pub(in super::super) fn start() -> Option<Self> {
        Self::with("")
    }

    /// One where each session begins with this script of the user's shell, as with a start-up file.
    pub(in super::super) fn greeting(script: &str) -> Option<Self> {
        Self::with(&format!("ForceCommand {script}; eval \"$SSH_ORIGINAL_COMMAND\"\n"))
    }

    fn with(more: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: no {SSHD} (package openssh-server)");
            return None;
        }
        if rustix::process::getuid().is_root() {
            // Where sshd locks its unprivileged part in; it refuses to begin without.
            let _ = std::fs::create_dir_all("/run/sshd");
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "key", "other"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(name)).status();
            assert!(made.unwrap().success());
        }
        std::fs::copy(at("key.pub"), at("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = std::fs::read_to_string(at("host.pub")).unwrap();
        std::fs::write(at("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nLogLevel VERBOSE\nSetEnv PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n{more}",
            at("host").display(),
            at("authorized").display(),
            at("bin").display(),
        );
        std::fs::write(at("config"), config).unwrap();
        let child = Command::new(SSHD)
            .args(["-D", "-E"])
            .arg(at("log"))
            .arg("-f")
            .arg(at("config"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, folder, port };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("sshd did not begin: {}", server.log());
    }

    pub(in super::super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(in super::super) fn port(&self) -> u16 {
        self.port
    }

    pub(in super::super) fn user(&self) -> String {
        let output = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The host as an inventory in its folder names it.
    pub(in super::super) fn host(&self) -> ResolvedHost {
        let text = format!(
            r#"{{"hosts": {{"here": {{"address": "127.0.0.1", "port": {}, "user": {:?}, "key": "key", "known-hosts": "known"}}}}}}"#,
            self.port,
            self.user()
        );
        let inventory = load::<Inventory>(&text, "inventory.json").unwrap();
        inventory.value().resolve().host("here").unwrap().clone()
    }

    /// Puts a program there that is found before any other of its name.
    pub(in super::super) fn install(&self, name: &str, script: &str) {
        let folder = self.folder().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.join(name), executable).unwrap();
    }

    pub(in super::super) fn shell(&self) -> SshShell {
        SshShell::new(&self.host(), self.folder(), no_secrets())
    }

    pub(in super::super) fn other_public_key(&self) -> String {
        std::fs::read_to_string(self.folder().join("other.pub")).unwrap()
    }

    /// As ssh-keygen tells it.
    pub(in super::super) fn fingerprint(&self) -> String {
        let output =
            Command::new("ssh-keygen").args(["-l", "-f"]).arg(self.folder().join("host.pub")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// How many connections were opened.
    pub(in super::super) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// How many sessions those connections had: their own one, and one a script.
    pub(in super::super) fn sessions(&self) -> usize {
        self.log().matches("Starting session: ").count()
    }

    /// Ends the server's side of every connection, as a host that goes down does.
    pub(in super::super) fn hang_up(&self) {
        let mut below = children(self.child.id());
        while let Some(process) = below.pop() {
            below.extend(children(process));
            let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
        }
    }

    /// Processes of ssh that hold a connection to it.
    pub(in super::super) fn masters(&self) -> usize {
        let port = self.port.to_string();
        let with_arguments = |process: &PathBuf| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.starts_with("ssh -M ") && line.contains(&format!("-p {port} "))
        };
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        processes.filter(with_arguments).count()
    }
}

fn children(process: u32) -> Vec<u32> {
    let list = format!("/proc/{process}/task/{process}/children");
    let list = std::fs::read_to_string(list).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hang_up();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
