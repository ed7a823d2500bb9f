//! Real apt and dpkg on a root and a repository of their own, in a temporary directory.

mod yum;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::artifacts::DirectoryStore;
use crate::backend::live::process::ProcessShell;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::shell::{Running, Script, Shell, ShellError};
use crate::contract::{FailureKind, Stop};

/// Runs scripts where apt and dpkg know another root.
struct Rooted(String);

#[async_trait::async_trait]
impl Shell for Rooted {
    async fn start(&self, script: Script) -> Result<Running, ShellError> {
        let text = format!("{}\n{}", self.0, script.text);
        ProcessShell { effects: None }.start(Script { text, ..script }).await
    }
}

struct Bench {
    home: tempfile::TempDir,
    host: LiveHost,
}

fn sh(script: &str, directory: &Path) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Packages of the test's repository: name, version, further control fields, post-installation script.
const PACKAGES: [(&str, &str, &str, &str); 8] = [
    ("aa", "1.0", "", ""),
    ("aa", "2.0", "Depends: bb (>= 2)", ""),
    ("bb", "1.0", "", ""),
    ("bb", "2.0", "", ""),
    ("cc", "1:1.0", "", ""),
    ("cc", "1:2.0", "", "exit 3"),
    ("rr", "1.0", "Recommends: aa", ""),
    ("xx", "1.0", "Conflicts: bb", ""),
];

impl Bench {
    /// None on a machine without apt, which is said.
    fn new() -> Option<Self> {
        if !Path::new("/usr/bin/apt-get").exists() || !Path::new("/usr/bin/dpkg-deb").exists() {
            eprintln!("skipped: this machine has no apt-get or dpkg-deb");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let (root, repository) = (home.path().join("root"), home.path().join("repository"));
        for directory in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/dpkg/triggers",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "etc/apt/apt.conf.d",
        ] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::create_dir(&repository).unwrap();
        std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        for (name, version, fields, script) in PACKAGES {
            package(&home.path().join("build"), &repository, name, version, fields, script);
        }
        index(&repository);
        let list = format!("deb [trusted=yes] file:{} ./\n", repository.display());
        std::fs::write(root.join("etc/apt/sources.list"), list).unwrap();
        let root = root.display();
        let options = format!(
            "--root={root} --force-script-chrootless --force-not-root --force-bad-path --log={root}/var/log/dpkg.log"
        );
        let quoted: String = options.split(' ').map(|option| format!("\"{option}\";")).collect();
        let configuration = home.path().join("apt.conf");
        std::fs::write(
            &configuration,
            format!(
                "Dir \"{root}\"; Dir::State::status \"{root}/var/lib/dpkg/status\"; Dir::Bin::dpkg \"/usr/bin/dpkg\";\n\
                 Dir::Bin::Methods \"/usr/lib/apt/methods\"; DPkg::Options {{ {quoted} }}; APT::Sandbox::User \"\";\n"
            ),
        )
        .unwrap();
        let prefix = format!(
            "export APT_CONFIG={} DPKG_ADMINDIR={root}/var/lib/dpkg\ndpkg() {{ command dpkg {options} \"$@\"; }}",
            configuration.display()
        );
        let host = LiveHost {
            name: "node-1".to_owned(),
            shell: Arc::new(Rooted(prefix)),
            secrets: Arc::new(Secrets::new(&indexmap::IndexMap::new(), home.path())),
            store: Arc::new(DirectoryStore::open(&home.path().join("store")).unwrap()),
        };
        Some(Self { home, host })
    }

    fn place() -> Place {
        Place::Host("node-1".to_owned())
    }

    fn root(&self, path: &str) -> PathBuf {
        self.home.path().join("root").join(path)
    }

    async fn ready() -> Option<Self> {
        let bench = Self::new()?;
        let done = Capability::refresh(&bench.host, &Self::place(), &Caller::runner(), vec!["node-1".to_owned()])
            .await
            .unwrap();
        assert_eq!(done, [Ok(())]);
        Some(bench)
    }

