use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::artifacts::{DirectoryStore, Store};
use crate::backend::live::process::ProcessShell;
use crate::backend::live::secrets::Secrets;
use crate::contract::artifacts::{Source, Tree};
use crate::contract::files::{Attributes, Precondition};
use crate::contract::{Failure, FailureKind, Stop};

struct Bench {
    home: tempfile::TempDir,
    host: LiveHost,
    store: DirectoryStore,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(&home.path().join("store")).unwrap();
        let host = LiveHost {
            name: "node-1".to_owned(),
            shell: Arc::new(ProcessShell { effects: None }),
            secrets: Arc::new(Secrets::new(&indexmap::IndexMap::new(), home.path())),
            store: Arc::new(store.clone()),
        };
        std::fs::create_dir(home.path().join("host")).unwrap();
        Self { home, host, store }
    }

    /// A path of the host.
    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join("host").join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), content).unwrap();
    }

    fn file(&self, path: &str) -> PutOrder {
        let source = Source::File(self.at(path).display().to_string());
        PutOrder { host: "node-1".to_owned(), source, name: "x".to_owned(), labels: Vec::new() }
    }

    fn tree(&self, path: &str, exclude: &[&str]) -> PutOrder {
        let exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let source = Source::Tree(Tree { path: self.at(path).display().to_string(), exclude });
        PutOrder { source, ..self.file("") }
    }

    fn order(&self, digest: &str, path: &str, precondition: Precondition) -> RestoreOrder {
        RestoreOrder {
            digest: digest.to_owned(),
            host: "node-1".to_owned(),
            path: self.at(path).display().to_string(),
            precondition,
            attributes: None,
        }
    }

    async fn put(&self, order: PutOrder) -> Result<Artifact, Failure> {
        put::put(&self.host, vec![order]).await.remove(0)
    }

    async fn restore(&self, order: RestoreOrder) -> Result<FileChange, Failure> {
        let change = restore::restore(&self.host, vec![order]).await.unwrap().remove(0);
        self.expect_nothing_left(&self.at(""));
        change
    }

    fn expect_nothing_left(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            assert!(!entry.file_name().to_string_lossy().starts_with(".runner-"), "{}", entry.path().display());
            if entry.file_type().unwrap().is_dir() {
                self.expect_nothing_left(&entry.path());
            }
        }
    }
}

fn digest(data: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(data))
}

/// Everything below a directory: mode, owner, and link or content, by its path.
fn contents(root: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let what = path.symlink_metadata().unwrap();
            let content = match what.file_type() {
                kind if kind.is_symlink() => format!("{:?}", path.read_link().unwrap()),
                kind if kind.is_dir() => String::new(),
                kind if kind.is_file() => digest(std::fs::read(&path).unwrap()),
                _ => "special".to_owned(),
            };
            let name = path.strip_prefix(root).unwrap();
            found.push(format!("{name:?} {:o} {}:{} {} {content}", what.mode(), what.uid(), what.gid(), what.mtime()));
            if what.is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test]
async fn files_are_stored_each_for_itself() {
    let bench = Bench::new();
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    bench.write("big", &big);
    bench.write("empty", "");
    bench.write("odd\n'na\\me é", "odd");
    std::os::unix::fs::symlink("big", bench.at("link")).unwrap();
    let orders = ["big", "none", "empty", "", "odd\n'na\\me é", "big/x", "link"].map(|path| bench.file(path)).to_vec();
    let answers = put::put(&bench.host, orders).await;
    let digests: Vec<Option<&str>> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|artifact| artifact.digest.as_str())).collect();
    let (big, odd, empty) = (digest(&big), digest("odd"), digest(""));
    assert_eq!(digests, [Some(big.as_str()), None, Some(&empty), None, Some(&odd), None, Some(&big)]);
    let kinds: Vec<FailureKind> =
        answers.iter().filter_map(|answer| Some(answer.as_ref().err()?.kind.clone())).collect();
    assert_eq!(kinds, [FailureKind::NotFound, FailureKind::Invalid, FailureKind::NotFound]);
    let stored = answers[0].as_ref().unwrap();
    assert_eq!((stored.size, &stored.origin), (12_000_000, &Place::Host("node-1".to_owned())));
    assert_eq!(bench.store.verify(&big).await.unwrap(), 12_000_000);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_stored() {
    let bench = Bench::new();
    bench.write("log", vec![1; 1 << 20]);
    let host = with(&bench, "head() { command head \"$@\"; echo more >>\"$path\"; }");
    let failure = put::put(&host, vec![bench.file("log")]).await.remove(0).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Conflict(_)), "{failure:?}");
    assert!(failure.message.contains("changed while it was read"));
}

