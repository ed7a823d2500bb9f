//! The script for yum, with a yum that brings what yum 3 brings (yum(8)) to a database of its own.

use super::*;

const YUM: &str = include_str!("yum.sh");

struct Host {
    home: tempfile::TempDir,
    host: LiveHost,
}

impl Host {
    /// With these versions installed, all with those up to 3 offered. None on a machine that has dnf, which goes before yum.
    fn new(installed: &str) -> Option<Self> {
        if ["/usr/bin/dnf", "/bin/dnf"].iter().any(|path| Path::new(path).exists()) {
            eprintln!("skipped: this machine has dnf");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("installed"), installed).unwrap();
        let offered: String =
            ["aa", "bb"].iter().flat_map(|name| (1..=3).map(move |version| format!("{name} {version}-1\n"))).collect();
        std::fs::write(home.path().join("offered"), offered).unwrap();
        let state = home.path().display();
        let host = LiveHost {
            name: "node-1".to_owned(),
            shell: Arc::new(Rooted(format!("DPKG_ADMINDIR={state}/none state={state}\n{YUM}"))),
            secrets: Arc::new(Secrets::new(&indexmap::IndexMap::new(), home.path())),
            store: Arc::new(DirectoryStore::open(&home.path().join("store")).unwrap()),
        };
        Some(Self { home, host })
    }

    async fn order(&self, packages: &[(&str, &str)], allow_downgrade: bool) -> Result<Transaction, Failure> {
        let order = InstallOrder { allow_downgrade, ..order(packages) };
        Capability::install(&self.host, &Bench::place(), &Caller::runner(), vec![order]).await.unwrap().remove(0)
    }

    /// What is installed, and the commands that changed it.
    fn state(&self) -> (Vec<String>, String) {
        let read = |name: &str| std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        let mut installed: Vec<String> = read("installed").lines().map(str::to_owned).collect();
        installed.sort();
        (installed, read("ran"))
    }
}

#[tokio::test]
async fn versions_go_up_by_install_and_down_by_downgrade() {
    let Some(host) = Host::new("aa 2-1\n") else { return };
    let up = host.order(&[("aa", "3-1"), ("bb", "2-1")], false).await.unwrap();
    assert!(up.changed && up.packages[0].after.as_deref() == Some("3-1"), "{up:?}");
    let down = host.order(&[("aa", "2-1"), ("bb", "2-1")], true).await.unwrap();
    assert_eq!((down.packages[0].before.as_deref(), down.packages[0].after.as_deref()), (Some("3-1"), Some("2-1")));
    let both = host.order(&[("aa", "1-1"), ("bb", "1-1")], true).await.unwrap();
    assert!(both.changed);
    assert!(!host.order(&[("aa", "1-1"), ("bb", "1-1")], true).await.unwrap().changed, "nothing is left to do");
    let (installed, ran) = host.state();
    assert_eq!(installed, ["aa 1-1", "bb 1-1"]);
    assert_eq!(ran, "install aa-3-1 bb-2-1\ndowngrade aa-2-1\ndowngrade aa-1-1 bb-1-1\n");
}

#[tokio::test]
async fn what_yum_cannot_do_at_once_is_refused_before_anything_is_touched() {
    let Some(host) = Host::new("aa 2-1\nbb 2-1\n") else { return };
    let untouched = || assert_eq!(host.state(), (vec!["aa 2-1".to_owned(), "bb 2-1".to_owned()], String::new()));
    assert_eq!(blockers(host.order(&[("aa", "1-1")], false).await), ["aa 2-1"]);
    untouched();
    assert_eq!(blockers(host.order(&[("aa", "1-1"), ("bb", "3-1")], false).await), ["aa 2-1"]);
    untouched();
    let mixed = host.order(&[("aa", "1-1"), ("bb", "3-1")], true).await.unwrap_err();
    let words = "yum lowers versions only in a transaction of their own, without bb-3-1";
    assert!(mixed.message.ends_with(words), "{}", mixed.message);
    untouched();
    for other in ["3-1", "1-1"] {
        let absent = host.order(&[("aa", "9-1"), ("bb", other)], true).await.unwrap_err();
        assert_eq!((absent.kind, absent.subject.as_str()), (FailureKind::NotFound, "aa-9-1"), "{other}");
        untouched();
    }
}