    async fn status(&self, name: &str) -> PackageStatus {
        let item = PackageRef { host: "node-1".to_owned(), name: name.to_owned() };
        Capability::status(&self.host, &Self::place(), &Caller::runner(), vec![item]).await.unwrap().remove(0).unwrap()
    }

    async fn version(&self, name: &str) -> Option<String> {
        self.status(name).await.version
    }

    async fn order(&self, order: InstallOrder) -> Result<Transaction, Failure> {
        Capability::install(&self.host, &Self::place(), &Caller::runner(), vec![order]).await.unwrap().remove(0)
    }

    async fn install(&self, packages: &[(&str, &str)]) -> Result<Transaction, Failure> {
        self.order(order(packages)).await
    }

    async fn hold(&self, names: &[&str], held: bool) -> Result<bool, Failure> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let item = HoldOrder { host: "node-1".to_owned(), names, held };
        Capability::set_held(&self.host, &Self::place(), &Caller::runner(), vec![item]).await.unwrap().remove(0)
    }

    /// Lets the repository offer one more package.
    async fn offer(&self, name: &str, version: &str, script: &str) {
        let repository = self.home.path().join("repository");
        package(&self.home.path().join("build"), &repository, name, version, "", script);
        index(&repository);
        let hosts = vec!["node-1".to_owned()];
        Capability::refresh(&self.host, &Self::place(), &Caller::runner(), hosts).await.unwrap().remove(0).unwrap();
    }

    /// Notes a state of an installed package as dpkg does while it works.
    fn interrupted(&self, name: &str, state: &str) {
        let status = std::fs::read_to_string(self.root("var/lib/dpkg/status")).unwrap();
        let start = format!("Package: {name}\n");
        let stanza = status.split("\n\n").find(|stanza| stanza.starts_with(&start)).unwrap();
        let triggers = if state == "triggers-pending" { "\nTriggers-Pending: something" } else { "" };
        let state = format!("Status: install ok {state}{triggers}");
        let torn = format!("{}\n", stanza.trim_end().replace("Status: install ok installed", &state));
        std::fs::write(self.root("var/lib/dpkg/updates/0000"), torn).unwrap();
    }

    async fn remove(&self, names: &[&str], purge: bool) -> Result<Transaction, Failure> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let item = RemovalOrder { host: "node-1".to_owned(), names, purge, time_out: 60_000 };
        Capability::remove(&self.host, &Self::place(), &Caller::runner(), vec![item]).await.unwrap().remove(0)
    }
}

fn order(packages: &[(&str, &str)]) -> InstallOrder {
    let pair = |(name, version): &(&str, &str)| PackageVersion { name: (*name).into(), version: (*version).into() };
    InstallOrder {
        host: "node-1".to_owned(),
        packages: packages.iter().map(pair).collect(),
        removals: Vec::new(),
        allow_downgrade: false,
        changed_configuration: ChangedConfiguration::Keep,
        time_out: 60_000,
    }
}

fn package(build: &Path, repository: &Path, name: &str, version: &str, fields: &str, script: &str) {
    let debian = build.join("DEBIAN");
    std::fs::create_dir_all(&debian).unwrap();
    std::fs::create_dir_all(build.join("etc")).unwrap();
    std::fs::write(build.join(format!("etc/{name}.conf")), format!("of {version}\n")).unwrap();
    std::fs::write(debian.join("conffiles"), format!("/etc/{name}.conf\n")).unwrap();
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
    std::fs::write(
        debian.join("control"),
        format!("Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: test\n{fields}"),
    )
    .unwrap();
    if !script.is_empty() {
        let path = debian.join("postinst");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = format!("{name}_{}_all.deb", version.rsplit(':').next().unwrap_or(version));
    sh(&format!("dpkg-deb --build --root-owner-group {} {file} >/dev/null", build.display()), repository);
    std::fs::remove_dir_all(build).unwrap();
}

/// The index that `dpkg-scanpackages` would write.
fn index(repository: &Path) {
    let script = r#": >Packages; for deb in *.deb; do dpkg-deb --field "$deb" | sed '/^$/d' >>Packages
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum <"$deb" | cut -d' ' -f1)" >>Packages; done"#;
    sh(script, repository);
}