#[tokio::test]
async fn a_file_comes_back_with_attributes() {
    let bench = Bench::new();
    bench.write("a", "content");
    let stored = bench.put(bench.file("a")).await.unwrap().digest;
    let new = bench.restore(bench.order(&stored, "b", Precondition::Absent)).await.unwrap();
    assert_eq!((new.changed, new.before, new.after), (true, None, Some(stored.clone())));
    assert_eq!(bench.at("b").metadata().unwrap().mode() & 0o7777, 0o644);
    let again = bench.restore(bench.order(&stored, "b", Precondition::Anything)).await.unwrap();
    assert_eq!((again.changed, again.before.as_ref()), (false, Some(&stored)));
    let taken = bench.restore(bench.order(&stored, "b", Precondition::Absent)).await.unwrap_err();
    assert!(matches!(&taken.kind, FailureKind::Conflict(conflict) if conflict.found.as_ref() == Some(&stored)));

    bench.write("c", "other");
    std::fs::set_permissions(bench.at("c"), std::fs::Permissions::from_mode(0o751)).unwrap();
    let wrong = bench.restore(bench.order(&stored, "c", Precondition::Hash(stored.clone()))).await.unwrap_err();
    assert!(matches!(wrong.kind, FailureKind::Conflict(_)));
    assert_eq!(std::fs::read(bench.at("c")).unwrap(), b"other");
    std::os::unix::fs::symlink("c", bench.at("to-c")).unwrap();
    let change = bench.restore(bench.order(&stored, "to-c", Precondition::Hash(digest("other")))).await.unwrap();
    assert_eq!((change.changed, change.before), (true, Some(digest("other"))));
    assert_eq!(bench.at("c").metadata().unwrap().mode() & 0o7777, 0o751, "as the replaced file had it");
    assert!(bench.at("to-c").symlink_metadata().unwrap().is_symlink());

    let mut order = bench.order(&stored, "c", Precondition::Anything);
    order.attributes = Some(Attributes { mode: Some(0o600), owner: None, group: None, context: None });
    assert!(bench.restore(order.clone()).await.unwrap().changed, "the mode is different");
    assert!(!bench.restore(order).await.unwrap().changed);
    assert_eq!(bench.at("c").metadata().unwrap().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn restoring_stops_at_the_first_failure() {
    let bench = Bench::new();
    bench.write("dir/x", "x");
    let stored = bench.store.put_bytes(b"data".to_vec()).await.unwrap();
    let anything = || Precondition::Anything;
    let orders = vec![
        bench.order(&stored, "one", anything()),
        bench.order(&stored, "none/two", anything()),
        bench.order(&stored, "three", anything()),
    ];
    let answers = restore::restore(&bench.host, orders).await.unwrap();
    assert!(answers[0].as_ref().unwrap().changed && bench.at("one").exists() && !bench.at("three").exists());
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(answers[2].as_ref().unwrap_err().kind, FailureKind::NotAttempted);
    let unknown = "0".repeat(64);
    let orders = vec![bench.order(&stored, "four", anything()), bench.order(&unknown, "five", anything())];
    let answers = restore::restore(&bench.host, orders).await.unwrap();
    assert!(answers[0].is_ok() && bench.at("four").exists());
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::NotFound);
    for path in ["dir", "one/x"] {
        let failure = bench.restore(bench.order(&stored, path, anything())).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid, "{path}");
    }
}

#[tokio::test]
async fn damaged_data_never_appears() {
    let bench = Bench::new();
    let data = vec![7; 1 << 20];
    let stored = bench.store.put_bytes(data.clone()).await.unwrap();
    let file = bench.home.path().join("store").join(&stored[..2]).join(&stored);
    let mut other = data.clone();
    other[99] = 8;
    std::fs::write(&file, &other).unwrap();
    for content in [other.as_slice(), &data[..9999]] {
        std::fs::write(&file, content).unwrap();
        let failure = bench.restore(bench.order(&stored, "x", Precondition::Anything)).await.unwrap_err();
        assert!(failure.message.contains("damaged"), "{failure:?}");
        assert!(!bench.at("x").exists());
    }
}

