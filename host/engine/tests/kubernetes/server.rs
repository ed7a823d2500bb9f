//! A real API server with its store, on this machine, for one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

const TOKEN: &str = "test-token";

/// Programs that the lab is made of, where `cargo xtask lab` keeps them.
pub(crate) struct Programs {
    kubernetes: PathBuf,
    etcd: PathBuf,
}

impl Programs {
    /// The programs; `Err` says what is missing.
    pub(crate) fn find() -> Result<Self> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
        let lab = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("runner/lab");
        let newest = |prefix: &str, program: &str| -> Result<PathBuf> {
            let entries = std::fs::read_dir(&lab).with_context(|| format!("no {}", lab.display()))?;
            let mut found: Vec<PathBuf> = entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path())
                .filter(|folder| folder.join(program).is_file())
                .collect();
            found.sort();
            found.pop().with_context(|| format!("no {prefix}*/{program} in {}", lab.display()))
        };
        let kubernetes = newest("kubernetes-1.34-", "kube-apiserver")?;
        ensure!(kubernetes.join("kube-controller-manager").is_file(), "no kube-controller-manager");
        Ok(Self { kubernetes, etcd: newest("etcd-3.6-", "etcd")? })
    }
}

/// An API server, its store and the controllers of budgets. Dropped: all of them end.
pub(crate) struct Server {
    programs: Programs,
    folder: tempfile::TempDir,
    port: u16,
    store: u16,
    api: Option<Child>,
    others: Vec<Child>,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn quiet(command: &mut Command, log: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    child.with_context(|| format!("cannot run {:?}", command.get_program()))
}

impl Server {
    /// Starts all of it and waits until it is ready.
    pub(crate) fn start(programs: Programs) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (store, peer, port) = (free_port()?, free_port()?, free_port()?);
        let mut server = Self { programs, folder, port, store, api: None, others: Vec::new() };
        let at = |name: &str| server.folder.path().join(name);
        super::logins::certificates(server.folder())?;
        let key = Command::new("openssl").args(["genrsa", "-out"]).arg(at("sa.key")).arg("2048").output();
        ensure!(key.context("openssl")?.status.success(), "openssl made no key");
        std::fs::write(at("tokens.csv"), format!("{TOKEN},admin,1,system:masters\nother-token,nobody,2,\n"))?;
        let etcd = quiet(
            Command::new(server.programs.etcd.join("etcd"))
                .arg("--data-dir")
                .arg(at("etcd"))
                .args(["--listen-client-urls", &format!("http://127.0.0.1:{store}")])
                .args(["--advertise-client-urls", &format!("http://127.0.0.1:{store}")])
                .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
                .args(["--initial-advertise-peer-urls", &format!("http://127.0.0.1:{peer}")])
                .args(["--initial-cluster", &format!("default=http://127.0.0.1:{peer}")])
                .args(["--unsafe-no-fsync", "--log-level", "error"]),
            &at("etcd.log"),
        )?;
        server.others.push(etcd);
        server.start_api()?;
        server.wait_ready()?;
        let at = |name: &str| server.folder.path().join(name);
        std::fs::write(at("kubeconfig"), server.kubeconfig_text(&format!("token: {TOKEN}")))?;
        let manager = quiet(
            Command::new(server.programs.kubernetes.join("kube-controller-manager"))
                .arg("--kubeconfig")
                .arg(at("kubeconfig"))
                .args(["--controllers", "disruption,garbage-collector-controller,namespace-controller"])
                .args(["--leader-elect=false", "--secure-port=0"]),
            &at("manager.log"),
        )?;
        server.others.push(manager);
        Ok(server)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the API server, which takes its time to be ready.
    pub(crate) fn start_api(&mut self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let child = quiet(
            Command::new(self.programs.kubernetes.join("kube-apiserver"))
                .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.store)])
                .args(["--secure-port", &self.port.to_string(), "--bind-address", "127.0.0.1"])
                .arg("--cert-dir")
                .arg(at("certificates"))
                .arg("--client-ca-file")
                .arg(at("ca.crt"))
                .arg("--token-auth-file")
                .arg(at("tokens.csv"))
                .arg("--service-account-key-file")
                .arg(at("sa.key"))
                .arg("--service-account-signing-key-file")
                .arg(at("sa.key"))
                .args(["--service-account-issuer", "https://kubernetes.default.svc"])
                .args(["--service-cluster-ip-range", "10.0.0.0/24", "--authorization-mode", "RBAC"])
                .args(["--disable-admission-plugins", "ServiceAccount"])
                .args(["--etcd-compaction-interval", "0", "--shutdown-delay-duration", "0s"])
                // Pages of an older list come from the store, which forgets: what a server without this cache does.
                .args(["--feature-gates", "ListFromCacheSnapshot=false"]),
            &at("api.log"),
        )?;
        self.api = Some(child);
        Ok(())
    }

    /// Kills the API server.
    pub(crate) fn kill_api(&mut self) -> Result<()> {
        if let Some(mut api) = self.api.take() {
            api.kill()?;
            api.wait()?;
        }
        Ok(())
    }

    /// Waits until the API server is ready.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        std::fs::write(self.folder.path().join("kubeconfig"), self.kubeconfig_text(&format!("token: {TOKEN}")))?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(180) {
            if self.kubectl(&["get", "--raw", "/readyz"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        bail!("the API server is not ready:\n{}", std::fs::read_to_string(self.folder.path().join("api.log"))?)
    }

    /// A kubeconfig for the user with a token.
    pub(crate) fn kubeconfig(&self, token: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("kubeconfig-{token}"));
        std::fs::write(&path, self.kubeconfig_text(&format!("token: {token}")))?;
        Ok(path)
    }

    /// A kubeconfig for the administrator.
    pub(crate) fn admin(&self) -> Result<PathBuf> {
        self.kubeconfig(TOKEN)
    }

    /// A kubeconfig whose user logs in by these fields.
    pub(crate) fn kubeconfig_text(&self, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: main\n\
             clusters: [{{name: main, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: {}}}}}]\n\
             contexts: [{{name: main, context: {{cluster: main, user: u}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n",
            self.port,
            self.folder.path().join("certificates/apiserver.crt").display(),
        )
    }

    /// Runs kubectl; what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with a text as its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        use std::io::Write as _;
        let mut child = Command::new(self.programs.kubernetes.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.folder.path().join("kubeconfig"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Lets the store forget every version but the last.
    pub(crate) fn compact(&self) -> Result<()> {
        let etcdctl = |arguments: &[&str]| -> Result<String> {
            let endpoint = format!("http://127.0.0.1:{}", self.store);
            let mut command = Command::new(self.programs.etcd.join("etcdctl"));
            let output = command.args(["--endpoints", &endpoint]).args(arguments).output()?;
            ensure!(output.status.success(), "etcdctl: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let status: serde_json::Value = serde_json::from_str(&etcdctl(&["endpoint", "status", "-w", "json"])?)?;
        let revision = status.pointer("/0/Status/header/revision").context("no revision")?;
        etcdctl(&["compact", &revision.to_string()])?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.others.iter_mut().rev().chain(self.api.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