fn blockers(answer: Result<Transaction, Failure>) -> Vec<String> {
    match answer.expect_err("a conflict").kind {
        FailureKind::Conflict(conflict) => conflict.blockers,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn exact_versions_come_go_up_and_down() {
    let Some(bench) = Bench::ready().await else { return };
    let before = bench.status("aa").await;
    assert_eq!((before.version, before.available), (None, vec!["2.0".to_owned(), "1.0".to_owned()]));
    let done = bench.install(&[("aa", "1.0"), ("bb", "1.0")]).await.unwrap();
    assert!(done.changed);
    assert_eq!(done.packages[0].after.as_deref(), Some("1.0"));
    assert!(!bench.install(&[("aa", "1.0"), ("bb", "1.0")]).await.unwrap().changed, "nothing is left to do");
    let up = bench.install(&[("aa", "2.0"), ("bb", "2.0")]).await.unwrap();
    assert_eq!(up.packages[0].before.as_deref(), Some("1.0"));
    let down = order(&[("aa", "1.0"), ("bb", "1.0")]);
    assert_eq!(blockers(bench.order(down.clone()).await), ["aa 2.0", "bb 2.0"]);
    assert_eq!(bench.version("aa").await.as_deref(), Some("2.0"));
    bench.order(InstallOrder { allow_downgrade: true, ..down }).await.unwrap();
    assert_eq!(bench.version("bb").await.as_deref(), Some("1.0"));
}

#[tokio::test]
async fn nothing_is_touched_that_is_not_named() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("aa", "1.0"), ("bb", "1.0")]).await.unwrap();
    let touched = blockers(bench.install(&[("aa", "2.0")]).await);
    assert!(touched.iter().any(|blocker| blocker.contains("bb")), "{touched:?}");
    assert_eq!(bench.version("aa").await.as_deref(), Some("1.0"));
    assert_eq!(blockers(bench.install(&[("xx", "1.0")]).await), ["bb 1.0 (would be removed)"]);
    let allowed = InstallOrder { removals: vec!["bb".to_owned()], ..order(&[("xx", "1.0")]) };
    let done = bench.order(allowed).await.unwrap();
    let removed = done.packages.iter().find(|change| change.name == "bb").expect("it is told");
    assert_eq!((removed.before.as_deref(), removed.after.as_deref()), (Some("1.0"), None));
    bench.install(&[("rr", "1.0")]).await.expect("what it recommends stays away");
    let absent = bench.install(&[("aa", "9")]).await.unwrap_err();
    assert_eq!((absent.kind, absent.subject.as_str()), (FailureKind::NotFound, "aa"));
    assert_eq!(bench.install(&[("nosuch", "1")]).await.unwrap_err().kind, FailureKind::NotFound);
    for name in ["-o", "a b", "$(x)", "aa*", ""] {
        assert_eq!(bench.install(&[(name, "1")]).await.unwrap_err().kind, FailureKind::Invalid, "{name}");
    }
}

#[tokio::test]
async fn holds_are_lifted_and_restored_also_when_it_fails() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("aa", "1.0"), ("bb", "1.0"), ("cc", "1:1.0")]).await.unwrap();
    assert_eq!(bench.hold(&["aa", "bb", "cc"], true).await, Ok(true));
    assert_eq!(bench.hold(&["aa", "bb", "cc"], true).await, Ok(false));
    bench.install(&[("aa", "2.0"), ("bb", "2.0")]).await.unwrap();
    assert!(bench.status("aa").await.held && bench.status("bb").await.held);
    bench.install(&[("cc", "1:2.0")]).await.expect_err("its script fails");
    assert!(bench.status("cc").await.held);
    assert!(!bench.root("var/lib/dpkg/runner-holds").exists());
    bench.order(InstallOrder { allow_downgrade: true, ..order(&[("cc", "1:1.0")]) }).await.unwrap();
    assert_eq!(bench.hold(&["aa"], false).await, Ok(true));
    // A transaction that never came to its end had noted this.
    std::fs::write(bench.root("var/lib/dpkg/runner-holds"), "aa\n").unwrap();
    bench.install(&[("aa", "2.0")]).await.unwrap();
    assert!(bench.status("aa").await.held);
}