/// A tree with all that can be in one.
fn plant(bench: &Bench) {
    bench.write("t/a/deep/file", "1");
    bench.write("t/.hidden", "2");
    bench.write("t/back\\101 \n'odd\" *?[x]é", "3");
    bench.write("t/-C", "4");
    bench.write(&format!("t/{}", "long/".repeat(40) + &"x".repeat(120)), "5");
    std::fs::hard_link(bench.at("t/.hidden"), bench.at("t/a/hard")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bench.at("t/outside")).unwrap();
    std::os::unix::fs::symlink("../none // -> x", bench.at("t/a/dangling")).unwrap();
    std::fs::create_dir(bench.at("t/empty")).unwrap();
    for (path, mode) in [("t/a", 0o2750), ("t/.hidden", 0o600), ("t/-C", 0o755), ("t/empty", 0o1777)] {
        std::fs::set_permissions(bench.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    if is_root() {
        std::os::unix::fs::chown(bench.at("t/-C"), Some(12345), Some(54321)).unwrap();
        std::os::unix::fs::lchown(bench.at("t/outside"), Some(1), Some(2)).unwrap();
    }
}

#[tokio::test]
async fn a_tree_comes_back_as_it_was() {
    let bench = Bench::new();
    plant(&bench);
    let stored = bench.put(bench.tree("t", &[])).await.unwrap();
    let same = bench.put(bench.tree("t", &[])).await.unwrap();
    assert_eq!(stored.digest, same.digest, "the same tree takes no room again");
    let change = bench.restore(bench.order(&stored.digest, "new/parent/t", Precondition::Absent)).await.unwrap();
    assert!(change.changed && change.after.is_none());
    assert_eq!(contents(&bench.at("new/parent/t")), contents(&bench.at("t")));
    let again = bench.restore(bench.order(&stored.digest, "new/parent/t", Precondition::Anything)).await.unwrap();
    assert!(!again.changed);

    std::fs::write(bench.at("new/parent/t/empty/more"), "").unwrap();
    let taken = bench.restore(bench.order(&stored.digest, "new/parent/t", Precondition::Anything)).await.unwrap_err();
    let first = bench.at("new/parent/t/-C").display().to_string();
    assert!(matches!(&taken.kind, FailureKind::Conflict(conflict) if conflict.blockers.contains(&first)), "{taken:?}");

    std::fs::create_dir(bench.at("there")).unwrap();
    std::fs::set_permissions(bench.at("there"), std::fs::Permissions::from_mode(0o711)).unwrap();
    assert!(bench.restore(bench.order(&stored.digest, "there", Precondition::Anything)).await.unwrap().changed);
    assert_eq!(contents(&bench.at("there")), contents(&bench.at("t")));
    assert_eq!(bench.at("there").metadata().unwrap().mode() & 0o7777, 0o711, "as the empty directory had it");

    let file = bench.restore(bench.order(&stored.digest, "t/-C", Precondition::Anything)).await.unwrap_err();
    assert_eq!(file.kind, FailureKind::Invalid);
    let missing = bench.put(bench.tree("none", &[])).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound);
    let file = bench.put(bench.tree("t/-C", &[])).await.unwrap_err();
    assert_eq!(file.kind, FailureKind::Invalid);
}

#[tokio::test]
async fn what_is_left_out_of_a_tree_is_what_the_contract_says() {
    let bench = Bench::new();
    let paths = ["wal/1", "a/wal/1", "wal2", "lock", "a/lock", "x?y", "xzy", "[q]", "q", "d/e/f", "d/ef", ".h", "b\\c"];
    for path in paths {
        bench.write(&format!("t/{path}"), path);
    }
    let patterns =
        ["wal", "wal/", "wal/**", "*/wal", "*lock", "x?y", "[q]", "d/*f", "d/e/**", "*", ".*", "b\\c", "", "w*1"];
    for pattern in patterns {
        let stored = bench.put(bench.tree("t", &[pattern])).await.unwrap();
        let target = format!("to/{}", digest(pattern));
        bench.restore(bench.order(&stored.digest, &target, Precondition::Absent)).await.unwrap();
        for path in paths {
            let wanted = !crate::backend::stored::excluded(pattern, path);
            assert_eq!(bench.at(&target).join(path).exists(), wanted, "{pattern:?} of {path:?}");
        }
    }
}

/// A file system of its own, as long as it lives.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_behind_and_a_mounted_directory_is_filled() {
    let bench = Bench::new();
    let Some(small) = Small::mount(bench.at("small")) else {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    };
    let big = bench.store.put_bytes(vec![1; 8 << 20]).await.unwrap();
    let failure = bench.restore(bench.order(&big, "small/x", Precondition::Anything)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Failed(_)) && failure.message.contains("No space left"), "{failure:?}");
    bench.write("t/big", vec![1; 8 << 20]);
    let tree = bench.put(bench.tree("t", &[])).await.unwrap().digest;
    for path in ["small/t", "small"] {
        let failure = bench.restore(bench.order(&tree, path, Precondition::Anything)).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Failed(_)) && failure.message.contains("tar: big"), "{failure:?}");
    }
    assert_eq!(contents(&small.0), Vec::<String>::new());

    std::fs::remove_dir_all(bench.at("t")).unwrap();
    plant(&bench);
    let tree = bench.put(bench.tree("t", &[])).await.unwrap().digest;
    assert!(bench.restore(bench.order(&tree, "small", Precondition::Anything)).await.unwrap().changed);
    assert_eq!(contents(&small.0), contents(&bench.at("t")));
    assert!(!bench.restore(bench.order(&tree, "small", Precondition::Anything)).await.unwrap().changed);
}