#[tokio::test]
async fn a_failing_script_is_told_and_can_be_backed_out() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("cc", "1:1.0")]).await.unwrap();
    let failure = bench.install(&[("cc", "1:2.0")]).await.unwrap_err();
    let FailureKind::Failed(exit) = &failure.kind else { panic!("{failure:?}") };
    assert!(exit.tail.contains("exit status 3"), "{}", exit.tail);
    assert!(failure.message.contains("cc"), "{}", failure.message);
    let half = bench.status("cc").await;
    assert_eq!((half.version.as_deref(), half.broken), (Some("1:2.0"), true));
    assert!(!blockers(bench.install(&[("bb", "1.0")]).await).is_empty(), "it would be configured besides");
    bench.order(InstallOrder { allow_downgrade: true, ..order(&[("cc", "1:1.0")]) }).await.unwrap();
    assert!(!bench.status("cc").await.broken);
}

#[tokio::test]
async fn an_interrupted_dpkg_is_finished_first() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("aa", "1.0"), ("bb", "1.0")]).await.unwrap();
    bench.interrupted("aa", "unpacked");
    bench.install(&[("aa", "2.0"), ("bb", "2.0")]).await.unwrap();
    assert!(!bench.status("aa").await.broken);
    bench.interrupted("aa", "unpacked");
    bench.install(&[("aa", "2.0")]).await.expect("the version that is unpacked");
    assert!(!bench.status("aa").await.broken);
}

#[tokio::test]
async fn what_an_interrupted_dpkg_left_is_not_configured_unless_it_is_named() {
    let Some(bench) = Bench::ready().await else { return };
    let ran = bench.home.path().join("ran");
    bench.offer("dd", "1.0", &format!("echo \"$1\" >>{}", ran.display())).await;
    bench.install(&[("aa", "1.0"), ("dd", "1.0")]).await.unwrap();
    let runs = || std::fs::read_to_string(&ran).unwrap().lines().count();
    for (state, bb) in [("unpacked", "1.0"), ("half-configured", "2.0")] {
        let before = (runs(), bench.version("bb").await);
        bench.interrupted("dd", state);
        // The second time it stands in the database.
        for _ in 0..2 {
            let left = ["dd 1.0 (is half done and would be configured)"];
            assert_eq!(blockers(bench.install(&[("bb", bb)]).await), left, "{state}");
            assert_eq!(blockers(bench.remove(&["aa"], false).await), left, "{state}");
        }
        assert_eq!((runs(), bench.version("bb").await), before, "{state}");
        bench.install(&[("dd", "1.0"), ("bb", bb)]).await.unwrap();
        assert!(runs() > before.0 && !bench.status("dd").await.broken, "{state}");
    }
    // Triggers are run in any transaction: one of ours that was cut off left them.
    bench.interrupted("dd", "triggers-pending");
    assert!(bench.install(&[("aa", "2.0"), ("bb", "2.0")]).await.unwrap().changed);
    bench.interrupted("dd", "half-installed");
    assert_eq!(blockers(bench.install(&[("cc", "1:1.0")]).await), ["dd 1.0 (would be removed)"]);
}

#[tokio::test]
async fn a_dpkg_at_work_is_no_interrupted_one() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("aa", "1.0")]).await.unwrap();
    let lock = std::fs::File::create(bench.root("var/lib/dpkg/lock-frontend")).unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    bench.interrupted("aa", "unpacked");
    let finishes = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.interrupted("aa", "installed");
        drop(lock);
    };
    let (done, ()) = tokio::join!(bench.install(&[("bb", "1.0")]), finishes);
    assert!(done.unwrap().changed);
}