/// This machine, with something put before each script.
struct Before(&'static str);

#[async_trait::async_trait]
impl crate::backend::live::shell::Shell for Before {
    async fn start(
        &self,
        mut script: crate::backend::live::shell::Script,
    ) -> Result<crate::backend::live::shell::Running, crate::backend::live::shell::ShellError> {
        script.text = format!("{}\n{}", self.0, script.text);
        ProcessShell { effects: None }.start(script).await
    }
}

fn with(bench: &Bench, before: &'static str) -> LiveHost {
    LiveHost {
        name: "node-1".to_owned(),
        shell: Arc::new(Before(before)),
        secrets: Arc::clone(&bench.host.secrets),
        store: Arc::clone(&bench.host.store),
    }
}

#[tokio::test]
async fn half_of_a_stream_is_not_stored() {
    let bench = Bench::new();
    bench.write("t/x", vec![5; 1 << 20]);
    // The script dies in the middle of what it sends; what it sends is another thing than what it hashes.
    let dies = with(
        &bench,
        "tee() { command tee \"$@\" | command head -c 9999; kill -9 $$; }
        head() { command head \"$@\" | command dd bs=1 count=9999 2>/dev/null; kill -9 $$; }",
    );
    let other = with(
        &bench,
        "head() { command head \"$@\" | tr '\\005' '\\006'; }
        tee() { command tee \"$@\" | tr u v; }",
    );
    for host in [dies, other] {
        for order in [bench.file("t/x"), bench.tree("t", &[])] {
            let failure = put::put(&host, vec![order]).await.remove(0).unwrap_err();
            assert!(matches!(failure.kind, FailureKind::Failed(_) | FailureKind::Conflict(_)), "{failure:?}");
        }
    }
    assert_eq!(std::fs::read_dir(bench.home.path().join("store")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_host_without_tar_says_so() {
    let bench = Bench::new();
    bench.write("t/x", "x");
    let tree = bench.put(bench.tree("t", &[])).await.unwrap().digest;
    let host = with(&bench, "tar() { return 127; }");
    let failure = put::put(&host, vec![bench.tree("t", &[])]).await.remove(0).unwrap_err();
    assert!(failure.kind == FailureKind::Unsupported && failure.message.contains("tar"), "{failure:?}");
    let order = bench.order(&tree, "new", Precondition::Absent);
    let failure = restore::restore(&host, vec![order]).await.unwrap().remove(0).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unsupported);
}

#[tokio::test]
async fn a_destination_that_changes_meanwhile_is_kept_and_a_silent_end_is_in_doubt() {
    let bench = Bench::new();
    let stored = bench.store.put_bytes(b"data".to_vec()).await.unwrap();
    let meddles = with(&bench, "sync() { printf meddled >\"$target\"; }");
    bench.write("x", "before");
    for (path, wanted) in [("x", Precondition::Hash(digest("before"))), ("y", Precondition::Absent)] {
        let order = bench.order(&stored, path, wanted);
        let failure = restore::restore(&meddles, vec![order]).await.unwrap().remove(0).unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Conflict(_)), "{failure:?}");
        assert_eq!(std::fs::read(bench.at(path)).unwrap(), b"meddled");
    }
    bench.expect_nothing_left(&bench.at(""));
    let dies = with(&bench, "mv() { kill -9 $$; }");
    let orders = ["x", "z"].map(|path| bench.order(&stored, path, Precondition::Anything)).to_vec();
    let cut = restore::restore(&dies, orders.clone()).await.unwrap_err();
    assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 0) && cut.known.is_empty(), "{cut:?}");
    let dies = with(&bench, "mv() { case $4 in */z) kill -9 $$ ;; esac; command mv \"$@\"; }");
    let cut = restore::restore(&dies, orders).await.unwrap_err();
    assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
    assert!(matches!(cut.known.as_slice(), [(0, Ok(change))] if change.changed), "{cut:?}");
    bench.write("x", "before");
    assert!(bench.restore(bench.order(&stored, "x", Precondition::Anything)).await.unwrap().changed);
}