#[tokio::test]
async fn changed_configuration_is_kept_or_replaced_and_told() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("bb", "1.0"), ("cc", "1:1.0")]).await.unwrap();
    let file = bench.root("etc/bb.conf");
    std::fs::write(&file, "ours\n").unwrap();
    let done = bench.install(&[("bb", "2.0")]).await.unwrap();
    assert_eq!(done.configuration, ["/etc/bb.conf"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ours\n");
    let back = InstallOrder {
        allow_downgrade: true,
        changed_configuration: ChangedConfiguration::Replace,
        ..order(&[("bb", "1.0")])
    };
    assert_eq!(bench.order(back).await.unwrap().configuration, ["/etc/bb.conf"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of 1.0\n");
}

#[tokio::test]
async fn removal_stops_at_what_needs_it() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("aa", "2.0"), ("bb", "2.0")]).await.unwrap();
    assert_eq!(blockers(bench.remove(&["bb"], false).await), ["aa 2.0 (would be removed)"]);
    let done = bench.remove(&["aa", "bb"], false).await.unwrap();
    assert!(done.changed && done.packages.iter().all(|change| change.after.is_none() && change.before.is_some()));
    assert!(bench.root("etc/aa.conf").exists());
    assert!(!bench.remove(&["aa", "nosuch"], false).await.unwrap().changed);
    assert!(bench.remove(&["aa"], true).await.unwrap().changed);
    assert!(!bench.root("etc/aa.conf").exists());
    assert!(!bench.remove(&["aa"], true).await.unwrap().changed);
}

#[tokio::test]
async fn what_is_installed_can_be_fetched_too() {
    let Some(bench) = Bench::ready().await else { return };
    bench.install(&[("cc", "1:1.0")]).await.unwrap();
    let wanted = [("cc", "1:1.0"), ("bb", "2.0")];
    let packages = order(&wanted).packages;
    let fetch = FetchOrder { host: "node-1".to_owned(), packages, time_out: 60_000 };
    for _ in 0..2 {
        let paths = Capability::fetch(&bench.host, &Bench::place(), &Caller::runner(), vec![fetch.clone()])
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        assert!(paths[0].ends_with("/cc_1%3a1.0_all.deb"), "{paths:?}");
        assert!(paths.iter().all(|path| Path::new(path).metadata().unwrap().len() > 100));
    }
    std::fs::remove_file(bench.home.path().join("repository/bb_2.0_all.deb")).unwrap();
    std::fs::remove_file(bench.root("var/cache/apt/archives/bb_2.0_all.deb")).unwrap();
    let gone = Capability::fetch(&bench.host, &Bench::place(), &Caller::runner(), vec![fetch])
        .await
        .unwrap()
        .remove(0)
        .unwrap_err();
    assert!(matches!(gone.kind, FailureKind::Failed(_)), "{gone:?}");
}

#[tokio::test]
async fn a_lock_is_waited_for_and_one_that_stays_is_told() {
    let Some(bench) = Bench::ready().await else { return };
    let lock = std::fs::File::create(bench.root("var/lib/dpkg/lock-frontend")).unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let busy = bench.order(InstallOrder { time_out: 4_000, ..order(&[("bb", "1.0")]) }).await.unwrap_err();
    assert!(matches!(busy.kind, FailureKind::Conflict(_)) && busy.retry == RetryAdvice::Later, "{busy:?}");
    let freed = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(lock);
    };
    let wanted = order(&[("bb", "1.0")]);
    let (done, ()) = tokio::join!(bench.order(wanted), freed);
    assert!(done.unwrap().changed);
}

#[tokio::test]
async fn what_takes_too_long_is_in_doubt_and_comes_to_its_end() {
    let Some(bench) = Bench::ready().await else { return };
    bench.offer("slow", "1", "sleep 3").await;
    let slow = InstallOrder { time_out: 2_000, ..order(&[("slow", "1")]) };
    let orders = vec![order(&[("bb", "1.0")]), slow];
    let cut = Capability::install(&bench.host, &Bench::place(), &Caller::runner(), orders).await.unwrap_err();
    assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
    assert!(matches!(cut.known.as_slice(), [(0, Ok(done))] if done.changed), "{cut:?}");
    bench.install(&[("slow", "1")]).await.expect("it waits for the one before");
    assert_eq!(bench.version("slow").await.as_deref(), Some("1"));
}
